"""Panoptic FPN's semantic branch over a feature pyramid."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.dropout import Dropout
from jaxseg.layers.resize import upsample_bilinear, upsample_nearest
from jaxseg.layers.stages import Stages, pyramid

GROUPS = 32


class FPN(nn.Module):
    """A feature pyramid (Lin et al. 2017, arXiv:1612.03144), every level of it brought to stride 4.

    Kirillov et al. 2019, Panoptic FPN (arXiv:1901.02446); the decoder of
    segmentation_models.pytorch. Stages of strides 4, 8, ... -> (B, H / 4, W / 4, features). From
    the deepest level on, each is a 1x1 convolution of its stage plus the level below, upsampled.
    Then a level of stride 4 * 2 ** n takes n times a 3x3 convolution, group norm, ReLU and bilinear
    upsampling by 2, that of stride 4 the first three once, and all are added or concatenated.

    The group norm has 32 groups, or as many as divide 32 and `features`.

    Args:
      levels: channels of the pyramid.
      features: channels of every level at stride 4.
      merge: how these become one.
      dropout: rate of whole channels of the result.

    Raises:
      InputError: the encoder has no stage at stride 4 or at one between that and its last.
    """

    levels: PositiveInt = 256
    features: PositiveInt = 128
    merge: Literal['add', 'concatenate'] = 'add'
    dropout: DropRate = 0.2

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        level, brought = None, []
        for stage in reversed(pyramid(stages, 4, 'decoder')):
            lateral = Conv(self.levels, 1, bias=True, name=f'lateral{stage.stride}')(stage.features)
            level = lateral if level is None else upsample_nearest(level, 2) + lateral
            brought.append(self._to_stride_4(level, stage.stride))
        x = sum(brought) if self.merge == 'add' else jnp.concatenate(brought, -1)
        return Dropout(self.dropout, broadcast_dims=(1, 2))(x, train=train)

    def _to_stride_4(self, x: jax.Array, stride: int) -> jax.Array:
        upsamplings = stride.bit_length() - 3
        for index in range(max(1, upsamplings)):
            x = Conv(self.features, name=f'level{stride}_conv{index}')(x)
            x = nn.relu(nn.GroupNorm(math.gcd(GROUPS, self.features), epsilon=1e-5, dtype=x.dtype,
                                     name=f'level{stride}_norm{index}')(x))
            if upsamplings:
                x = upsample_bilinear(x, 2, align_corners=True)
        return x
