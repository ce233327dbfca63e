"""Resizing, padding and pooling of feature maps."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.errors import InputError
from jaxseg.layers import symbolic
from jaxseg.layers.dense import broadcast
from jaxseg.layers.interpolation import interpolate
from jaxseg.layers.partition import constrain, fill_height, space_axis

# A factor, or a new length by the old one. Of sizes that are expressions of symbols
# (`jaxseg.layers.symbolic`) a quotient would not be exact.
Scale = float | tuple[int, int]
# Of a factor by which sizes that are expressions of symbols are multiplied.
LARGEST_DENOMINATOR = 64


def resize_bilinear(x: jax.Array, size: tuple[int, int], scale: Sequence[Scale], *,
                    align_corners: bool = False) -> jax.Array:
    """The upper left `size` of `x` resized by `scale`: (B, H, W, C) -> (B, *size, C).

    Bilinear, with a scale for the height and one for the width. Two taps an axis forward, about two
    times the scale backward. With half-pixel centres, or as torch's `align_corners=True`: the
    middles of the outermost pixels stay the outermost ones of the whole resized map.
    """
    same = all(new == old for new, old in map(_as_pair, scale))
    if same and x.shape[1:3] == tuple(size):
        return x
    return _resize(x, size, scale, align_corners=align_corners)


def upsample_bilinear(x: jax.Array, factor: int, *, align_corners: bool = False) -> jax.Array:
    """The whole of `x` resized by `factor`: (B, H, W, C) -> (B, H * factor, W * factor, C)."""
    size = x.shape[1] * factor, x.shape[2] * factor
    return resize_bilinear(x, size, (factor, factor), align_corners=align_corners)


def downsample(x: jax.Array, factor: float) -> jax.Array:
    """Bilinear with antialiasing: (B, H, W, C) -> (B, H * factor, W * factor, C), rounded up.

    Raises:
      InputError: a factor outside (0, 1].
    """
    if not 0 < factor <= 1:
        raise InputError(f'model.input_scale: {factor} is not in (0, 1]')
    if factor == 1:
        return x
    size = tuple(_rounded_up(side, factor) for side in x.shape[1:3])
    return _resize(x, size, list(zip(size, x.shape[1:3], strict=True)), antialias=True,
                   reach=math.ceil(1 / factor))


def _rounded_up(side: int, factor: float) -> int:
    if symbolic.are_numbers([side]):
        return math.ceil(side * factor)
    numerator, denominator = float(factor).as_integer_ratio()
    if denominator > LARGEST_DENOMINATOR:
        raise InputError(f'model.input_scale: {factor} is no multiple of '
                         f'1/{LARGEST_DENOMINATOR}, so that the rounding of its sizes cannot be '
                         f'stated for all of them at once')
    return -(-side * numerator // denominator)


def _as_pair(scale: Scale) -> tuple[Any, Any]:
    return scale if isinstance(scale, tuple) else (scale, 1)


def resize_axis(x: jax.Array, size: int, scale: Scale, *, antialias: bool = False,
                align_corners: bool = False, reach: int = 1, split: bool = False) -> jax.Array:
    """The first `size` positions of `x` resized by `scale`: (B, L, C) -> (B, size, C).

    Args:
      reach: with `antialias`, the most old positions on either side of a new one, 1 / `scale`
        rounded up; only sizes that are expressions of symbols need it.
      split: the axis is the height of images (`jaxseg.layers.interpolation`).
    """
    old, (numerator, denominator) = x.shape[1], _as_pair(scale)
    if not symbolic.are_numbers([old, size, numerator, denominator]):
        return _resize_symbolic(x, size, numerator, denominator, align_corners,
                                reach if antialias else 0)
    scale = numerator / denominator
    step, start = 1 / scale, 0.5 / scale - 0.5
    if align_corners:
        step, start = (old - 1) / max(1, round(old * scale) - 1), 0.0
    return interpolate((old, size, float(step), float(start), antialias), split, x)


def _resize_symbolic(x: jax.Array, size, numerator, denominator, align_corners: bool,
                     reach: int) -> jax.Array:
    """`resize_axis` where a length is an expression of symbols."""
    new, old = jnp.arange(size), x.shape[1]
    if align_corners:
        last = jnp.maximum(1, old * numerator // denominator - 1)
        return symbolic.interpolate(x, new * (old - 1), last)
    positions = (2 * new + 1) * denominator - numerator, 2 * numerator
    if not reach:
        return symbolic.interpolate(x, *positions)
    width = jnp.maximum(1.0, denominator / numerator)
    return symbolic.interpolate(x, *positions, width, reach)


def _resize(x: jax.Array, size, scale, **options: int) -> jax.Array:
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width * channels)
    x = resize_axis(x, size[0], scale[0], split=True, **options)
    # Not as rows of all images in one axis, which could not be split by images and by height.
    along_rows = jax.vmap(functools.partial(resize_axis, size=size[1], scale=scale[1], **options))
    return along_rows(x.reshape(batch, size[0], width, channels))


def resize_bicubic(x: jax.Array, size: tuple[int, int], *, antialias: bool,
                   scale: Sequence[float] | None = None) -> jax.Array:
    """The whole of `x` resized as torch's bicubic `interpolate`: (B, H, W, C) -> (B, *size, C).

    For small maps, such as tables of positions: a dense matrix an axis. With `antialias` the
    kernel has the parameter -0.5 of Keys 1981, else -0.75. `scale`, by default `size` / (H, W),
    is the distance of new positions, as torch's `scale_factor`.
    """
    if x.shape[1:3] == tuple(size):
        return x
    scale = scale or [new / old for new, old in zip(size, x.shape[1:3], strict=True)]
    rows, columns = (_bicubic_matrix(old, new, factor, antialias)
                     for old, new, factor in zip(x.shape[1:3], size, scale, strict=True))
    y = jnp.einsum('ih,bhwc->biwc', rows, x.astype(jnp.float32), precision=lax.Precision.HIGHEST)
    y = jnp.einsum('jw,biwc->bijc', columns, y, precision=lax.Precision.HIGHEST)
    return y.astype(x.dtype)


def _bicubic_matrix(old: int, new: int, scale: float, antialias: bool) -> np.ndarray | jax.Array:
    """Row i: the weights of the old positions in the new position i, (new, old) float32."""
    numpy = np if symbolic.are_numbers([new, scale]) else jnp
    center = ((numpy.arange(new) + 0.5) / scale - 0.5)[:, None]
    if antialias:  # what is beyond the border does not count
        width = numpy.maximum(1.0, 1 / scale)
        matrix = _keys((numpy.arange(old)[None] - center) / width, -0.5, numpy)
    else:  # beyond the border stands the border
        taps = numpy.floor(center) + numpy.arange(-1, 3)[None]
        index = numpy.clip(taps, 0, old - 1)[:, :, None] == numpy.arange(old)[None, None]
        matrix = (_keys(taps - center, -0.75, numpy)[:, :, None] * index).sum(1)
    return (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)


def _keys(distance: np.ndarray | jax.Array, a: float, numpy: Any) -> np.ndarray | jax.Array:
    """The cubic convolution kernel of Keys 1981 with the parameter `a`."""
    d = numpy.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d ** 2 + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return numpy.where(d <= 1, near, numpy.where(d < 2, far, 0.0))


def upsample_nearest(x: jax.Array, factor: int) -> jax.Array:
    """Every pixel becomes `factor` x `factor`: (B, H, W, C) -> (B, H * factor, W * factor, C)."""
    height = x.shape[1]
    x = fill_height(x)
    b, h, w, c = x.shape
    # The gradient of a broadcast is a sum, that of a gather would be a scatter.
    x = broadcast(x[:, :, None, :, None, :], (b, h, factor, w, factor, c))
    return constrain(x.reshape(b, h * factor, w * factor, c)[:, :height * factor])


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Pads (B, H, W, C) at the bottom and the right until `multiple` divides both sides.

    The padding repeats the border.
    """
    size = tuple(-(-side // multiple) * multiple for side in x.shape[1:3])
    if size == x.shape[1:3]:
        return x
    if not symbolic.are_numbers(size):
        return symbolic.pad_edge(x, size)
    batch, height, width, channels = x.shape
    if space_axis() is not None:
        # Concatenated with its last row, a split map would be moved from device to device.
        x = interpolate((height, size[0], 1.0, 0.0, False), True, x.reshape(batch, height, -1))
        x = x.reshape(batch, -1, width, channels)
    bottom, right = (new - old for new, old in zip(size, x.shape[1:3], strict=True))
    return jnp.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0)), mode='edge')


def adaptive_average_pool(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Means over `size` cells, as torch's `adaptive_avg_pool2d`: (B, H, W, C) -> (B, *size, C).

    Cell i of n has the rows from floor(i H / n) to ceil((i + 1) H / n), without the last. So cells
    overlap where n does not divide H, and where n is more than H some have the same row. The sums
    are float32.
    """
    rows, columns = (_cells(side, cells) for side, cells in zip(x.shape[1:3], size, strict=True))
    y = jnp.einsum('ih,bhwc->biwc', rows, x.astype(jnp.float32), precision=lax.Precision.HIGHEST)
    y = jnp.einsum('jw,biwc->bijc', columns, y, precision=lax.Precision.HIGHEST)
    return y.astype(x.dtype)


def _cells(side: int, cells: int) -> np.ndarray | jax.Array:
    """The weight of every position in the mean of every cell, (cells, side)."""
    numpy = np if symbolic.are_numbers([side]) else jnp
    cell, position = numpy.arange(cells)[:, None], numpy.arange(side)[None]
    inside = (position >= cell * side // cells) & (position < -(-(cell + 1) * side // cells))
    return (inside / inside.sum(1, keepdims=True)).astype(np.float32)
