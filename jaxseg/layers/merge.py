"""Patches of positions, sums of directions, residuals and gates around a context layer."""

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.dense import Dense
from jaxseg.layers.partition import constrain, fill_height
from jaxseg.layers.resize import pad_to_multiple

MergeKind = Literal['replace', 'residual', 'gated']
Combination = Literal['sum', 'concat']


def fold(x: jax.Array, patch: int) -> jax.Array:
    """`patch` x `patch` neighbours become channels (ReNet's windows, Visin et al. 2015).

    (B, H, W, C) -> (B, H / patch, W / patch, patch * patch * C), rounded up: the border is repeated
    at the bottom and the right. The channels are ordered by row in the patch, column in the patch,
    channel of `x`.
    """
    if patch == 1:
        return x
    x = pad_to_multiple(x, patch)
    height, x = x.shape[1] // patch, fill_height(x, patch)
    b, h, w, c = x.shape
    x = x.reshape(b, h // patch, patch, w // patch, patch, c).swapaxes(2, 3)
    return constrain(x.reshape(b, h // patch, w // patch, patch * patch * c)[:, :height])


def unfold(x: jax.Array, patch: int) -> jax.Array:
    """The inverse of `fold`: (B, H, W, patch * patch * C) -> (B, H * patch, W * patch, C)."""
    height, x = x.shape[1] * patch, fill_height(x)
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, patch, patch, c // patch ** 2).swapaxes(2, 3)
    return constrain(x.reshape(b, h * patch, w * patch, c // patch ** 2)[:, :height])


def combine(parts: Sequence[jax.Array], how: Combination) -> jax.Array:
    """The outputs of several directions summed, or concatenated along the channels."""
    return sum(parts[1:], parts[0]) if how == 'sum' else jnp.concatenate(parts, -1)


class Merge(nn.Module):
    """Joins the input x of a context layer and its output y.

    x (B, H, W, C), y (B, H / patch, W / patch, F), rounded up -> (B, H, W, F) or, where x is added,
    (B, H, W, C). With a `patch` above 1 a linear layer gives every position of y the patch * patch
    vectors of the positions that it covers. Then, by `kind`:

    - 'replace': y, as in ReNet.
    - 'residual': `x + linear(y)`.
    - 'gated': `x + linear(y * silu(linear(x)))`, as in the blocks of Mamba (Gu & Dao 2023,
      arXiv:2312.00752) and, with GELU, of Griffin (De et al. 2024, arXiv:2402.19427).
    """

    kind: MergeKind = 'replace'
    patch: PositiveInt = 1

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        if self.patch > 1:
            y = Dense(self.patch ** 2 * y.shape[-1], name='unfold')(y)
            y = unfold(y, self.patch)[:, :x.shape[1], :x.shape[2]]
        if self.kind == 'replace':
            return y
        if self.kind == 'gated':
            y = y * nn.silu(Dense(y.shape[-1], name='gate')(x))
        return x + Dense(x.shape[-1], name='out')(y)
