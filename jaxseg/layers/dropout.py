"""Dropout and stochastic depth that `jit` and `pmap` apply to the same values."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.axis import mapped_axis
from jaxseg.fields import DropRate


class Dropout(nn.Module):
    """Zero with probability `rate`, else divided by `1 - rate` (Srivastava et al. 2014).

    Draws from the stream 'dropout'; the axes `broadcast_dims` share a draw: (1, 2) drops whole
    channels of (B, H, W, C) (Tompson et al. 2015).
    """

    rate: DropRate = 0.5
    broadcast_dims: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not train or not self.rate:
            return x
        shape = tuple(1 if axis in self.broadcast_dims else side
                      for axis, side in enumerate(x.shape))
        return _drop(x, self.rate, shape, self.make_rng('dropout'))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): `Dropout` of whole samples of a residual branch.

    Draws from the stream 'drop_path', once for every sample of the batch.
    """

    rate: DropRate = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not train or not self.rate:
            return x
        return _drop(x, self.rate, (x.shape[0],) + (1,) * (x.ndim - 1), self.make_rng('drop_path'))


def _drop(x: jax.Array, rate: float, shape: tuple[int, ...], key: jax.Array) -> jax.Array:
    keep, axis = 1 - rate, mapped_axis()
    if axis is None:
        mask = jax.random.bernoulli(key, keep, shape)
    else:
        # Drawn for the batch of all devices, as `jit` does, of which this one takes its part.
        whole = jax.random.bernoulli(key, keep, (shape[0] * lax.axis_size(axis), *shape[1:]))
        mask = lax.dynamic_slice_in_dim(whole, lax.axis_index(axis) * shape[0], shape[0])
    return jnp.where(mask, x / jnp.asarray(keep, x.dtype), jnp.zeros((), x.dtype))
