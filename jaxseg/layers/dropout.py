"""Dropout that draws the mask of the global batch, so that `jit` and `pmap` drop the same values."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.fields import DropRate
from jaxseg.layers.axis import mapped_axis


class Dropout(nn.Module):
    """Zeros with probability `rate`, the rest divided by `1 - rate` (Srivastava et al. 2014); same shape and dtype.

    Draws from the stream 'dropout'. The mask is constant along `broadcast_dims`: (1, 2) drops whole channels of
    (B, H, W, C) (Tompson et al. 2015).
    """

    rate: DropRate = 0.5
    broadcast_dims: Sequence[int] = ()

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        shape = tuple(1 if axis in self.broadcast_dims else side for axis, side in enumerate(x.shape))
        return _drop(x, self.rate, shape, self, 'dropout') if train and self.rate else x


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): whole samples of a residual branch are zero with probability `rate`.

    Draws from the stream 'drop_path', once for every sample of the batch.
    """

    rate: DropRate = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return _drop(x, self.rate, shape, self, 'drop_path') if train and self.rate else x


def _drop(x: jax.Array, rate: float, shape: tuple[int, ...], module: nn.Module, stream: str) -> jax.Array:
    keep, axis = 1 - rate, mapped_axis()
    key = module.make_rng(stream)
    if axis is None:
        mask = jax.random.bernoulli(key, keep, shape)
    else:
        # The mask of all devices, of which this one takes its part: as many random numbers as `jit` draws in all.
        whole = jax.random.bernoulli(key, keep, (shape[0] * lax.axis_size(axis), *shape[1:]))
        mask = lax.dynamic_slice_in_dim(whole, lax.axis_index(axis) * shape[0], shape[0])
    return jnp.where(jnp.broadcast_to(mask, x.shape), x / jnp.asarray(keep, x.dtype), jnp.zeros((), x.dtype))
