"""Augmentation on the host. Image and mask move together: the image bilinearly, the mask by nearest neighbour.

A transform is `(image (H, W, C), mask (H, W), *, rng, fill) -> (image, mask)`, for uint8 and uint16 images of any number of
channels. What lies outside the picture is `fill`: the mean colour, and void.
"""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from jaxseg.data.spec import Fill
from jaxseg.errors import InputError

cv2.setNumThreads(0)  # The pipeline has threads of its own; two levels of them fight.
Pair = tuple[np.ndarray, np.ndarray]


def _check(transform: object, rule: bool, text: str):
    if not rule:
        raise InputError(f'transforms.{type(transform).__name__}: {transform} - {text}')


def _per_channels(image: np.ndarray, change: Callable[[np.ndarray, slice], np.ndarray]) -> np.ndarray:
    """OpenCV fills and filters at most four channels at once, and drops the axis of a single one."""
    parts = [change(np.ascontiguousarray(image[..., i:i + 4]), slice(i, i + 4)) for i in range(0, image.shape[-1], 4)]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], -1)


def resize_pair(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> Pair:
    """Both at (height, width): by area where the image shrinks, so that nothing aliases."""
    shape = (size[1], size[0])
    # OpenCV's area mode is only right where no side grows: first what shrinks, then what grows.
    height, width = min(size[0], mask.shape[0]), min(size[1], mask.shape[1])
    image = _per_channels(image, lambda part, _: cv2.resize(
        cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), shape, interpolation=cv2.INTER_LINEAR))
    # INTER_NEAREST_EXACT samples pixel centres; INTER_NEAREST is off by half a pixel.
    return image, cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST_EXACT)


@dataclasses.dataclass(frozen=True)
class Resize:
    """To a fixed (height, width), whatever the shape was."""

    size: Sequence[int]

    def __post_init__(self):
        _check(self, len(self.size) == 2 and min(self.size) > 0, 'size is (height, width)')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill) -> Pair:
        return resize_pair(image, mask, tuple(self.size))


@dataclasses.dataclass(frozen=True)
class RandomScale:
    """By a factor between `low` and `high`, evenly in its logarithm: halving is as likely as doubling."""

    low: float = 0.5
    high: float = 2.0

    def __post_init__(self):
        _check(self, 0 < self.low <= self.high, 'needs 0 < low <= high')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill) -> Pair:
        factor = np.exp(rng.uniform(np.log(self.low), np.log(self.high)))
        return resize_pair(image, mask, tuple(max(1, round(side * factor)) for side in mask.shape))


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """A window of (height, width); smaller pictures are filled up at the bottom and the right.

    Up to `tries` windows are drawn until no class has more than `max_dominant` of the window's known pixels (the
    `cat_max_ratio` of MMSegmentation): sky and road alone teach little.
    """

    size: Sequence[int]
    max_dominant: float = 0.75
    tries: int = 10

    def __post_init__(self):
        _check(self, len(self.size) == 2 and min(self.size) > 0 and 0 < self.max_dominant <= 1 and self.tries > 0,
               'size is (height, width), max_dominant a share in (0, 1], tries at least 1')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill) -> Pair:
        height, width = self.size
        bottom, right = max(0, height - mask.shape[0]), max(0, width - mask.shape[1])
        if bottom or right:
            image = _per_channels(image, lambda part, at: cv2.copyMakeBorder(
                part, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=fill.image[at]))
            mask = np.pad(mask, ((0, bottom), (0, right)), constant_values=fill.mask)
        for _ in range(self.tries):
            top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(mask.shape, self.size, strict=True))
            window = np.s_[top:top + height, left:left + width]
            counts = np.bincount(mask[window].ravel(), minlength=fill.mask + 1)
            counts[fill.mask] = 0
            if counts.max() <= self.max_dominant * counts.sum():
                break
        return image[window], mask[window]


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """Left and right with probability `horizontal`, top and bottom with probability `vertical`."""

    horizontal: float = 0.5
    vertical: float = 0.0

    def __post_init__(self):
        _check(self, 0 <= self.horizontal <= 1 and 0 <= self.vertical <= 1, 'both are probabilities')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill) -> Pair:
        if rng.random() < self.horizontal:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if rng.random() < self.vertical:
            image, mask = image[::-1], mask[::-1]
        return image, mask


@dataclasses.dataclass(frozen=True)
class RandomRotation:
    """About the centre by up to `degrees` either way, with probability `p`; the corners become `fill`."""

    degrees: float = 10.0
    p: float = 0.5

    def __post_init__(self):
        _check(self, 0 <= self.degrees <= 180 and 0 <= self.p <= 1, 'degrees is 0 to 180, p a probability')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill) -> Pair:
        angle, chosen = rng.uniform(-self.degrees, self.degrees), rng.random() < self.p
        if not chosen:
            return image, mask
        height, width = mask.shape
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
        image = _per_channels(image, lambda part, at: cv2.warpAffine(
            part, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill.image[at]))
        return image, cv2.warpAffine(np.ascontiguousarray(mask), turn, (width, height), flags=cv2.INTER_NEAREST,
                                     borderMode=cv2.BORDER_CONSTANT, borderValue=fill.mask)


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast and saturation by factors within 1 -+ their value, hue by up to `hue` of the colour circle.

    Each picture is changed with probability `p`. Saturation and hue are for RGB: with other numbers of channels they must
    be 0. Contrast turns about the mean of the picture.
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.0
    p: float = 0.8

    def __post_init__(self):
        values = (self.brightness, self.contrast, self.saturation, self.p)
        _check(self, all(0 <= value <= 1 for value in values) and 0 <= self.hue <= 0.5,
               'hue is 0 to 0.5, all others 0 to 1')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill) -> Pair:
        low = 1 - np.array([self.brightness, self.contrast, self.saturation])
        brightness, contrast, saturation = rng.uniform(low, 2 - low).astype(np.float32)
        hue, chosen = np.float32(rng.uniform(-self.hue, self.hue)), rng.random() < self.p
        if (self.saturation or self.hue) and image.shape[-1] != 3:
            raise InputError(f'transforms.ColorJitter: saturation {self.saturation} and hue {self.hue} need 3 channels, '
                             f'these images have {image.shape[-1]}; set both to 0')
        if not chosen:
            return image, mask
        largest = np.iinfo(image.dtype).max
        x = image.astype(np.float32) * (brightness / largest)
        x = (x - x.mean()) * contrast + x.mean()
        if self.saturation or self.hue:
            hsv = cv2.cvtColor(np.clip(x, 0, 1), cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0] + 360 * hue) % 360
            hsv[..., 1] = np.minimum(hsv[..., 1] * saturation, 1)
            x = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        return np.clip(np.rint(x * largest), 0, largest).astype(image.dtype), mask


@dataclasses.dataclass(frozen=True)
class RandomBlur:
    """A Gaussian with a standard deviation of up to `sigma` pixels, with probability `p`."""

    sigma: float = 1.5
    p: float = 0.2

    def __post_init__(self):
        _check(self, self.sigma > 0 and 0 <= self.p <= 1, 'sigma is positive, p a probability')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill) -> Pair:
        sigma, chosen = rng.uniform(0.1, max(self.sigma, 0.1)), rng.random() < self.p
        if not chosen:
            return image, mask
        return _per_channels(image, lambda part, _: cv2.GaussianBlur(part, (0, 0), sigma)), mask
