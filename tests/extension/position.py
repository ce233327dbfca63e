"""A context layer whose parameters have the size of the map that it was initialised for."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class PositionTable(nn.Module):
    """Adds a learned vector for every position; maps of other sizes have it resized."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        def table() -> jax.Array:
            return jnp.zeros((1, *x.shape[1:]))

        if self.has_variable('params', 'table'):
            stored = self.get_variable('params', 'table')
        else:
            stored = self.param('table', lambda key: table())
        return x + jax.image.resize(stored, (1, *x.shape[1:]), 'bilinear').astype(x.dtype)
