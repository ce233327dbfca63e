"""Dot-product attention with memory linear in the number of queries."""

import functools

import jax
import jax.numpy as jnp
from jax import lax


def attend(query: jax.Array, key: jax.Array, value: jax.Array, *, chunk: int = 1024) -> jax.Array:
    """`softmax(q k^T / sqrt(d)) v` (Vaswani et al. 2017), exact, `chunk` queries at a time.

    Args:
      query: (B, N, heads, d).
      key: (B, M, heads, d).
      value: (B, M, heads, e).
      chunk: queries whose scores are held at once; the backward pass computes them anew, so memory stays O(chunk * M).

    Returns:
      (B, N, heads, e) in the dtype of `value`; the softmax is float32.
    """
    count = query.shape[1]
    if count <= chunk:
        return _attend(query, key, value)
    # Padding queries are computed and thrown away: a query does not see the others.
    padded = jnp.pad(query, ((0, 0), (0, -count % chunk), (0, 0), (0, 0)))
    chunks = jnp.moveaxis(padded.reshape(query.shape[0], -1, chunk, *query.shape[2:]), 1, 0)
    one = jax.checkpoint(functools.partial(_attend, key=key, value=value))
    out = jnp.moveaxis(lax.map(one, chunks), 0, 1)
    return out.reshape(query.shape[0], -1, *out.shape[3:])[:, :count]


def _attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    scores = jnp.einsum('bnhd,bmhd->bhnm', query, key, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores / query.shape[-1] ** 0.5, -1).astype(value.dtype)
    return jnp.einsum('bhnm,bmhe->bnhe', weights, value)
