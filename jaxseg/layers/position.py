"""Where a pixel is: two-dimensional position encodings."""

import jax
import jax.numpy as jnp


def sine_2d(height: int, width: int, channels: int) -> jax.Array:
    """Sines and cosines of the row in half of the channels, of the column in the others: (H, W, channels) float32.

    Vaswani et al. 2017 in each direction, with wavelengths from 2 pi to 10,000 * 2 pi pixels; as in DETR (Carion et al.
    2020). Any size, any number of channels: what is over is cut off.
    """
    half = -(-channels // 2)
    rows = jnp.broadcast_to(_sine(height, half)[:, None], (height, width, half))
    columns = jnp.broadcast_to(_sine(width, channels - half)[None], (height, width, channels - half))
    return jnp.concatenate([rows, columns], -1)


def _sine(length: int, channels: int) -> jax.Array:
    pairs = -(-channels // 2)
    frequency = 10_000.0 ** (-jnp.arange(pairs) / max(pairs, 1))
    angle = jnp.arange(length)[:, None] * frequency[None, :]
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1).reshape(length, 2 * pairs)[:, :channels]
