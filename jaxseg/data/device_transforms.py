"""Transforms of a batch on the device, so that images are copied there as integers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Normalize:
    """Pixel values to float32: `((x - low) / (high - low) - mean) / std` for each channel.

    A callable `(batch, key) -> batch` for the preprocess step; `key` (for random transforms, None
    in evaluation) is not used. `batch['image']` is (B, H, W, C) of any integer or floating-point
    type.

    Attributes:
      mean, std: one a channel, of pixel values after `value_range` was mapped to 0-1.
      value_range: (low, high), the pixel values that are mapped to 0 and 1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] = (0.0, 255.0)

    def __call__(self, batch: Mapping[str, Any], key: jax.Array | None = None) -> dict[str, Any]:
        low, high = self.value_range
        mean, std = (jnp.array(values, jnp.float32).reshape(1, 1, 1, -1)
                     for values in (self.mean, self.std))
        # One multiplication and one addition a pixel, after `low` was taken off exactly.
        image = (batch['image'].astype(jnp.float32) - low) * (1 / ((high - low) * std)) - mean / std
        return {**batch, 'image': image}
