"""The decoder of the dense prediction transformer."""

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv, ConvTranspose
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.resize import resize_bilinear
from jaxseg.layers.stages import Stage, Stages, at_index
from jaxseg.layers.transformer_block import dense

STAGES = 4


class DPT(nn.Module):
    """Ranftl et al. 2021, arXiv:2103.13413: four stages as a pyramid, fused from the deepest on.

    Taps of a transformer at stride 16 are brought to strides 4, 8, 16 and 32 by transposed
    convolutions and one with a stride; other stages to that of the first of the four and twice, 4
    and 8 times it, where a pyramid already is. A fusion adds the map of a stage and doubles the
    size: the result is at half the finest stride, (B, H / 2, W / 2, features) over both a
    transformer and a ResNet, after a 3x3 convolution with norm and ReLU. The paper has a 1x1 head
    with dropout 0.1, and resizes logits with `align_corners`.

    Args:
      widths: channels of the four maps before they get `features` channels.
      features: channels of the fusions.
      readout: 'ignore', or for an encoder with `class_features` how the class token joins every
        position: 'add' it, or 'project' both by a linear layer with GELU.
      deepest_units: residual units on the deepest map; segmentation_models.pytorch has 2.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.

    Raises:
      InputError: an encoder with fewer stages, with strides that do not suit each other, or with
        class tokens that `readout` does not take, or without those that it takes.
    """

    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (256, 512, 1024, 1024)
    features: PositiveInt = 256
    readout: Literal['ignore', 'add', 'project'] = 'ignore'
    deepest_units: Literal[1, 2] = 1
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        used = [at_index(stages, index - STAGES, 'decoder') for index in range(STAGES)]
        same = len({stage.stride for stage in used}) == 1
        finest = max(2, used[0].stride / (4 if same else 1))
        x = None
        for index in reversed(range(STAGES)):
            y = self._reassemble(used[index], finest * 2 ** index, index)
            if x is not None or self.deepest_units == 2:
                size, y = y.shape[1:3], self._residual(y, f'fusion{index}_unit1', train)
            x = y if x is None else self._resized(x, size) + y
            x = self._residual(x, f'fusion{index}_unit2', train)
            # Before the resizing, with which it commutes.
            x = Conv(self.features, 1, bias=True, name=f'fusion{index}_project')(x)
        x = self._resized(x, [2 * side for side in x.shape[1:3]])
        x = Conv(self.features, name='head_conv')(x)
        return nn.relu(make_norm(self.norm, 'head_norm')(x, train=train))

    def _reassemble(self, stage: Stage, stride: float, index: int) -> jax.Array:
        """A stage at another stride, with `features` channels."""
        x, width, factor = stage.features, self.widths[index], stage.stride / stride
        if max(factor, 1 / factor) % 1:
            raise InputError(f'decoder: stage {index - STAGES} of the encoder, of stride '
                             f'{stage.stride}, cannot be resized to stride {stride:g}; give an '
                             f'encoder whose strides are 1, 2, 4 or 8 times one another')
        self._check_readout(stage, index)
        if self.readout == 'add':
            x = sum(jnp.split(x, 2, -1))
        if self.readout == 'project':
            x = dense(x, x.shape[-1] // 2, f'readout{index}')
            x = nn.gelu(x, approximate=False)
        x = Conv(width, 1, bias=True, name=f'reassemble{index}_project')(x)
        if factor > 1:
            factor = int(factor)
            x = ConvTranspose(width, factor, factor, 0, bias=True,
                              name=f'reassemble{index}_resize')(x)
        elif factor < 1:
            x = Conv(width, 3, int(1 / factor), bias=True, name=f'reassemble{index}_resize')(x)
        return Conv(self.features, name=f'reassemble{index}_conv')(x)

    def _check_readout(self, stage: Stage, index: int):
        wanted = self.readout != 'ignore'
        if stage.class_features != wanted:
            there, remedy = (('a', "decoder.readout='project'") if stage.class_features else
                             ('no', "decoder.readout='ignore'"))
            raise InputError(f'decoder.readout: {self.readout!r}, and stage {index - STAGES} of '
                             f'the encoder has {there} class token in its features; set {remedy}, '
                             f'or encoder.class_features={wanted} of a vision transformer')

    def _residual(self, x: jax.Array, name: str, train: bool) -> jax.Array:
        """`x + norm(conv(relu(norm(conv(relu(x))))))`."""
        y = x
        for index in (1, 2):
            y = Conv(self.features, name=f'{name}_conv{index}')(nn.relu(y))
            y = make_norm(self.norm, f'{name}_norm{index}')(y, train=train)
        return x + y

    @staticmethod
    def _resized(x: jax.Array, size: Sequence[int]) -> jax.Array:
        scale = tuple(zip(size, x.shape[1:3], strict=True))
        return resize_bilinear(x, tuple(size), scale, align_corners=True)
