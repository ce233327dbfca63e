"""Whole images through a model, at their own size."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from jaxseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Callable `image -> mask` for images (H, W, C) of any size, uint8 or uint16.

    `pad(image)` returns the image grown at the bottom and the right to one of a bounded number of sizes, so that a folder
    of images of every size compiles a bounded number of times; what it added is cut off again.

    Raises:
      InputError: an image of another type or number of channels.
    """

    probabilities_of: Callable[[Any, jax.Array], jax.Array]
    variables: Any
    pad: Callable[[np.ndarray], np.ndarray]
    channels: int

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities (H, W, classes), float32."""
        image = _checked(image, self.channels)
        height, width = image.shape[:2]
        padded = self.pad(image)[None]
        return np.asarray(self.probabilities_of(self.variables, padded))[0, :height, :width]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class indices (H, W), uint8 or, above 256 classes, uint16."""
        probabilities = self.probabilities(image)
        return probabilities.argmax(-1).astype(np.uint8 if probabilities.shape[-1] <= 256 else np.uint16)


def make_predictor(*, model: nn.Module, variables: Any, normalize: Callable, pad: Callable, channels: int
                   ) -> Predictor:
    """A predictor that compiles once for every padded size."""

    @jax.jit
    def probabilities_of(variables: Any, images: jax.Array) -> jax.Array:
        return jax.nn.softmax(model.apply(variables, normalize(images), train=False), -1)

    return Predictor(probabilities_of, variables, pad, channels)


def _checked(image: Any, channels: int) -> np.ndarray:
    """The image as an array (H, W, channels) of uint8 or uint16; one of a single channel may come as (H, W)."""
    image = np.asarray(image)
    if image.ndim == 2 and channels == 1:
        image = image[..., None]
    problem = f'image of shape {image.shape} and {image.dtype}'
    if image.ndim != 3 or image.shape[-1] != channels or not image.size:
        raise InputError(f'{problem}: this model takes (height, width, {channels}); np.dstack makes RGB of three grey images, '
                         f'image[..., :3] drops the transparency of RGBA')
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f'{problem}: this model takes uint8 (0-255) or uint16 (0-65535); convert values of 0-255 with '
                         f'image.astype(np.uint8), values of 0-1 with (255 * image).round().astype(np.uint8)')
    return image
