"""Criss-cross attention: every position attends to its row and its column at once."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.dense import Dense


class CrissCross(nn.Module):
    """CCNet (Huang et al. 2019, arXiv:1811.11721): (B, H, W, C) -> (B, H, W, features).

    `x + gamma * attention(x)`, one softmax over the H + W - 1 positions of the row and the column,
    gamma learned from 0; memory H * W * (H + W). Queries and keys have features / `reduction`
    channels. Repeated `recurrence` times with the same parameters; after two every position depends
    on every other. Where C is not `features`, a linear layer comes first.
    """

    features: PositiveInt
    reduction: PositiveInt = 8
    recurrence: PositiveInt = 2

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if x.shape[-1] != self.features:
            x = Dense(self.features, name='project')(x)
        narrow = max(self.features // self.reduction, 1)
        query, key, value = (Dense(width, name=name) for name, width in (
            ('query', narrow), ('key', narrow), ('value', self.features)))
        gamma = self.param('gamma', nn.initializers.zeros, ())  # float32, as is its gradient's sum
        for _ in range(self.recurrence):
            x = (x + gamma * criss_cross(query(x), key(x), value(x))).astype(x.dtype)
        return x


def criss_cross(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """`sum_j softmax_j(q_i k_j) v_j` over the j in the row or the column of i; i counts once.

    Args:
      query, key: (B, H, W, d).
      value: (B, H, W, C).

    Returns:
      (B, H, W, C) in the dtype of `value`; the softmax is float32.
    """
    width, height = query.shape[2], query.shape[1]
    row = jnp.einsum('bijd,bild->bijl', query, key, preferred_element_type=jnp.float32)
    column = jnp.einsum('bijd,bkjd->bijk', query, key, preferred_element_type=jnp.float32)
    # The position itself is already in its row.
    column = jnp.where(jnp.eye(height, dtype=bool)[None, :, None], -jnp.inf, column)
    weights = jax.nn.softmax(jnp.concatenate([row, column], -1), -1).astype(value.dtype)
    return (jnp.einsum('bijl,bilc->bijc', weights[..., :width], value)
            + jnp.einsum('bijk,bkjc->bijc', weights[..., width:], value))
