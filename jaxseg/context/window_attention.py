"""Attention within windows, which every second block shifts by half."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.fields import PositiveInt
from jaxseg.layers.attention import LOW, attend
from jaxseg.layers.transformer import Transformer


class WindowAttention(Transformer):
    """Swin's attention (Liu et al. 2021, arXiv:2103.14030), linear in H * W.

    (B, H, W, C) -> (B, H, W, features). A position attends to its window of `window` x `window`
    positions; in the second block of a layer the windows are shifted down and right by half a
    window. Any size: windows that extend over the border are smaller. Fields, positions and errors:
    `Transformer`.
    """

    position: Literal['none', 'sine', 'learned', 'relative', 'rope'] = 'relative'
    window: PositiveInt = 7

    passes = 2

    def attention(self, query: jax.Array, key: jax.Array, value: jax.Array, index: int
                  ) -> jax.Array:
        size = query.shape[1:3]
        window = tuple(min(self.window, side) for side in size)
        # One window over the whole side needs no shift.
        shift = tuple(index % 2 * (side > length) * (length // 2)
                      for side, length in zip(size, window, strict=True))
        windows = [_partition(array, window, shift) for array in (query, key, value)]
        relative = self.bias(index, (self.window - 1, self.window - 1), window[1])
        bias = _within(_regions(size, window, shift), relative)
        y = jax.vmap(functools.partial(attend, bias=bias))(*windows)
        return _join(y, size, window, shift)


def _within(regions: np.ndarray, relative):
    """The bias of `attend`: `relative` inside a region of a window, about -inf between regions."""
    if (regions == regions[:, :1]).all():
        return relative

    def bias(queries: jax.Array, keys: jax.Array) -> jax.Array:
        numbers = jnp.asarray(regions)
        inside = numbers[:, queries][:, None, :, None] == numbers[:, keys][:, None, None]
        return jnp.where(inside, 0.0 if relative is None else relative(queries, keys), LOW / 2)

    return bias


def _regions(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]
             ) -> np.ndarray:
    """The number of the region of every token: (windows, tokens).

    Rolling the map brings positions of the upper border into the last window, and padding it
    positions that do not exist.
    """
    sides = []
    for side, length, move in zip(size, window, shift, strict=True):
        place = np.roll(np.arange(side + -side % length), -move)
        sides.append(np.where(place < side, (place - move) // length + 1, -1))
    rows, columns = sides
    regions = rows[:, None] * (columns.max() + 2) + columns[None]
    regions = regions.reshape(len(rows) // window[0], window[0], len(columns) // window[1],
                              window[1])
    return regions.swapaxes(1, 2).reshape(-1, window[0] * window[1])


def _partition(x: jax.Array, window: tuple[int, int], shift: tuple[int, int]) -> jax.Array:
    """(B, H, W, heads, d) -> (B, windows, tokens, heads, d): zero-padded and rolled by `shift`."""
    batch, height, width, *head = x.shape
    x = jnp.pad(x, ((0, 0), (0, -height % window[0]), (0, -width % window[1]), (0, 0), (0, 0)))
    x = jnp.roll(x, (-shift[0], -shift[1]), (1, 2))
    x = x.reshape(batch, x.shape[1] // window[0], window[0], x.shape[2] // window[1], window[1],
                  *head)
    return x.swapaxes(2, 3).reshape(batch, -1, window[0] * window[1], *head)


def _join(x: jax.Array, size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]
          ) -> jax.Array:
    """The inverse of `_partition`."""
    rows, columns = -(-size[0] // window[0]), -(-size[1] // window[1])
    x = x.reshape(x.shape[0], rows, columns, *window, *x.shape[3:]).swapaxes(2, 3)
    x = x.reshape(x.shape[0], rows * window[0], columns * window[1], *x.shape[5:])
    return jnp.roll(x, shift, (1, 2))[:, :size[0], :size[1]]
