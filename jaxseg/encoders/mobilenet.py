"""MobileNet V2 and V3."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Literal, NamedTuple

import flax.linen as nn
import jax

from jaxseg.fields import DropRate, Positive
from jaxseg.layers.conv import Conv
from jaxseg.layers.inverted_residual import InvertedResidual, scale_channels
from jaxseg.layers.norm import TENSORFLOW, NormSpec, norm_layer
from jaxseg.layers.remat import call_block
from jaxseg.layers.squeeze_excite import SqueezeExcite
from jaxseg.layers.stages import Stage, Stages, dilated


class _Group(NamedTuple):
    """Blocks of one width. `hard` is hard swish in place of ReLU."""

    expansions: tuple[float, ...]  # of every block
    kernel: int
    stride: int
    features: int
    squeeze: bool = False
    hard: bool = False


V2 = (_Group((1,), 3, 1, 16), _Group((6,) * 2, 3, 2, 24), _Group((6,) * 3, 3, 2, 32),
      _Group((6,) * 4, 3, 2, 64), _Group((6,) * 3, 3, 1, 96), _Group((6,) * 3, 3, 2, 160),
      _Group((6,), 3, 1, 320))
V3 = {
    'large': (
        _Group((1,), 3, 1, 16), _Group((4, 3), 3, 2, 24), _Group((3, 3, 3), 5, 2, 40, True),
        _Group((6, 2.5, 2.3, 2.3), 3, 2, 80, False, True), _Group((6, 6), 3, 1, 112, True, True),
        _Group((6, 6, 6), 5, 2, 160, True, True)),
    'small': (
        _Group((1,), 3, 2, 16, True), _Group((4.5, 3.67), 3, 2, 24),
        _Group((4, 6, 6), 5, 2, 40, True, True), _Group((3, 3), 5, 1, 48, True, True),
        _Group((6, 6, 6), 5, 2, 96, True, True))}


class MobileNetV2(nn.Module):
    """MobileNet V2 (Sandler et al. 2018, arXiv:1801.04381).

    (B, H, W, C) -> five stages, at strides 2, 4, 8, 16 and 32, each before the next halving of the
    size. H and W must be multiples of `output_stride`. With `output_stride` 8 or 16 the later
    blocks dilate instead of striding. The convolution to 1,280 channels before the classifier is
    left out.

    Args:
      width_multiplier: factor of all numbers of channels.
      output_stride: stride of the last stage.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      remat: computes blocks again in the backward pass instead of keeping what is inside them.
    """

    width_multiplier: Positive = 1.0
    output_stride: Literal[8, 16, 32] = 32
    drop_path: DropRate = 0.0
    norm: NormSpec = 'batch'
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return self.output_stride

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        norm = functools.partial(norm_layer, self.norm, train)
        x = Conv(scale_channels(32, self.width_multiplier), 3, 2, name='stem_conv')(x)
        x = nn.relu6(norm(name='stem_bn')(x))
        return _blocks(self, V2, nn.relu6, norm, x, train)


class MobileNetV3(nn.Module):
    """MobileNet V3, large or small (Howard et al. 2019, arXiv:1905.02244).

    As `MobileNetV2`, but for hard swish and for squeeze and excitation with a hard sigmoid. The
    last stage is that of a 1x1 convolution to six times the channels of the blocks before it. The
    norm is TensorFlow's and torchvision's; timm's own weights are for an epsilon of 1e-5.

    Args:
      variant: 'large' or 'small'.
      width_multiplier: factor of all numbers of channels but, below 1, of the stem's.
      output_stride: stride of the last stage.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      remat: computes blocks again in the backward pass instead of keeping what is inside them.
    """

    variant: Literal['large', 'small'] = 'large'
    width_multiplier: Positive = 1.0
    output_stride: Literal[8, 16, 32] = 32
    drop_path: DropRate = 0.0
    norm: NormSpec = field(default_factory=lambda: dict(TENSORFLOW))
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return self.output_stride

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        norm = functools.partial(norm_layer, self.norm, train)
        x = Conv(scale_channels(16, max(1, self.width_multiplier)), 3, 2, name='stem_conv')(x)
        x = nn.hard_swish(norm(name='stem_bn')(x))
        groups = V3[self.variant]
        *stages, last = _blocks(self, groups, nn.relu, norm, x, train)
        features = scale_channels(6 * groups[-1].features, self.width_multiplier)
        x = Conv(features, 1, name=f'block{len(groups)}_0_conv')(last.features)
        x = nn.hard_swish(norm(name=f'block{len(groups)}_0_bn')(x))
        return (*stages, last.replace(features=x))


def _blocks(encoder: nn.Module, groups: Sequence[_Group], activation: Callable, norm: Callable,
            x: jax.Array, train: bool) -> Stages:
    """The stages from the output of the stem on; the blocks are `block{group}_{place}`."""
    blocks = [(index, place, group, expansion) for index, group in enumerate(groups)
              for place, expansion in enumerate(group.expansions)]
    given = [group.stride if place == 0 else 1 for _, place, group, _ in blocks]
    stages, reached = [], 2
    for number, ((index, place, group, expansion), (stride, dilation)) in enumerate(
            zip(blocks, dilated(given, reached, encoder.output_stride), strict=True)):
        features = scale_channels(group.features, encoder.width_multiplier)
        residual = given[number] == 1 and x.shape[-1] == features
        if given[number] == 2:
            stages.append(Stage(reached, x))
            reached *= stride
        hidden = scale_channels(x.shape[-1], expansion)
        squeeze = functools.partial(SqueezeExcite, scale_channels(hidden, 0.25),
                                    gate=nn.hard_sigmoid)
        block = InvertedResidual(
            features, hidden, group.kernel, stride, dilation, residual=residual, norm=norm,
            activation=nn.hard_swish if group.hard else activation,
            squeeze_excite=squeeze if group.squeeze else None,
            drop_path=encoder.drop_path * number / (len(blocks) - 1),
            name=f'block{index}_{place}')
        x = call_block(block, x, encoder.remat, train=train)
    return (*stages, Stage(reached, x))
