"""Augmentation of the pixel values on the device; labels and `valid` stay as they are.

Values are mapped from the data set's value range to 0-1, changed, clipped to 0-1 and mapped back.
"""

import dataclasses
import math
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxseg.data.device_geometry import Sample
from jaxseg.errors import InputError
from jaxseg.fields import NonNegative, Probability, Range, check_fields


class _Colors:
    """Changes the values of each image with probability `p`: `_change(x, key)`, x of 0-1."""

    def __call__(self, images: jax.Array, labels: jax.Array, valid: jax.Array, keys: jax.Array
                 ) -> Sample:
        low, high = self.value_range

        def each(image: jax.Array, key: jax.Array) -> jax.Array:
            chosen, inner = jax.random.split(key)
            x = jnp.clip(self._change((image - low) / (high - low), inner), 0, 1)
            return jnp.where(jax.random.bernoulli(chosen, self.p), x * (high - low) + low, image)

        return jax.vmap(each)(images, keys), labels, valid


@dataclasses.dataclass(frozen=True)
class ColorJitter(_Colors):
    """Random brightness, contrast, saturation, hue and gamma, as `transforms.ColorJitter`.

    The first three are factors within 1 -+ their value. Contrast is changed about the mean of the
    image, saturation and hue in HSV; these two are for RGB, and must be 0 for other numbers of
    channels.

    Attributes:
      hue: shift of up to this share of the color circle, either way.
      gamma: values are raised to a power between 1 / (1 + gamma) and 1 + gamma, uniform in its
        logarithm.
      p: probability with which an image is changed at all.
      mean, value_range: given by the run; the means are as many as the channels.
    """

    brightness: Probability = 0.3
    contrast: Probability = 0.3
    saturation: Probability = 0.3
    hue: Annotated[float, Range(0, 0.5)] = 0.0
    gamma: Annotated[float, Range(0, 9)] = 0.0
    p: Probability = 0.8
    mean: tuple[float, ...] = (0.0,) * 3
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        check_fields(self, 'device_color.ColorJitter')
        if (self.saturation or self.hue) and len(self.mean) != 3:
            raise InputError(
                f'device_color.ColorJitter has saturation {self.saturation:g} and '
                f'hue {self.hue:g}, which need 3 channels, these images have {len(self.mean)}; '
                f'set both to 0')

    def _change(self, x: jax.Array, key: jax.Array) -> jax.Array:
        factors, power = jax.random.split(key)
        limits = jnp.array([self.brightness, self.contrast, self.saturation, self.hue])
        brightness, contrast, saturation, hue = limits * jax.random.uniform(
            factors, (4,), minval=-1.0, maxval=1.0)
        x = x * (1 + brightness)
        # So written, and not as `(x - mean) * contrast + mean`, a factor of 1 changes no bit.
        x = jnp.clip(x * (1 + contrast) - contrast * x.mean(), 0, 1)
        if self.saturation or self.hue:
            x = jnp.clip(adjust_hsv(x, 1 + saturation, hue), 0, 1)
        if self.gamma:
            limit = math.log1p(self.gamma)
            x = x ** jnp.exp(jax.random.uniform(power, minval=-limit, maxval=limit))
        return x


@dataclasses.dataclass(frozen=True)
class Noise(_Colors):
    """Gaussian noise, its standard deviation uniform between 0 and `sigma`, with probability `p`.

    Attributes:
      sigma: where black is 0 and white 1.
      value_range: given by the run.
    """

    sigma: NonNegative = 0.05
    p: Probability = 0.5
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        check_fields(self, 'device_color.Noise')

    def _change(self, x: jax.Array, key: jax.Array) -> jax.Array:
        level, noise = jax.random.split(key)
        return x + self.sigma * jax.random.uniform(level) * jax.random.normal(noise, x.shape)


@dataclasses.dataclass(frozen=True)
class Blur(_Colors):
    """Gaussian blur, standard deviation of up to `sigma` pixels, with probability `p`.

    The border of the image is repeated outwards.

    Attributes:
      value_range: given by the run.
    """

    sigma: Annotated[float, Range(above=0, high=32)] = 1.5
    p: Probability = 0.2
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        check_fields(self, 'device_color.Blur')

    def _change(self, x: jax.Array, key: jax.Array) -> jax.Array:
        sigma = jax.random.uniform(key, minval=min(0.1, self.sigma), maxval=self.sigma)
        radius = math.ceil(3 * self.sigma)
        weights = jnp.exp(-0.5 * (jnp.arange(-radius, radius + 1) / sigma) ** 2)
        weights = weights / weights.sum()
        for axis in (0, 1):
            padding = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
            padded = jnp.pad(x, padding, mode='edge')
            x = sum(weight * jax.lax.slice_in_dim(padded, k, k + x.shape[axis], axis=axis)
                    for k, weight in enumerate(weights))
        return x


def adjust_hsv(x: jax.Array, saturation: jax.Array, hue: jax.Array) -> jax.Array:
    """RGB (..., 3) of 0-1 with another saturation and hue in HSV; saturation at most 1.

    Args:
      saturation: a factor.
      hue: the shift, in parts of the color circle.
    """
    value, low = x.max(-1, keepdims=True), x.min(-1, keepdims=True)
    chroma = value - low
    # In sixths of the circle: 0 is red, 2 green, 4 blue.
    red, green, blue = jnp.split(x, 3, -1)
    safe = jnp.where(chroma > 0, chroma, 1)
    # Not `value == red`: a compiler that computes x twice may round it in two ways. Where two
    # channels are nearly equal, both formulas give nearly the same angle.
    first, second = (red >= green) & (red >= blue), green >= blue
    angle = jnp.where(first, (green - blue) / safe,
                      jnp.where(second, (blue - red) / safe + 2, (red - green) / safe + 4))
    chroma = jnp.minimum(chroma * saturation, value)
    place = (angle + 6 * hue + jnp.array([5.0, 3.0, 1.0]).reshape((1,) * (x.ndim - 1) + (3,))) % 6
    return value - chroma * jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
