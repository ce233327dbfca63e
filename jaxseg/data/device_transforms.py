"""What happens to images on the device: they travel as integers, a quarter of the bytes of float32."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def normalize(images: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """`(x / largest - mean) / std` in float32: (B, H, W, C), `largest` being that of the integer type (255 or 65535)."""
    scale = [1 / (jnp.iinfo(images.dtype).max * deviation) for deviation in std]
    shift = [-m / deviation for m, deviation in zip(mean, std, strict=True)]
    row = (1, 1, 1, -1)
    return images.astype(jnp.float32) * jnp.array(scale).reshape(row) + jnp.array(shift).reshape(row)
