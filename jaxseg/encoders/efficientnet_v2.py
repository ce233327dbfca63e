"""EfficientNetV2."""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Literal, NamedTuple

import flax.linen as nn
import jax

from jaxseg.fields import DropRate
from jaxseg.layers.conv import Conv
from jaxseg.layers.dropout import DropPath
from jaxseg.layers.inverted_residual import InvertedResidual
from jaxseg.layers.norm import TENSORFLOW, NormSpec, norm_layer
from jaxseg.layers.remat import call_block
from jaxseg.layers.squeeze_excite import SqueezeExcite
from jaxseg.layers.stages import Stage, Stages, dilated


class _Variant(NamedTuple):
    """Groups are of (blocks, stride, expansion, channels); blocks of the first three are fused."""

    stem: int
    groups: tuple[tuple[int, int, int, int], ...]
    width: float = 1.0
    depth: float = 1.0


BASE = ((1, 1, 1, 16), (2, 2, 4, 32), (2, 2, 4, 48), (3, 2, 4, 96), (5, 1, 6, 112), (8, 2, 6, 192))
SMALL = ((2, 1, 1, 24), (4, 2, 4, 48), (4, 2, 4, 64), (6, 2, 4, 128), (9, 1, 6, 160))
VARIANTS = {
    'b0': _Variant(32, BASE), 'b1': _Variant(32, BASE, 1.0, 1.1),
    'b2': _Variant(32, BASE, 1.1, 1.2), 'b3': _Variant(32, BASE, 1.2, 1.4),
    's': _Variant(24, (*SMALL, (15, 2, 6, 256))), 'rw_s': _Variant(24, (*SMALL, (15, 2, 6, 272))),
    'm': _Variant(24, ((3, 1, 1, 24), (5, 2, 4, 48), (5, 2, 4, 80), (7, 2, 4, 160),
                       (14, 1, 6, 176), (18, 2, 6, 304), (5, 1, 6, 512))),
    'l': _Variant(32, ((4, 1, 1, 32), (7, 2, 4, 64), (7, 2, 4, 96), (10, 2, 4, 192),
                       (19, 1, 6, 224), (25, 2, 6, 384), (7, 1, 6, 640))),
    'xl': _Variant(32, ((4, 1, 1, 32), (8, 2, 4, 64), (8, 2, 4, 96), (16, 2, 4, 192),
                        (24, 1, 6, 256), (32, 2, 6, 512), (8, 1, 6, 640)))}
FUSED, KERNEL = 3, 3


class _Block(NamedTuple):
    """What differs between blocks; `name` is of the group and the place in it."""

    name: str
    fused: bool
    features: int
    stride: int
    expansion: int


class _FusedMBConv(nn.Module):
    """Inverted bottleneck with one convolution in place of the first and the depthwise one.

    Args:
      hidden: channels of the first convolution.
      project: with a second one, to `features`; without it these are `hidden`.
    """

    features: int
    hidden: int
    stride: int
    dilation: int
    project: bool
    drop_path: float
    padding: str
    norm: Callable

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = Conv(self.hidden, KERNEL, self.stride, self.dilation, padding=self.padding,
                 name='expand_conv')(x)
        y = nn.silu(self.norm(name='expand_bn')(y))
        if self.project:
            y = self.norm(name='project_bn')(Conv(self.features, 1, name='project_conv')(y))
        return x + DropPath(self.drop_path)(y, train=train) if x.shape == y.shape else y


class EfficientNetV2(nn.Module):
    """EfficientNetV2 (Tan & Le 2021, arXiv:2104.00298).

    (B, H, W, C) -> five stages, at strides 2, 4, 8, 16 and 32, each before the next halving of the
    size. H and W must be multiples of `output_stride`. With `output_stride` 8 or 16 the later
    blocks dilate instead of striding. The convolution to 1,280 channels before the classifier is
    left out.

    Args:
      variant: 'b0' to 'b3', 's', 'm', 'l', 'xl', or timm's 'rw_s'.
      output_stride: stride of the last stage.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0 (0.2 in the
        authors' code).
      padding: 'same' as TensorFlow's, or 'symmetric' as weights need that were trained in PyTorch
        (timm's without 'tf' in the name, with norm=dict(kind='batch')).
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      remat: computes blocks again in the backward pass instead of keeping what is inside them.
    """

    variant: Literal['b0', 'b1', 'b2', 'b3', 's', 'm', 'l', 'xl', 'rw_s'] = 's'
    output_stride: Literal[8, 16, 32] = 32
    drop_path: DropRate = 0.0
    padding: Literal['same', 'symmetric'] = 'same'
    norm: NormSpec = field(default_factory=lambda: dict(TENSORFLOW))
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return self.output_stride

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        variant, norm = VARIANTS[self.variant], functools.partial(norm_layer, self.norm, train)
        x = Conv(_scaled(variant.stem, variant.width), KERNEL, 2, padding=self.padding,
                 name='stem_conv')(x)
        x = nn.silu(norm(name='stem_bn')(x))
        blocks = list(_blocks(variant))
        stages, reached = [], 2
        strides = dilated([block.stride for block in blocks], reached, self.output_stride)
        for index, (block, (stride, dilation)) in enumerate(zip(blocks, strides, strict=True)):
            if block.stride == 2:
                stages.append(Stage(reached, x))
                reached *= stride
            layer = self._block(block, x.shape[-1], stride, dilation, norm,
                                self.drop_path * index / len(blocks))
            x = call_block(layer, x, self.remat, train=train)
        return (*stages, Stage(reached, x))

    def _block(self, block: _Block, inputs: int, stride: int, dilation: int, norm: Callable,
               drop_path: float) -> nn.Module:
        if block.fused:
            project = block.expansion > 1 or self.variant == 'rw_s'
            hidden = inputs * block.expansion if project else block.features
            return _FusedMBConv(block.features, hidden, stride, dilation, project, drop_path,
                                self.padding, norm, name=block.name)
        return InvertedResidual(
            block.features, inputs * block.expansion, KERNEL, stride, dilation,
            residual=stride == 1 and block.features == inputs, norm=norm, activation=nn.silu,
            squeeze_excite=functools.partial(SqueezeExcite, inputs // 4, nn.silu),
            drop_path=drop_path, padding=self.padding, name=block.name)


def _blocks(variant: _Variant) -> Iterator[_Block]:
    for group, (count, stride, expansion, features) in enumerate(variant.groups):
        for index in range(math.ceil(count * variant.depth)):
            yield _Block(f'group{group}_{index}', group < FUSED, _scaled(features, variant.width),
                         1 if index else stride, expansion)


def _scaled(features: int, factor: float) -> int:
    """The nearest multiple of 8."""
    return int(features * factor + 4) // 8 * 8
