"""Squeeze and excitation of channels and of positions."""

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import multiply
from jaxseg.layers.squeeze_excite import SqueezeExcite

REDUCTION = 16


class SCSE(nn.Module):
    """Concurrent spatial and channel excitation (Roy et al. 2018, arXiv:1803.02579).

    (B, H, W, C) -> the same: the input weighted by channel (`SqueezeExcite`, with a sixteenth of
    the channels) plus the input weighted by position, by a 1x1 convolution to one channel.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        by_channel = SqueezeExcite(max(1, x.shape[-1] // REDUCTION), name='channel')(x)
        gate = nn.sigmoid(Conv(1, 1, bias=True, name='position')(x))
        return by_channel + multiply(x, gate)
