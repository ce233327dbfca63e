"""Windows of a feature map: cutting it into them, and attention within each."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.layers.attention import LOW, Bias, attend

Size = tuple[int, int]


def partition(x: jax.Array, window: Size, shift: Size) -> jax.Array:
    """(B, H, W, ...) -> (B, windows, tokens, ...): zero-padded, then rolled by `shift`."""
    batch, height, width, *rest = x.shape
    margins = (0, 0), (0, -height % window[0]), (0, -width % window[1]), *((0, 0) for _ in rest)
    x = jnp.roll(jnp.pad(x, margins), (-shift[0], -shift[1]), (1, 2))
    x = x.reshape(batch, x.shape[1] // window[0], window[0], x.shape[2] // window[1], window[1],
                  *rest)
    return x.swapaxes(2, 3).reshape(batch, -1, window[0] * window[1], *rest)


def join(x: jax.Array, size: Size, window: Size, shift: Size) -> jax.Array:
    """The inverse of `partition`, for a map of `size`."""
    rows, columns = -(-size[0] // window[0]), -(-size[1] // window[1])
    x = x.reshape(x.shape[0], rows, columns, *window, *x.shape[3:]).swapaxes(2, 3)
    x = x.reshape(x.shape[0], rows * window[0], columns * window[1], *x.shape[5:])
    return jnp.roll(x, shift, (1, 2))[:, :size[0], :size[1]]


def regions(size: Size, window: Size, shift: Size) -> np.ndarray:
    """The number of the region of every token: (windows, tokens).

    Rolling the map brings positions of the upper border into the last window, and padding it
    positions that do not exist.
    """
    sides = []
    for side, length, move in zip(size, window, shift, strict=True):
        place = np.roll(np.arange(side + -side % length), -move)
        sides.append(np.where(place < side, (place - move) // length + 1, -1))
    rows, columns = sides
    numbers = rows[:, None] * (columns.max() + 2) + columns[None]
    numbers = numbers.reshape(len(rows) // window[0], window[0], len(columns) // window[1],
                              window[1])
    return numbers.swapaxes(1, 2).reshape(-1, window[0] * window[1])


def attend_within(numbers: np.ndarray, relative: Bias | None, query: jax.Array, key: jax.Array,
                  value: jax.Array) -> jax.Array:
    """Attention of every token to those of its region: three times (B, windows, tokens, heads, d).

    Args:
      numbers: of the regions, as `regions` returns them.
      relative: a bias of the scores, as `attend` takes it, the same in all windows.

    Returns:
      (B, windows, tokens, heads, d).
    """
    return jax.vmap(functools.partial(attend, bias=_bias(numbers, relative)))(query, key, value)


def _bias(numbers: np.ndarray, relative: Bias | None) -> Callable | None:
    """`relative` inside a region of a window, about -inf between regions."""
    if (numbers == numbers[:, :1]).all():
        return relative

    def bias(queries: jax.Array, keys: jax.Array) -> jax.Array:
        of = jnp.asarray(numbers)
        inside = of[:, queries][:, None, :, None] == of[:, keys][:, None, None]
        return jnp.where(inside, 0.0 if relative is None else relative(queries, keys), LOW / 2)

    return bias
