"""Changes of resolution."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.errors import InputError


def resize_bilinear(x: jax.Array, size: tuple[int, int], scale: Sequence[float]) -> jax.Array:
    """The upper left `size` of `x` enlarged `scale` times: (B, H, W, C) -> (B, *size, C).

    Bilinear with half-pixel centres, as torch's `align_corners=False`; height and width may have scales of their own.
    """
    if x.shape[1:3] == tuple(size) and tuple(scale) == (1, 1):
        return x
    return jax.image.scale_and_translate(x, (x.shape[0], *size, x.shape[3]), (1, 2), jnp.array(scale, jnp.float32),
                                         jnp.zeros(2), 'bilinear', antialias=False)


def upsample_nearest(x: jax.Array, factor: int) -> jax.Array:
    """Every pixel becomes `factor` x `factor`: (B, H, W, C) -> (B, H * factor, W * factor, C)."""
    b, h, w, c = x.shape
    # By broadcasting: its gradient is a plain sum, that of a gather would be a scatter.
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, factor, w, factor, c))
    return x.reshape(b, h * factor, w * factor, c)


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Grows (B, H, W, C) at the bottom and the right, repeating the border, until both sides divide by `multiple`."""
    bottom, right = (-side % multiple for side in x.shape[1:3])
    return jnp.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0)), mode='edge') if bottom or right else x


def downsample(x: jax.Array, factor: float) -> jax.Array:
    """Smaller by `factor` in (0, 1], without aliasing: (B, H, W, C) -> (B, H * factor, W * factor, C), rounded up.

    Raises:
      InputError: a factor outside (0, 1].
    """
    if not 0 < factor <= 1:
        raise InputError(f'model.input_scale: {factor} is not in (0, 1]')
    if factor == 1:
        return x
    height, width = (math.ceil(side * factor) for side in x.shape[1:3])
    return jax.image.resize(x, (x.shape[0], height, width, x.shape[3]), 'bilinear', antialias=True)


def adaptive_average_pool(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Means over `size` cells, as torch's `adaptive_avg_pool2d`: (B, H, W, C) -> (B, *size, C), summed in float32.

    Cell i of n has the rows from floor(i H / n) to ceil((i + 1) H / n), without the last. So cells overlap where H does not
    divide by n, and where n is more than H some have the same row.
    """
    rows, columns = (_cells(side, cells) for side, cells in zip(x.shape[1:3], size, strict=True))
    y = jnp.einsum('ih,bhwc->biwc', rows, x.astype(jnp.float32), precision=lax.Precision.HIGHEST)
    return jnp.einsum('jw,biwc->bijc', columns, y, precision=lax.Precision.HIGHEST).astype(x.dtype)


def _cells(side: int, cells: int) -> np.ndarray:
    """The weight of every position in the mean of every cell, (cells, side)."""
    cell, position = np.arange(cells)[:, None], np.arange(side)[None]
    inside = (position >= cell * side // cells) & (position < -(-(cell + 1) * side // cells))
    return (inside / inside.sum(1, keepdims=True)).astype(np.float32)
