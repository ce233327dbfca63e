"""Max pooling by comparison of neighbours, and its gradient."""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.layers.depthwise import pad_map
from jaxseg.layers.partition import on_many_devices
from jaxseg.layers.platform import platform
from jaxseg.layers.symbolic import are_numbers


def max_pool(x: jax.Array, window: int, stride: int, padding: int = 0) -> jax.Array:
    """Largest values of windows of `window` x `window`: (B, H, W, C) -> (B, H', W', C).

    H' is `(H + 2 padding - window) // stride + 1`; padding is below every value. The gradient goes
    to the first of equal values, in the order of rows. On CPU, where there is no forward-mode
    derivative, it is found by comparing every value with the maximum: for windows of 3x3 on
    4x128x128x64 XLA's own takes 84 ms there, this one 12 (its share of the step of a U-Net:
    experiments/benchmarks/levers.csv).
    """
    if platform() != 'cpu' or on_many_devices():
        return _pool(window, stride, padding, x)
    return _max_pool(window, stride, padding, x)


def _pool(window: int, stride: int, padding: int, x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (window, window), (stride, stride), ((padding, padding),) * 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _max_pool(window: int, stride: int, padding: int, x: jax.Array) -> jax.Array:
    """The same as a maximum of slices, which takes a third of the time."""
    if not are_numbers(x.shape):
        return _pool(window, stride, padding, x)
    size = [(side + 2 * padding - window) // stride + 1 for side in x.shape[1:3]]
    return functools.reduce(jnp.maximum, _values(window, stride, padding, x, size))


def _values(window: int, stride: int, padding: int, x: jax.Array, size: Sequence[int]
            ) -> list[jax.Array]:
    """Of every position of a window, row by row, the values in all windows: (B, *size, C) each."""
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype),
                [(0, 0, 0), (padding, padding, 0), (padding, padding, 0), (0, 0, 0)])
    rows, columns = ((side - 1) * stride + 1 for side in size)
    return [x[:, i:i + rows:stride, j:j + columns:stride] for i, j in np.ndindex(window, window)]


def _forward(window, stride, padding, x):
    y = _max_pool(window, stride, padding, x)
    return y, (x, y)


def _backward(window, stride, padding, residuals, cotangent):
    x, y = residuals
    batch, height, width, channels = x.shape
    first = _first_maximum(window, stride, padding, x, y)
    # Row r of the padded map is number r % stride of block r // stride, and the windows that it is
    # in begin in this block, or in one of the `reach` blocks before it.
    reach = (window - 1) // stride
    blocks = [-(-(side + padding) // stride) for side in (height, width)]
    margins = [(reach, count - side) for count, side in zip(blocks, y.shape[1:3], strict=True)]
    # What the numbers of windows beyond the map are does not matter: their cotangent is 0.
    cotangent, first = pad_map(cotangent, margins), pad_map(first, margins)

    def at(row: int, column: int) -> jax.Array:
        total = jnp.zeros((batch, *blocks, channels), cotangent.dtype)
        for i in range(row, window, stride):
            for j in range(column, window, stride):
                top, left = reach - i // stride, reach - j // stride
                place = np.s_[:, top:top + blocks[0], left:left + blocks[1]]
                total += jnp.where(first[place] == i * window + j, cotangent[place], 0)
        return total

    rows = [jnp.stack([at(row, column) for column in range(stride)], 3) for row in range(stride)]
    dx = jnp.stack(rows, 2).reshape(batch, stride * blocks[0], stride * blocks[1], channels)
    return (dx[:, padding:padding + height, padding:padding + width],)


_max_pool.defvjp(_forward, _backward)


def _first_maximum(window, stride, padding, x, y) -> jax.Array:
    """For every window the number of the first position, row by row, that has the maximum."""
    first = jnp.full(y.shape, -1, jnp.int16)
    values = _values(window, stride, padding, x, y.shape[1:3])
    for number, part in reversed(list(enumerate(values))):
        first = jnp.where(part == y, jnp.int16(number), first)
    return first
