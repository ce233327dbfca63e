"""HRNet."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, norm_layer
from jaxseg.layers.remat import call_block
from jaxseg.layers.residual import BasicBlock, Bottleneck
from jaxseg.layers.resize import upsample_nearest
from jaxseg.layers.stages import Stage, Stages


class _Variant(NamedTuple):
    """Channels of the finest branch, which double with every branch, and numbers.

    `bottlenecks` and their `width` are of the first stage, `modules` of the second to the fourth,
    and `blocks` of a branch in a module.
    """

    channels: int
    bottlenecks: int = 4
    width: int = 64
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4


VARIANTS = {'w18_small': _Variant(16, 1, 32, (1, 1, 1), 2),
            'w18_small_v2': _Variant(18, 2, 64, (1, 3, 2), 2),
            **{f'w{channels}': _Variant(channels) for channels in (18, 30, 32, 40, 44, 48, 64)}}
STEM = 64
INCREASED = (32, 64, 128, 256)  # a quarter of the channels of the branches for classification


class _Module(nn.Module):
    """Residual blocks on every branch, then every branch adds up all: maps -> maps.

    Coarser maps come by a 1x1 convolution and nearest neighbours, finer ones by convolutions with
    stride 2.
    """

    blocks: int
    norm: Callable
    train: bool

    @nn.compact
    def __call__(self, branches: Sequence[jax.Array]) -> list[jax.Array]:
        maps = []
        for index, x in enumerate(branches):
            for place in range(self.blocks):
                x = BasicBlock(x.shape[-1], x.shape[-1], self.train, self.norm,
                               name=f'branch{index}_{place}')(x)
            maps.append(x)
        return [nn.relu(sum(self._moved(x, source, target, maps[target].shape[-1])
                            for source, x in enumerate(maps))) for target in range(len(maps))]

    def _moved(self, x: jax.Array, source: int, target: int, width: int) -> jax.Array:
        name = f'fuse{target}_{source}'
        if source > target:
            x = self.norm(name=f'{name}_bn')(Conv(width, 1, name=f'{name}_conv')(x))
            return upsample_nearest(x, 2 ** (source - target))
        for step in range(target - source):
            last = step == target - source - 1
            x = Conv(width if last else x.shape[-1], 3, 2, name=f'{name}_{step}_conv')(x)
            x = self.norm(name=f'{name}_{step}_bn')(x)
            x = x if last else nn.relu(x)
        return x


class HRNet(nn.Module):
    """High-resolution network (Sun et al. 2019, arXiv:1902.09212; Wang et al. 2020).

    Branches at strides 4, 8, 16 and 32 run side by side and exchange what they have found after
    every module; a finer one is never left. (B, H, W, C) -> five stages: the first convolution at
    stride 2, then the branches. H and W must be multiples of 32. arXiv:1908.07919 puts a head on
    all branches, upsampled to stride 4 and concatenated.

    Args:
      variant: 'w18' to 'w64' after the channels of the finest branch, or one of the small ones.
      increase: with a bottleneck block at the end of every branch that increases its channels, to
        128, 256, 512 and 1,024; as in classifiers, and encoders made from them (timm,
        segmentation_models.pytorch).
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      remat: computes modules again in the backward pass instead of keeping what is inside them.
    """

    variant: Literal['w18_small', 'w18_small_v2', 'w18', 'w30', 'w32', 'w40', 'w44', 'w48',
                     'w64'] = 'w18'
    increase: bool = False
    norm: NormSpec = 'batch'
    remat: bool = False

    stride = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        variant, norm = VARIANTS[self.variant], functools.partial(norm_layer, self.norm, train)
        bottleneck = functools.partial(Bottleneck, train=train, norm=norm)
        x = stem = nn.relu(norm(name='bn1')(Conv(STEM, 3, 2, name='conv1')(x)))
        x = nn.relu(norm(name='bn2')(Conv(STEM, 3, 2, name='conv2')(x)))
        for place in range(variant.bottlenecks):
            x = bottleneck(variant.width, variant.width, name=f'layer1_{place}')(x)
        branches = [_transition(x, variant.channels, 1, norm, 'transition1_0')]
        for index, modules in enumerate(variant.modules, 1):
            # The first new branch starts from the first stage, the others from the coarsest branch.
            x = _transition(x if index == 1 else branches[-1], variant.channels * 2 ** index, 2,
                            norm, f'transition{index}_{index}')
            branches.append(x)
            for place in range(modules):
                module = _Module(variant.blocks, norm, train, name=f'stage{index + 1}_{place}')
                branches = call_block(module, branches, self.remat)
        if self.increase:
            branches = [bottleneck(width, width, name=f'increase{index}')(x)
                        for index, (width, x) in enumerate(zip(INCREASED, branches, strict=True))]
        return (Stage(2, stem), *(Stage(4 * 2 ** index, x) for index, x in enumerate(branches)))


def _transition(x: jax.Array, features: int, stride: int, norm: Callable, name: str) -> jax.Array:
    return nn.relu(norm(name=f'{name}_bn')(Conv(features, 3, stride, name=f'{name}_conv')(x)))
