"""From images to the tokens of a vision transformer, and from tokens to stages."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.dense import add_bias, broadcast
from jaxseg.layers.merge import fold
from jaxseg.layers.stages import Stage
from jaxseg.layers.transformer_block import KERNEL_INIT

TAPS = 4


class PatchEmbed(nn.Module):
    """A linear layer of patches: (B, H, W, C) -> (B, H / patch, W / patch, features).

    H and W are multiples of `patch`.
    """

    features: PositiveInt
    patch: PositiveInt

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.patch, self.patch, x.shape[-1], self.features)
        kernel = self.param('kernel', KERNEL_INIT, shape).astype(x.dtype)
        bias = self.param('bias', nn.initializers.zeros, (self.features,))
        return add_bias(fold(x, self.patch) @ kernel.reshape(-1, self.features), bias)


def prepend(tokens: Sequence[jax.Array], x: jax.Array) -> jax.Array:
    """Learned tokens (1, n, C) before those of every sample: (B, N, C) -> (B, N + sum of n, C)."""
    batch, _, width = x.shape
    # Repeated before they are rounded, so that their gradients are sums in float32.
    tokens = [jnp.broadcast_to(token, (batch, token.shape[1], width)).astype(x.dtype)
              for token in tokens]
    return jnp.concatenate([*tokens, x], 1)


def tap_indices(taps: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """The blocks whose outputs are stages; by default four, evenly spaced, with the last one.

    Raises:
      InputError: `taps` that are not in order or beyond the last block.
    """
    if taps is None:
        return tuple(sorted({-(-(index + 1) * depth // TAPS) - 1 for index in range(TAPS)}))
    if not taps or list(taps) != sorted(set(taps)) or taps[-1] >= depth:
        raise InputError(f'encoder.taps: {tuple(taps)} are not indices of the {depth} blocks in '
                         f'order; give some of 0 to {depth - 1}, or nothing for '
                         f'{tap_indices(None, depth)}')
    return tuple(taps)


def stage_of(x: jax.Array, size: tuple[int, int], patch: int, *, class_features: bool) -> Stage:
    """The last tokens, one a patch, as a map.

    Args:
      x: (B, N, C), the class token first.
      size: height and width of the map.
      patch: its stride.
      class_features: concatenate the class token to every position, as channels C to 2 C.
    """
    patches = x[:, x.shape[1] - size[0] * size[1]:]
    if class_features:
        patches = jnp.concatenate([patches, broadcast(x[:, :1], patches.shape)], -1)
    return Stage(patch, patches.reshape(x.shape[0], *size, patches.shape[-1]), class_features)


def check_heads(width: int, heads: int):
    """Raises InputError unless the heads divide the channels."""
    if width % heads:
        raise InputError(f'encoder.variant: {heads} heads do not divide {width} channels; give '
                         f'numbers such that they do')
