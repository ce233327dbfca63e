"""A VGG-like network of convolution and pooling."""

from typing import Literal

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.pooling import max_pool
from jaxseg.layers.stages import Stage, Stages


class VGGLike(nn.Module):
    """Stages of 3x3 convolutions, norm and ReLU, then 2x2 max pooling, as VGG.

    Simonyan & Zisserman 2015, arXiv:1409.1556. (B, H, W, C) -> one stage for every width, before
    its pooling, at strides `stem_stride`, 2 `stem_stride`, ..., then the last map pooled, at
    `stem_stride * 2 ** len(widths)`. H and W must be multiples of the largest stride.

    Args:
      widths: channels of every stage.
      depth: number of convolutions in a stage.
      stem_stride: stride of the first convolution.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.

    Raises:
      InputError: no stage.
    """

    widths: tuple[PositiveInt, ...] = (32, 64, 128, 256)
    depth: PositiveInt = 2
    stem_stride: Literal[1, 2, 4] = 1
    norm: NormSpec = 'batch'

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return self.stem_stride * 2 ** len(self.widths)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        if not self.widths:
            raise InputError('encoder.widths: () names no stage; give the channels of at least one')
        stages = []
        for stage, width in enumerate(self.widths):
            for index in range(self.depth):
                first = stage == index == 0
                stride = self.stem_stride if first else 1
                # Neighbouring patches of a strided stem overlap, so that no pixel is skipped.
                kernel = max(3, 2 * stride - 1)
                x = Conv(width, kernel, stride, name=f'stage{stage}_conv{index}')(x)
                x = nn.relu(make_norm(self.norm, f'stage{stage}_norm{index}')(x, train=train))
            stages.append(Stage(self.stem_stride * 2 ** stage, x))
            x = max_pool(x, 2, 2)
        return (*stages, Stage(self.stride, x))
