"""Two-dimensional position encodings."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.resize import resize_axis

# Wavelengths of the rotations go from 2 pi to this times 2 pi positions (RoPE-ViT): feature maps
# are shorter than texts.
ROTARY_BASE = 100.0


def sine_2d(height: int, width: int, channels: int) -> jax.Array:
    """Sines and cosines of the row in half of the channels, of the column in the others.

    (H, W, channels) float32. Vaswani et al. 2017 in each direction, with wavelengths from 2 pi to
    10,000 * 2 pi positions; as in DETR (Carion et al. 2020). Any number of channels: those beyond
    are cropped.
    """
    half = -(-channels // 2)
    rows = jnp.broadcast_to(_sine(height, half)[:, None], (height, width, half))
    columns = _sine(width, channels - half)[None]
    columns = jnp.broadcast_to(columns, (height, width, channels - half))
    return jnp.concatenate([rows, columns], -1)


def _sine(length: int, channels: int) -> jax.Array:
    pairs = -(-channels // 2)
    frequency = 10_000.0 ** (-jnp.arange(pairs) / max(pairs, 1))
    angle = jnp.arange(length)[:, None] * frequency[None, :]
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1).reshape(length, 2 * pairs)[:, :channels]


class LearnedPosition(nn.Module):
    """A learned vector for every row plus one for every column: (H, W, features) float32.

    `size` is the height and width of the tables; for other maps they are resized bilinearly, as in
    Dosovitskiy et al. 2021 (arXiv:2010.11929).
    """

    features: PositiveInt
    size: tuple[PositiveInt, PositiveInt]

    @nn.compact
    def __call__(self, height: int, width: int) -> jax.Array:
        init = nn.initializers.normal(0.02)
        rows, columns = (self.param(name, init, (length, self.features))
                         for name, length in zip(('rows', 'columns'), self.size, strict=True))
        return _resize(rows, height)[:, None] + _resize(columns, width)[None]


def _resize(table: jax.Array, length: int) -> jax.Array:
    return resize_axis(table[None], length, (length, len(table)))[0]


def rotate_2d(x: jax.Array) -> jax.Array:
    """Rotary positions: scores of rotated queries and keys depend on the offset alone.

    RoFormer (arXiv:2104.09864) with half of the channels rotated by the row and half by the column,
    at the frequencies `100^(-4 t / d)`, `t < d / 4`, of RoPE-ViT (arXiv:2403.13298). Channel c is
    rotated with channel c + d / 2. Nothing is learned, so that any size works.

    Args:
      x: queries or keys, (B, H, W, heads, d).

    Returns:
      The same shape and dtype; computed in float32.

    Raises:
      InputError: 4 does not divide d.
    """
    height, width, depth = x.shape[1], x.shape[2], x.shape[-1]
    if depth % 4:
        raise InputError(f"position 'rope': 4 does not divide the {depth} channels of a head; "
                         'change features or heads')
    frequency = ROTARY_BASE ** (-jnp.arange(depth // 4) / (depth // 4))
    rows, columns = (jnp.arange(length)[:, None] * frequency[None]
                     for length in (height, width))
    shape = height, width, depth // 4
    angle = jnp.concatenate([jnp.broadcast_to(rows[:, None], shape),
                             jnp.broadcast_to(columns[None], shape)], -1)
    return rotate(x, angle)


def rotate(x: jax.Array, angle: jax.Array) -> jax.Array:
    """Channel c of every head rotated with channel c + d / 2, computed in float32.

    Args:
      x: queries or keys, (B, ..., heads, d).
      angle: (..., d / 2).

    Returns:
      The shape and dtype of `x`.
    """
    sine, cosine = jnp.sin(angle)[None, ..., None, :], jnp.cos(angle)[None, ..., None, :]
    a, b = jnp.split(x.astype(jnp.float32), 2, -1)
    return jnp.concatenate([a * cosine - b * sine, a * sine + b * cosine], -1).astype(x.dtype)


def relative_bias(table: jax.Array, width: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A learned score for every offset (Shaw et al. 2018; Swin, arXiv:2103.14030).

    Args:
      table: (heads, 2 rows + 1, 2 columns + 1), the middle for offset 0; larger offsets take the
        value of the edge.
      width: of the map; token t is in row t // width and column t % width.

    Returns:
      The `bias` of `attend`: indices (n,), (m,) -> (1, heads, n, m).
    """
    heads, rows, columns = table.shape

    def bias(queries: jax.Array, keys: jax.Array) -> jax.Array:
        i = _offset(queries // width, keys // width, rows // 2)
        j = _offset(queries % width, keys % width, columns // 2)
        return jnp.take(table.reshape(heads, -1), i * columns + j, axis=1)[None]

    return bias


def _offset(query: jax.Array, key: jax.Array, reach: int) -> jax.Array:
    """The index of the offset in an axis of the table: 0 to 2 reach."""
    return jnp.clip(query[:, None] - key[None], -reach, reach) + reach
