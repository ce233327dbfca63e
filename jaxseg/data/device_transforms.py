"""What happens to a batch on the device before the model: augmentation, normalization.

Images are copied to the device as integers and become float32 there.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxseg.axis import mapped_axis


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


@dataclasses.dataclass(frozen=True)
class Augment(Normalize):
    """Random augmentation of images and labels together, then `Normalize`; without a key only that.

    An augmentation is `(images, labels, valid, keys) -> (images, labels, valid)`: images
    (B, H, W, C) float32 pixel values, labels int32 and valid bool (B, H, W) or
    (B, H, W, classes), one key for each sample. All keep their shapes. The key of a sample depends
    on its place in the batch of all devices, so `jit` and `pmap` draw the same numbers.

    Attributes:
      augmentations: parts of `device_geometry`, `device_color` and `device_mixing`, in their order.
    """

    augmentations: tuple[Any, ...] = ()

    def __call__(self, batch: Mapping[str, Any], key: jax.Array | None = None) -> dict[str, Any]:
        if key is not None:
            sample = batch['image'].astype(jnp.float32), batch['label'], batch['valid']
            for index, augmentation in enumerate(self.augmentations):
                keys = _sample_keys(jax.random.fold_in(key, index), len(sample[0]))
                sample = augmentation(*sample, keys)
            batch = {**batch, **dict(zip(('image', 'label', 'valid'), sample, strict=True))}
        return super().__call__(batch, key)


def _sample_keys(key: jax.Array, count: int) -> jax.Array:
    """A key for each sample of this device."""
    axis = mapped_axis()
    first = 0 if axis is None else jax.lax.axis_index(axis) * count
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(first + jnp.arange(count))
