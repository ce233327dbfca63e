"""Attention pooling: a weighted mean of the feature map, added to every position."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.dense import Dense, broadcast


def attention_pool(x: jax.Array, scores: jax.Array) -> jax.Array:
    """`a_i = exp(s_i) / sum_j exp(s_j)`, `y = sum_i a_i x_i` over all positions, in float32.

    Args:
      x: (B, H, W, C).
      scores: s, (B, H, W).

    Returns:
      y, (B, C) float32.
    """
    weights = jax.nn.softmax(scores.astype(jnp.float32).reshape(x.shape[0], -1), -1)
    positions = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
    return jnp.einsum('bn,bnc->bc', weights, positions)


class AttentionPooling(nn.Module):
    """One learned linear score weighs the positions (Lin et al. 2017, arXiv:1703.03130).

    (B, H, W, C) -> (B, H, W, features): `y` of `attention_pool` passes a linear layer and is added
    to every position. Where `features` is given and is not C, so do the positions.
    """

    features: PositiveInt | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        scores = Dense(1, name='score')(x)[..., 0]
        y = attention_pool(x, scores).astype(x.dtype)
        features = self.features or x.shape[-1]
        if features != x.shape[-1]:
            x = Dense(features, name='project')(x)
        return x + broadcast(Dense(features, name='pooled')(y)[:, None, None], x.shape)
