"""The sums of one large batch, from microbatches that fit into memory."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType

from jaxseg.errors import InputError


def split_batch(batch: Any, count: int) -> Any:
    """(B, ...) -> (count, B / count, ...): every microbatch has images of every device.

    Raises:
      InputError: the images of a batch cannot be divided so.
    """
    size, devices = len(jax.tree.leaves(batch)[0]), _devices()
    if size % (count * devices):
        among = f' for each of {devices} devices' if devices > 1 else ''
        raise InputError(f'algorithm.accumulate: a batch of {size} images does not divide into '
                         f'{count} microbatches{among}; change it, or give '
                         f'batch_size={-(-size // (count * devices)) * count * devices}')
    return jax.tree.map(
        lambda x: jnp.moveaxis(x.reshape(size // count, count, *x.shape[1:]), 1, 0), batch)


def sum_over(function: Callable, carry: Any, values: Any) -> tuple[Any, Any]:
    """`carry, summand = function(carry, value)` in turn -> the last carry, the sum of the summands.

    A loop on the device, which holds the arrays of one turn at a time.

    Args:
      values: arrays, one value along the first axis of each.
    """
    def turn(state: tuple[Any, Any], value: Any) -> tuple[tuple[Any, Any], None]:
        carry, summand = function(state[0], value)
        return (carry, jax.tree.map(jnp.add, state[1], summand)), None

    _, shapes = jax.eval_shape(function, carry, jax.tree.map(lambda x: x[0], values))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return lax.scan(turn, (carry, zeros), values)[0]


def _devices() -> int:
    """How many devices share the batch that is traced; under `pmap` it is that of one device."""
    mesh = jax.sharding.get_abstract_mesh()
    axes = zip(mesh.axis_names, mesh.axis_sizes, mesh.axis_types, strict=True)
    return math.prod(size for name, size, kind in axes
                     if name in ('data', 'fsdp') and kind == AxisType.Auto)
