"""A data set that is drawn when it is asked for: shapes that only their shape gives away."""

import dataclasses
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

CLASSES = ('background', 'circle', 'square', 'triangle', 'star')
COLORS = ((40, 40, 40), (230, 25, 75), (60, 180, 75), (255, 200, 25), (0, 130, 200))
# The splits draw from different streams of random numbers: they cannot share a picture.
STREAMS = {'train': 0, 'val': 1, 'test': 2}


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Two to four overlapping shapes on a textured background: five classes, true masks with occlusion.

    Colour and texture are drawn anew for every shape and for the background and say nothing of the class. Scale, rotation (up
    to 23 degrees), a gradient of light, noise and blur vary. Sample i of a split depends on (seed, split, i) only.

    Args:
      size: (height, width) of a picture.
      samples: number of pictures by split ('train', 'val', 'test').
      seed: another seed is another data set.

    Raises:
      InputError: a picture too small, a split of another name, a negative count or seed.
    """

    size: Sequence[int] = (64, 96)
    samples: Mapping[str, int] = dataclasses.field(default_factory=lambda: {'train': 4000, 'val': 64, 'test': 128})
    seed: int = 0

    def __post_init__(self):
        unknown = [name for name in self.samples if name not in STREAMS]
        if unknown:
            raise InputError(f'data.samples: no split {unknown[0]!r}; known: {", ".join(STREAMS)}')
        negative = {name: count for name, count in (*self.samples.items(), ('seed', self.seed)) if count < 0}
        for name, count in negative.items():
            raise InputError(f'data.{name if name == "seed" else "samples." + name}: {count} is negative; give 0 or more')

    @property
    def spec(self) -> DatasetSpec:
        """The description."""
        return DatasetSpec('shapes', CLASSES, COLORS, mean=(0.5,) * 3, std=(0.25,) * 3, splits=self._splits())

    def source(self, split: str) -> 'ShapesSource':
        """Random access to a split."""
        if split not in self._splits():
            raise InputError(f'data synthetic.Shapes: no split {split!r}; known: {", ".join(self._splits())}')
        if len(self.size) != 2 or min(self.size) < 32:
            raise InputError(f'data.size: {self.size} is not (height, width) of at least 32 pixels each')
        return ShapesSource(tuple(self.size), self.samples[split], self.seed, split)

    def _splits(self) -> tuple[str, ...]:
        return tuple(name for name in STREAMS if name in self.samples)


@dataclasses.dataclass(frozen=True)
class ShapesSource:
    """One split of `Shapes`."""

    size: tuple[int, int]
    samples: int
    seed: int
    split: str

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.samples:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, STREAMS[self.split], index])
        image, mask = _texture(rng, self.size, 0.35), np.zeros(self.size, np.uint8)
        for center, radius in _places(rng, self.size, int(rng.integers(2, 5))):
            _draw(rng, image, mask, center, radius)
        return {'image': _photograph(rng, image), 'mask': mask, 'name': f'{self.split}_{index:06d}'}


def _texture(rng: np.random.Generator, size: tuple[int, int], contrast: float) -> np.ndarray:
    """(H, W, 3) float32 in 0-1: a colour, and stripes, a checkerboard or clouds of a paler one over it."""
    first, second = rng.uniform(0, 1, (2, 3))
    second = first + contrast * (second - first)
    y, x = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in size), indexing='ij')
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 16)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    kind = rng.integers(4)
    if kind == 0:
        pattern = 0.5 + 0.5 * np.sin(2 * np.pi * along / period)
    elif kind == 1:
        pattern = (np.sin(2 * np.pi * along / period) * np.sin(2 * np.pi * across / period) > 0).astype(np.float32)
    elif kind == 2:
        coarse = rng.random((2 + size[0] // 16, 2 + size[1] // 16), dtype=np.float32)
        pattern = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    else:
        pattern = np.zeros(size, np.float32)
    return (first + np.clip(pattern, 0, 1)[..., None] * (second - first)).astype(np.float32)


def _places(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[tuple[np.ndarray, float]]:
    """Centres (x, y) and radii: the border cuts and shapes hide each other, but never so much that nothing tells them apart."""
    places: list[tuple[np.ndarray, float]] = []
    for _ in range(20 * count):
        radius = min(size) * rng.uniform(0.22, 0.38)
        center = rng.uniform(0.6 * radius, np.array(size[::-1]) - 0.6 * radius)
        if all(np.hypot(*(center - other)) > 0.8 * (radius + reach) for other, reach in places):
            places.append((center, radius))
        if len(places) == count:
            break
    return places


def _draw(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, center: np.ndarray, radius: float):
    """Puts one shape over what is there, in the image and in the mask."""
    label = int(rng.integers(1, len(CLASSES)))
    covered = np.zeros(mask.shape, np.uint8)
    shape = _outline(label, rng.uniform(-0.4, 0.4))
    # OpenCV takes fractions of a pixel as integers: 4 bits after the point.
    points = np.rint((center + radius * shape) * 16).astype(np.int32)
    cv2.fillPoly(covered, [points], 1, shift=4)
    left, top, across, down = cv2.boundingRect(covered)
    box = np.s_[top:top + down, left:left + across]
    inside = covered[box].astype(bool)
    if not inside.any():
        return
    texture = _texture(rng, inside.shape, 0.15)
    # A little contrast to what lies below, or the edge would be a matter of luck.
    behind, before = image[box][inside].mean(0), texture[inside].mean(0)
    if np.abs(before - behind).max() < 0.2:
        texture = np.clip(texture + (0.35 if behind.mean() < 0.5 else -0.35), 0, 1)
    np.copyto(image[box], texture, where=inside[..., None])
    mask[box][inside] = label


def _outline(label: int, turn: float) -> np.ndarray:
    """Corners (N, 2) of a shape that fits into the unit circle."""
    name = CLASSES[label]
    count = {'square': 4, 'triangle': 3, 'star': 10}.get(name, 48)
    upright = -np.pi / 2 + (np.pi / 4 if name == 'square' else 0)  # y points down
    angles = upright + turn + np.arange(count) * 2 * np.pi / count
    reach = np.where(np.arange(count) % 2, 0.45, 1.0) if name == 'star' else np.ones(count)
    return np.stack([reach * np.cos(angles), reach * np.sin(angles)], -1)


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light that falls unevenly, a lens that blurs, a sensor with noise."""
    height, width = image.shape[:2]
    corners = rng.uniform(0.6, 1.25, (2, 2)).astype(np.float32)
    light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.GaussianBlur(image * light[..., None], (0, 0), rng.uniform(0.4, 0.9))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.01, 0.04)
    return np.clip(np.rint(255 * (image + noise)), 0, 255).astype(np.uint8)
