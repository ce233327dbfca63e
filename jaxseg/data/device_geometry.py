"""Augmentation of the geometry on the device: flips, affine and elastic maps.

An image is resampled bilinearly, its labels and `valid` by nearest neighbour, so a void pixel stays
void. New pixels from outside the image get the mean color and are not valid.
"""

import dataclasses
import math
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import NonNegative, Probability, Range, check_fields

Sample = tuple[jax.Array, jax.Array, jax.Array]  # image, labels, valid
Factor = Annotated[float, Range(0.01, 100)]


@dataclasses.dataclass(frozen=True)
class Flip:
    """Flips and rotations by multiples of 90 degrees, which only move pixels.

    Attributes:
      horizontal, vertical: the probabilities of a flip left-right and of one top-bottom.
      rotate90: rotate by 0, 90, 180 or 270 degrees, all alike; images that are not square by 0 or
        180, as their size has to stay.
    """

    horizontal: Probability = 0.5
    vertical: Probability = 0.0
    rotate90: bool = False

    def __post_init__(self):
        check_fields(self, 'device_geometry.Flip')

    def __call__(self, images: jax.Array, labels: jax.Array, valid: jax.Array, keys: jax.Array
                 ) -> Sample:
        return jax.vmap(self._sample)(images, labels, valid, keys)

    def _sample(self, image: jax.Array, label: jax.Array, valid: jax.Array, key: jax.Array
                ) -> Sample:
        across, down, turn = jax.random.split(key, 3)
        square = image.shape[0] == image.shape[1]
        turns = jax.random.randint(turn, (), 0, 4) // (1 if square else 2) * (1 if square else 2)
        flips = [(jax.random.bernoulli(across, self.horizontal), 1),
                 (jax.random.bernoulli(down, self.vertical), 0)]

        def move(x: jax.Array) -> jax.Array:
            for chosen, axis in flips:
                x = jnp.where(chosen, jnp.flip(x, axis), x)
            if self.rotate90:
                x = jnp.where(turns >= 2, jnp.rot90(x, 2), x)
                x = jnp.where(turns % 2 == 1, jnp.rot90(x), x) if square else x
            return x

        return move(image), move(label), move(valid)


@dataclasses.dataclass(frozen=True)
class Affine:
    """Random scale, rotation, shear and translation about the centre of the image, in one map.

    Nothing is smoothed before an image shrinks: scales far below 1 alias, and belong on the host
    (`transforms.RandomScale`).

    Attributes:
      low, high: of the scale, which is uniform in its logarithm.
      degrees: of the rotation, at most, either way.
      shear: angle in degrees by which vertical lines lean, at most, either way.
      translation: share of the height and of the width, at most, either way.
      p: probability with which an image is changed at all.
      mean, value_range: given by the run.
    """

    low: Factor = 1.0
    high: Factor = 1.0
    degrees: Annotated[float, Range(0, 180)] = 0.0
    shear: Annotated[float, Range(0, 80)] = 0.0
    translation: Probability = 0.0
    p: Probability = 1.0
    mean: tuple[float, ...] = (0.0,)
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        check_fields(self, 'device_geometry.Affine')
        if self.low > self.high:
            raise InputError(f'device_geometry.Affine has low {self.low:g} above '
                             f'high {self.high:g}; exchange them')

    def __call__(self, images: jax.Array, labels: jax.Array, valid: jax.Array, keys: jax.Array
                 ) -> Sample:
        fill = fill_color(self.mean, self.value_range)

        def each(image: jax.Array, label: jax.Array, valid: jax.Array, key: jax.Array) -> Sample:
            return warp(image, label, valid, self._sources(image.shape[:2], key), fill)

        return jax.vmap(each)(images, labels, valid, keys)

    def _sources(self, size: tuple[int, int], key: jax.Array) -> jax.Array:
        """The (row, column) in the image that each pixel of the result shows, (H, W, 2)."""
        chosen, scale, angle, shear, shift = jax.random.split(key, 5)
        strength = jax.random.bernoulli(chosen, self.p).astype(jnp.float32)

        def draw(key: jax.Array, high: float, low: float | None = None, shape: tuple = ()
                 ) -> jax.Array:
            return strength * jax.random.uniform(
                key, shape, minval=-high if low is None else low, maxval=high)

        scale = jnp.exp(draw(scale, jnp.log(self.high), jnp.log(self.low)))
        angle = jnp.deg2rad(draw(angle, self.degrees))
        lean = jnp.tan(jnp.deg2rad(draw(shear, self.shear)))
        center = (jnp.array(size, jnp.float32) - 1) / 2
        y, x = jnp.meshgrid(*map(jnp.arange, size), indexing='ij')
        moved = center + draw(shift, self.translation, shape=(2,)) * jnp.array(size, jnp.float32)
        # The inverse of: scale, lean, rotate counter-clockwise, translate.
        y, x = y - moved[0], x - moved[1]
        y, x = (jnp.sin(angle) * x + jnp.cos(angle) * y, jnp.cos(angle) * x - jnp.sin(angle) * y)
        y, x = y / scale, (x - lean * y) / scale
        return jnp.stack([y, x], -1) + center.reshape(1, 1, 2)


@dataclasses.dataclass(frozen=True)
class Elastic:
    """A smooth random deformation (Simard et al. 2003, on a grid as Ronneberger et al. 2015).

    Attributes:
      magnitude: standard deviation of the displacement at the points of the grid, in pixels.
      spacing: pixels between the points, between which displacements are interpolated cubically.
      p: probability with which an image is changed at all.
      mean, value_range: given by the run.
    """

    magnitude: NonNegative = 4.0
    spacing: Annotated[float, Range(1)] = 64.0
    p: Probability = 0.5
    mean: tuple[float, ...] = (0.0,)
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        check_fields(self, 'device_geometry.Elastic')

    def __call__(self, images: jax.Array, labels: jax.Array, valid: jax.Array, keys: jax.Array
                 ) -> Sample:
        fill, size = fill_color(self.mean, self.value_range), images.shape[1:3]
        y, x = jnp.meshgrid(*map(jnp.arange, size), indexing='ij')

        def each(image: jax.Array, label: jax.Array, valid: jax.Array, key: jax.Array) -> Sample:
            chosen, noise = jax.random.split(key)
            scale = jnp.where(jax.random.bernoulli(chosen, self.p), self.magnitude, 0.0)
            sources = jnp.stack([y, x], -1) + scale * self._smooth(size, noise)
            return warp(image, label, valid, sources, fill)

        return jax.vmap(each)(images, labels, valid, keys)

    def _smooth(self, size: tuple[int, int], key: jax.Array) -> jax.Array:
        """Displacements of standard deviation 1 at the points of the grid, (H, W, 2)."""
        # Around the centre of the image, so that at least one lies beyond the last on every side.
        grid = tuple(math.ceil((side - 1) / self.spacing) + 3 for side in size)
        scale = jnp.full((2,), self.spacing)
        margin = (jnp.array(size) - scale * jnp.array(grid)) / 2
        return jax.image.scale_and_translate(
            jax.random.normal(key, (*grid, 2)), (*size, 2), (0, 1), scale, margin, 'cubic')


def fill_color(mean: tuple[float, ...], value_range: tuple[float, float]) -> jax.Array:
    """The mean color in pixel values, (C,)."""
    low, high = value_range
    return low + (high - low) * jnp.array(mean, jnp.float32)


def warp(image: jax.Array, label: jax.Array, valid: jax.Array, sources: jax.Array, fill: jax.Array
         ) -> Sample:
    """The image (H, W, C) bilinearly, label and valid by nearest neighbour, at `sources` (H, W, 2).

    Sources are (row, column), whole numbers at the centres of pixels. What lies outside the image
    gets `fill`, label 0, and is not valid; its border does not mix with `fill`.
    """
    height, width = image.shape[:2]
    limit = jnp.array([height - 1, width - 1]).reshape(1, 1, 2)
    sources = jnp.clip(sources, -1.0, limit + 1.0)  # far ones would not fit into an integer
    # Computed once: `floor` and the share must not see two roundings of one number.
    sources = jax.lax.optimization_barrier(sources)
    nearest = jnp.floor(sources + 0.5).astype(jnp.int32)
    inside = ((nearest >= 0) & (nearest <= limit)).all(-1)

    def take(x: jax.Array, at: jax.Array) -> jax.Array:
        at = jnp.clip(at, 0, limit)
        return x.reshape(height * width, *x.shape[2:])[at[..., 0] * width + at[..., 1]]

    corner = jnp.floor(sources)
    share = sources - corner
    below, right = share[..., :1], share[..., 1:]
    corner = corner.astype(jnp.int32)
    rows = []
    for down in (0, 1):
        left, beside = (take(image, corner + jnp.array([[[down, across]]])) for across in (0, 1))
        rows.append(left * (1 - right) + beside * right)
    values = rows[0] * (1 - below) + rows[1] * below
    valid = take(valid, nearest) & inside.reshape(inside.shape + (1,) * (label.ndim - 2))
    label = jnp.where(valid, take(label, nearest), 0)
    return jnp.where(inside[..., None], values, fill.reshape(1, 1, -1)), label, valid
