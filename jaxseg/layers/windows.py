"""Windows of a feature map: cutting it into them, and attention within each."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.layers.attention import LOW, Bias, attend
from jaxseg.layers.symbolic import are_numbers, pad_zeros

Size = tuple[int, int]


def partition(x: jax.Array, window: Size, shift: Size) -> jax.Array:
    """(B, H, W, ...) -> (B, windows, tokens, ...): zero-padded, then rolled by `shift`."""
    batch, height, width, *rest = x.shape
    rows, columns = -(-height // window[0]), -(-width // window[1])
    x = pad_zeros(x, (rows * window[0], columns * window[1]))
    x = _rolled(x, (-shift[0], -shift[1]))
    x = x.reshape(batch, rows, window[0], columns, window[1], *rest)
    return x.swapaxes(2, 3).reshape(batch, rows * columns, window[0] * window[1], *rest)


def join(x: jax.Array, size: Size, window: Size, shift: Size) -> jax.Array:
    """The inverse of `partition`, for a map of `size`."""
    rows, columns = -(-size[0] // window[0]), -(-size[1] // window[1])
    x = x.reshape(x.shape[0], rows, columns, *window, *x.shape[3:]).swapaxes(2, 3)
    x = x.reshape(x.shape[0], rows * window[0], columns * window[1], *x.shape[5:])
    return _rolled(x, shift)[:, :size[0], :size[1]]


def _rolled(x: jax.Array, shift: Size) -> jax.Array:
    """`jnp.roll` of rows and columns, by less than a window."""
    for axis, move in zip((1, 2), shift, strict=True):
        if move:
            cut = -move if move < 0 else x.shape[axis] - move
            x = jnp.concatenate([lax.slice_in_dim(x, cut, None, axis=axis),
                                 lax.slice_in_dim(x, 0, cut, axis=axis)], axis)
    return x


def regions(size: Size, window: Size, shift: Size) -> np.ndarray | jax.Array:
    """The number of the region of every token: (windows, tokens).

    Rolling the map brings positions of the upper border into the last window, and padding it
    positions that do not exist.
    """
    numpy, sides = np if are_numbers(size) else jnp, []
    counts = [-(-side // length) for side, length in zip(size, window, strict=True)]
    for side, length, move, count in zip(size, window, shift, counts, strict=True):
        place = numpy.arange(count * length)
        place = numpy.where(place < count * length - move, place + move,
                            place + move - count * length)
        sides.append(numpy.where(place < side, (place - move) // length + 1, -1))
    rows, columns = sides
    numbers = rows[:, None] * (counts[1] + 3) + columns[None]
    numbers = numbers.reshape(counts[0], window[0], counts[1], window[1])
    return numbers.swapaxes(1, 2).reshape(counts[0] * counts[1], window[0] * window[1])


def attend_within(numbers: np.ndarray | jax.Array, relative: Bias | None, query: jax.Array,
                  key: jax.Array, value: jax.Array) -> jax.Array:
    """Attention of every token to those of its region: three times (B, windows, tokens, heads, d).

    Args:
      numbers: of the regions, as `regions` returns them.
      relative: a bias of the scores, as `attend` takes it, the same in all windows.

    Returns:
      (B, windows, tokens, heads, d).
    """
    return jax.vmap(functools.partial(attend, bias=_bias(numbers, relative)))(query, key, value)


def _bias(numbers: np.ndarray | jax.Array, relative: Bias | None) -> Callable | None:
    """`relative` inside a region of a window, about -inf between regions."""
    if isinstance(numbers, np.ndarray) and (numbers == numbers[:, :1]).all():
        return relative

    def bias(queries: jax.Array, keys: jax.Array) -> jax.Array:
        of = jnp.asarray(numbers)
        inside = of[:, queries][:, None, :, None] == of[:, keys][:, None, None]
        return jnp.where(inside, 0.0 if relative is None else relative(queries, keys), LOW / 2)

    return bias
