"""Windowed attention: within windows, and in every second block within windows shifted by half."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.layers.attention import LOW, attend
from jaxseg.layers.transformer import Transformer


class WindowAttention(Transformer):
    """Swin's attention (Liu et al. 2021, arXiv:2103.14030): (B, H, W, C) -> (B, H, W, features), linear in H * W.

    A position attends to its window of `window` x `window` positions; in the second block of a layer the windows lie half
    a window further down and right. Any size: windows that reach over the border are smaller. Fields, positions and errors:
    `Transformer`.
    """

    position: str = 'relative'
    window: int = 7

    passes = 2

    def attention(self, query: jax.Array, key: jax.Array, value: jax.Array, index: int) -> jax.Array:
        size = query.shape[1:3]
        window = tuple(min(self.window, side) for side in size)
        # One window over the whole side needs no shift.
        shift = tuple(index % 2 * (side > length) * (length // 2) for side, length in zip(size, window, strict=True))
        windows = [_partition(array, window, shift) for array in (query, key, value)]
        relative = self.bias(index, (self.window - 1, self.window - 1), window[1])
        bias = _within(_regions(size, window, shift), relative)
        return _join(jax.vmap(functools.partial(attend, bias=bias))(*windows), size, window, shift)


def _within(regions: np.ndarray, relative):
    """The bias of `attend` that adds `relative` inside a region of a window and forbids what lies outside."""
    if (regions == regions[:, :1]).all():
        return relative

    def bias(queries: jax.Array, keys: jax.Array) -> jax.Array:
        inside = jnp.asarray(regions)[:, queries][:, None, :, None] == jnp.asarray(regions)[:, keys][:, None, None]
        return jnp.where(inside, 0.0 if relative is None else relative(queries, keys), LOW / 2)

    return bias


def _regions(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> np.ndarray:
    """Numbers of the true windows in the cut ones: (windows, tokens).

    Moving the map brings positions from its upper end into the last window, and filling it up brings positions that do
    not exist.
    """
    sides = []
    for side, length, move in zip(size, window, shift, strict=True):
        place = np.roll(np.arange(side + -side % length), -move)
        sides.append(np.where(place < side, (place - move) // length + 1, -1))
    rows, columns = sides
    regions = rows[:, None] * (columns.max() + 2) + columns[None]
    regions = regions.reshape(len(rows) // window[0], window[0], len(columns) // window[1], window[1])
    return regions.swapaxes(1, 2).reshape(-1, window[0] * window[1])


def _partition(x: jax.Array, window: tuple[int, int], shift: tuple[int, int]) -> jax.Array:
    """(B, H, W, heads, d) -> (B, windows, tokens, heads, d): filled up with zeros, moved up and left by `shift`."""
    batch, height, width, *head = x.shape
    x = jnp.pad(x, ((0, 0), (0, -height % window[0]), (0, -width % window[1]), (0, 0), (0, 0)))
    x = jnp.roll(x, (-shift[0], -shift[1]), (1, 2))
    x = x.reshape(batch, x.shape[1] // window[0], window[0], x.shape[2] // window[1], window[1], *head)
    return x.swapaxes(2, 3).reshape(batch, -1, window[0] * window[1], *head)


def _join(x: jax.Array, size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> jax.Array:
    """The reverse of `_partition`."""
    rows, columns = -(-size[0] // window[0]), -(-size[1] // window[1])
    x = x.reshape(x.shape[0], rows, columns, *window, *x.shape[3:]).swapaxes(2, 3)
    x = x.reshape(x.shape[0], rows * window[0], columns * window[1], *x.shape[5:])
    return jnp.roll(x, shift, (1, 2))[:, :size[0], :size[1]]
