"""EfficientNet and EfficientNet-Lite."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Literal, NamedTuple

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, NonNegativeInt, PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.inverted_residual import InvertedResidual, scale_channels
from jaxseg.layers.norm import TENSORFLOW, NormSpec, norm_layer
from jaxseg.layers.remat import call_block
from jaxseg.layers.squeeze_excite import SqueezeExcite
from jaxseg.layers.stages import Stage, Stages, dilated

# Factors of the numbers of channels and of blocks.
SCALES = {
    'b0': (1.0, 1.0), 'b1': (1.0, 1.1), 'b2': (1.1, 1.2), 'b3': (1.2, 1.4), 'b4': (1.4, 1.8),
    'b5': (1.6, 2.2), 'b6': (1.8, 2.6), 'b7': (2.0, 3.1), 'lite0': (1.0, 1.0), 'lite1': (1.0, 1.1),
    'lite2': (1.1, 1.2), 'lite3': (1.2, 1.4), 'lite4': (1.4, 1.8)}
# Of b0, by group: blocks, kernel, stride, expansion, channels.
GROUPS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
          (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
STEM = 32


class _Block(NamedTuple):
    """What differs between blocks."""

    features: int
    kernel: int
    stride: int
    expansion: int


class EfficientNet(nn.Module):
    """EfficientNet b0 to b7 (Tan & Le 2019, arXiv:1905.11946) and Lite 0 to 4.

    Lite has no squeeze and excitation, ReLU6 in place of swish, and a stem, first and last group
    that do not grow. Padding and norm are TensorFlow's, from where most weights come. (B, H, W, C)
    -> five stages, at strides 2, 4, 8, 16 and 32, each before the next halving of the size. H and W
    must be multiples of `output_stride`. With `output_stride` 8 or 16 the later blocks dilate
    instead of striding. The convolution to 1,280 channels before the classifier is left out.

    Args:
      variant: 'b0' to 'b7', 'lite0' to 'lite4'.
      output_stride: stride of the last stage.
      taps: numbers of blocks after which there is a stage, in rising order; 0 is the stem. By
        default before each halving and at the end; (0, 3, 5, 9, 16) are those of 'b0' in
        segmentation_models.pytorch.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0 (0.2 in the
        paper).
      padding: 'same' as TensorFlow's, or 'symmetric' as weights need that were trained in PyTorch
        (timm's without 'tf' in the name, with norm=dict(kind='batch')).
      padding_side: side of the images for which the zeros of 'same' are computed, whatever the size
        of those that come; None is that size. efficientnet_pytorch and
        segmentation_models.pytorch compute them for the side of the variant: 224 to 600 of b0 to
        b7, at which some maps that are strided are odd.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      remat: computes blocks again in the backward pass instead of keeping what is inside them.

    Raises:
      InputError: taps that are not in rising order, or beyond the last block; `padding_side` with
        padding='symmetric'.
    """

    variant: Literal['b0', 'b1', 'b2', 'b3', 'b4', 'b5', 'b6', 'b7',
                     'lite0', 'lite1', 'lite2', 'lite3', 'lite4'] = 'b0'
    output_stride: Literal[8, 16, 32] = 32
    taps: tuple[NonNegativeInt, ...] | None = None
    drop_path: DropRate = 0.0
    padding: Literal['same', 'symmetric'] = 'same'
    padding_side: PositiveInt | None = None
    norm: NormSpec = field(default_factory=lambda: dict(TENSORFLOW))
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return self.output_stride

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        lite, width = self.variant.startswith('lite'), SCALES[self.variant][0]
        activation = nn.relu6 if lite else nn.silu
        norm = functools.partial(norm_layer, self.norm, train)
        stem = STEM if lite else scale_channels(STEM, width)
        side = self.padding_side
        if side and self.padding == 'symmetric':
            raise InputError(f'encoder.padding_side: {side} has no effect with '
                             f"padding='symmetric'; leave one of them out")
        x = Conv(stem, 3, 2, padding=self._padding_at(side), name='stem_conv')(x)
        x = activation(norm(name='stem_bn')(x))
        side = side and math.ceil(side / 2)
        blocks = list(_blocks(self.variant))
        taps, stages, reached = self._taps(blocks), [], 2
        strides = dilated([block.stride for block in blocks], reached, self.output_stride)
        for index, (block, (stride, dilation)) in enumerate(zip(blocks, strides, strict=True)):
            if index in taps:
                stages.append(Stage(reached, x))
            reached *= stride
            inputs = x.shape[-1]
            squeeze = functools.partial(SqueezeExcite, max(1, inputs // 4), activation)
            layer = InvertedResidual(
                block.features, inputs * block.expansion, block.kernel, stride, dilation,
                residual=block.stride == 1 and block.features == inputs, norm=norm,
                activation=activation, squeeze_excite=None if lite else squeeze,
                drop_path=self.drop_path * index / len(blocks), padding=self._padding_at(side),
                name=f'block{index}')
            x = call_block(layer, x, self.remat, train=train)
            side = side and math.ceil(side / stride)
        return (*stages, Stage(reached, x)) if len(blocks) in taps else tuple(stages)

    def _padding_at(self, side: int | None) -> str:
        """The padding of a convolution of maps of this side."""
        # Of an odd map TensorFlow's is symmetric. The maps that are strided here are all even.
        return 'symmetric' if side and side % 2 else self.padding

    def _taps(self, blocks: Sequence[_Block]) -> Sequence[int]:
        count = len(blocks)
        if self.taps is None:
            return [*(index for index in range(count) if blocks[index].stride == 2), count]
        if not self.taps or list(self.taps) != sorted(set(self.taps)) or self.taps[-1] > count:
            raise InputError(f'encoder.taps: {list(self.taps)} are not numbers of blocks in rising '
                             f'order; give numbers from 0, the stem, to {count}, all blocks of '
                             f'{self.variant}')
        return self.taps


def _blocks(variant: str) -> Iterator[_Block]:
    (width, depth), lite = SCALES[variant], variant.startswith('lite')
    for place, (count, kernel, stride, expansion, features) in enumerate(GROUPS):
        fixed = lite and place in (0, len(GROUPS) - 1)
        for index in range(count if fixed else math.ceil(count * depth)):
            yield _Block(scale_channels(features, width), kernel, stride if index == 0 else 1,
                         expansion)
