"""Augmentation on the host: the image is resampled bilinearly, its mask by nearest neighbour.

A transform is `(image, mask, *, rng, fill) -> (image, mask)`, with an image (H, W, C) of uint8,
uint16 or float32 and any number of channels, and an integer mask (H, W) or (H, W, classes). New
pixels outside the image get the values of `fill`: the mean color, and void.

Transforms are applied in training only; evaluation sees images at their own size. So there is none
that resizes to a fixed size: train on crops of the true scale (`RandomCrop`), or let the model
itself work at another scale (`model.input_scale`), which holds in evaluation too.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated

import cv2
import numpy as np

from jaxseg.data.spec import Fill
from jaxseg.errors import InputError
from jaxseg.fields import Positive, PositiveInt, Probability, Range, check_fields

cv2.setNumThreads(0)  # The pipeline has its own threads; two levels of them slow each other down.
Pair = tuple[np.ndarray, np.ndarray]
Side = Annotated[int, Range(1, 16384)]


@dataclasses.dataclass(frozen=True)
class RandomScale:
    """Scales by a factor between `low` and `high`, uniform in its logarithm."""

    low: Positive = 0.5
    high: Positive = 2.0

    def __post_init__(self):
        check_fields(self, 'transforms.RandomScale')
        if self.low > self.high:
            raise InputError(f'transforms.RandomScale: low {self.low:g} is above high '
                             f'{self.high:g}; exchange them')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill
                 ) -> Pair:
        factor = np.exp(rng.uniform(np.log(self.low), np.log(self.high)))
        size = tuple(max(1, round(side * factor)) for side in mask.shape[:2])
        return resize_pair(image, mask, size)


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """Crops to `size` (height, width); smaller images are padded at the bottom and right.

    Up to `tries` windows are drawn until no class has more than `max_class_ratio` of the window's
    labelled pixels (the `cat_max_ratio` of MMSegmentation), since sky and road alone teach little.
    For overlapping masks, where a pixel has no single class, the first window is taken.
    """

    size: tuple[Side, Side]
    max_class_ratio: Annotated[float, Range(above=0, high=1)] = 0.75
    tries: PositiveInt = 10

    def __post_init__(self):
        check_fields(self, 'transforms.RandomCrop')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill
                 ) -> Pair:
        height, width = self.size
        image, mask = _pad(image, mask, max(0, height - mask.shape[0]),
                           max(0, width - mask.shape[1]), fill)
        for _ in range(self.tries):
            top = int(rng.integers(0, mask.shape[0] - height + 1))
            left = int(rng.integers(0, mask.shape[1] - width + 1))
            window = np.s_[top:top + height, left:left + width]
            if self.max_class_ratio == 1 or mask.ndim == 3:
                break
            counts = np.bincount(mask[window].ravel(), minlength=fill.mask + 1)
            counts[fill.mask] = 0
            if counts.max() <= self.max_class_ratio * counts.sum():
                break
        return image[window], mask[window]


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """Flips left-right with probability `horizontal`, top-bottom with `vertical`."""

    horizontal: Probability = 0.5
    vertical: Probability = 0.0

    def __post_init__(self):
        check_fields(self, 'transforms.RandomFlip')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill
                 ) -> Pair:
        if rng.random() < self.horizontal:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if rng.random() < self.vertical:
            image, mask = image[::-1], mask[::-1]
        return image, mask


@dataclasses.dataclass(frozen=True)
class RandomRotate90:
    """Rotates by 90, 180 or 270 degrees, all alike, with probability `p`; no pixel is resampled.

    Images that are not square are rotated by 180 degrees only, so that they keep their size.
    """

    p: Probability = 0.75

    def __post_init__(self):
        check_fields(self, 'transforms.RandomRotate90')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill
                 ) -> Pair:
        turns, chosen = int(rng.integers(1, 4)), rng.random() < self.p
        if not chosen:
            return image, mask
        turns = turns if mask.shape[0] == mask.shape[1] else 2
        return np.rot90(image, turns), np.rot90(mask, turns)


@dataclasses.dataclass(frozen=True)
class RandomRotation:
    """Rotates by up to `degrees` either way, with probability `p`; corners become `fill`."""

    degrees: Annotated[float, Range(0, 180)] = 10.0
    p: Probability = 0.5

    def __post_init__(self):
        check_fields(self, 'transforms.RandomRotation')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill
                 ) -> Pair:
        # Positive angles are counter-clockwise.
        angle, chosen = rng.uniform(-self.degrees, self.degrees), rng.random() < self.p
        if not chosen:
            return image, mask
        height, width = mask.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)

        def rotate(part: np.ndarray, values: tuple[float, ...], interpolation: int) -> np.ndarray:
            return cv2.warpAffine(part, matrix, (width, height), flags=interpolation,
                                  borderMode=cv2.BORDER_CONSTANT, borderValue=values)

        image = _per_channels(
            image, lambda part, at: rotate(part, fill.image[at], cv2.INTER_LINEAR))
        # OpenCV does not rotate integers of 32 bits (labels need 16), and rounds the positions for
        # two channels unlike those for one: each class is rotated alone.
        labels = mask.reshape(height, width, -1)
        labels = labels.astype(np.uint16 if labels.dtype.itemsize > 1 else np.uint8)
        labels = [rotate(np.ascontiguousarray(labels[..., i]), (fill.mask,), cv2.INTER_NEAREST)
                  for i in range(labels.shape[-1])]
        return image, np.stack(labels, -1).reshape(mask.shape).astype(mask.dtype)


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue.

    The first three are factors within 1 -+ their value; the hue shifts by up to `hue` of the color
    circle. Each image is changed with probability `p`. Values are first mapped from the data set's
    value range to 0-1, and clipped to it at the end. Contrast is changed about the mean of the
    image, saturation and hue in HSV. These two are for RGB: with other numbers of channels they
    must be 0.
    """

    brightness: Probability = 0.3
    contrast: Probability = 0.3
    saturation: Probability = 0.3
    hue: Annotated[float, Range(0, 0.5)] = 0.0
    p: Probability = 0.8

    def __post_init__(self):
        check_fields(self, 'transforms.ColorJitter')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill
                 ) -> Pair:
        lowest = 1 - np.array([self.brightness, self.contrast, self.saturation])
        brightness, contrast, saturation = rng.uniform(lowest, 2 - lowest).astype(np.float32)
        hue, chosen = np.float32(rng.uniform(-self.hue, self.hue)), rng.random() < self.p
        if (self.saturation or self.hue) and image.shape[-1] != 3:
            raise InputError(
                f'transforms.ColorJitter: saturation {self.saturation:g} and hue {self.hue:g} need '
                f'3 channels, these images have {image.shape[-1]}; set both to 0')
        if not chosen:
            return image, mask
        low, high = (np.float32(limit) for limit in fill.value_range)
        x = (image.astype(np.float32) - low) * (brightness / (high - low))
        mean = x.mean()
        x = np.clip((x - mean) * contrast + mean, 0, 1)
        if self.saturation or self.hue:
            hsv = cv2.cvtColor(x, cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0] + 360 * hue) % 360
            hsv[..., 1] = np.minimum(hsv[..., 1] * saturation, 1)
            x = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        x = np.clip(x * (high - low) + low, low, high)
        return (x if image.dtype.kind == 'f' else np.rint(x)).astype(image.dtype), mask


@dataclasses.dataclass(frozen=True)
class RandomBlur:
    """Gaussian blur, standard deviation of up to `sigma` pixels, with probability `p`."""

    sigma: Positive = 1.5
    p: Probability = 0.2

    def __post_init__(self):
        check_fields(self, 'transforms.RandomBlur')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill
                 ) -> Pair:
        sigma, chosen = rng.uniform(min(0.1, self.sigma), self.sigma), rng.random() < self.p
        if not chosen:
            return image, mask
        return _per_channels(image, lambda part, _: cv2.GaussianBlur(part, (0, 0), sigma)), mask


def resize_pair(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> Pair:
    """Both at (height, width); the image by area where it shrinks, so that nothing aliases."""
    # OpenCV's area mode is only right where no side grows: first what shrinks, then what grows.
    smaller = (min(size[1], mask.shape[1]), min(size[0], mask.shape[0]))
    image = _per_channels(image, lambda part, _: cv2.resize(
        cv2.resize(part, smaller, interpolation=cv2.INTER_AREA), (size[1], size[0]),
        interpolation=cv2.INTER_LINEAR))
    # The pixel in which the centre of the new pixel lies.
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new)
                     for new, old in zip(size, mask.shape[:2], strict=True))
    return image, mask.take(rows, 0).take(columns, 1)


def _pad(image: np.ndarray, mask: np.ndarray, bottom: int, right: int, fill: Fill) -> Pair:
    if not bottom and not right:
        return image, mask
    image = _per_channels(image, lambda part, at: cv2.copyMakeBorder(
        part, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=fill.image[at]))
    widths = ((0, bottom), (0, right), (0, 0))[:mask.ndim]
    return image, np.pad(mask, widths, constant_values=fill.mask)


def _per_channels(array: np.ndarray, change: Callable[[np.ndarray, slice], np.ndarray]
                  ) -> np.ndarray:
    """Applies `change` to four channels at a time, the limit of OpenCV, and keeps the last axis."""
    parts = [change(np.ascontiguousarray(array[..., i:i + 4]), slice(i, i + 4))
             for i in range(0, array.shape[-1], 4)]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], -1)
