"""Squeeze and excitation: channels weighted by what the whole map holds."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import multiply


class ChannelGate(nn.Module):
    """A number between 0 and 1 for every channel: (B, H, W, C) -> (B, 1, 1, C).

    Two 1x1 convolutions compute it from the means of all channels.

    Args:
      features: channels between the two.
      activation: between them.
      gate: from any number to one between 0 and 1.
    """

    features: PositiveInt
    activation: Callable = nn.relu
    gate: Callable = nn.sigmoid

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        means = x.mean((1, 2), keepdims=True, dtype=jnp.float32).astype(x.dtype)
        squeezed = self.activation(Conv(self.features, 1, bias=True, name='reduce')(means))
        return self.gate(Conv(x.shape[-1], 1, bias=True, name='expand')(squeezed))


class SqueezeExcite(ChannelGate):
    """Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507): (B, H, W, C) -> the same.

    Every channel is multiplied by its `ChannelGate`.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        return multiply(x, super().__call__(x))
