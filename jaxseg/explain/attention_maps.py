"""Attention maps: where the softmax weights of a query position lie."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def attention_weights(query: jax.Array, key: jax.Array, bias: jax.Array | None = None
                      ) -> jax.Array:
    """`softmax(q k^T / sqrt(d) + bias)`, (heads, n, M) float32.

    Args:
      query: (n, heads, d), of all positions or of some.
      key: (M, heads, d).
      bias: (1 or heads, n, M), or None.
    """
    scores = jnp.einsum('nhd,mhd->hnm', query.astype(jnp.float32), key.astype(jnp.float32),
                        precision=jax.lax.Precision.HIGHEST) / query.shape[-1] ** 0.5
    return jax.nn.softmax(scores if bias is None else scores + bias, -1)


def rollout_row(blocks: Sequence[tuple[jax.Array, jax.Array]], index: int) -> jax.Array:
    """One row of the attention rollout (Abnar & Zuidema 2020, arXiv:2005.00928), (N,) float32.

    The shares of the input tokens in one output token, where every block passes on half of a token
    as it is (its shortcut) and half by its attention, the mean over the heads.

    Args:
      blocks: query and key (N, heads, d) of every block of self-attention, in order.
      index: of the output token.
    """
    row = jnp.zeros(len(blocks[0][0])).at[index].set(1)
    for query, key in reversed(blocks):
        row = 0.5 * row + 0.5 * row @ attention_weights(query, key).mean(0)
    return row
