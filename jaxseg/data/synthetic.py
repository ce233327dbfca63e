"""A data set that is drawn when it is asked for: shapes that only their shape gives away."""

import dataclasses
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

CLASSES = ('background', 'circle', 'square', 'triangle', 'star', 'ring')
COLORS = ((40, 40, 40), (230, 25, 75), (60, 180, 75), (255, 200, 25), (0, 130, 200), (145, 30, 180))
# The splits draw from different streams of random numbers: they cannot share a picture.
STREAMS = {'train': 0, 'val': 1, 'test': 2}


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Three to five overlapping shapes on a textured background: six classes, true masks with occlusion.

    Colour and texture are drawn anew for every shape and for the background and say nothing of the class. Scale, rotation,
    a gradient of light, noise and blur vary. Sample i of a split depends on (seed, split, i) only.

    Args:
      size: (height, width) of a picture.
      samples: number of pictures by split ('train', 'val', 'test').
      seed: another seed is another data set.
    """

    size: Sequence[int] = (64, 96)
    samples: Mapping[str, int] = dataclasses.field(default_factory=lambda: {'train': 4000, 'val': 64, 'test': 128})
    seed: int = 0

    @property
    def spec(self) -> DatasetSpec:
        """The description."""
        return DatasetSpec('shapes', CLASSES, COLORS, mean=(0.5,) * 3, std=(0.25,) * 3, splits=tuple(self.samples))

    def source(self, split: str) -> 'ShapesSource':
        """Random access to a split."""
        if split not in self.samples or split not in STREAMS:
            raise InputError(f'data synthetic.Shapes: no split {split!r}; known: '
                             f'{", ".join(name for name in self.samples if name in STREAMS)}')
        if len(self.size) != 2 or min(self.size) < 32:
            raise InputError(f'data.size: {self.size} is not (height, width) of at least 32 pixels each')
        return ShapesSource(tuple(self.size), self.samples[split], self.seed, split)


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
        image, mask = _texture(rng, self.size), np.zeros(self.size, np.uint8)
        for _ in range(rng.integers(3, 6)):
            _draw(rng, image, mask)
        return {'image': _photograph(rng, image), 'mask': mask, 'name': f'{self.split}_{index:06d}'}


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) float32 in 0-1: a colour, and stripes, a checkerboard or clouds of another over it."""
    first, second = rng.uniform(0, 1, (2, 3))
    second = first + 0.5 * (second - first)
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


def _draw(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray):
    """Puts one shape over what is there, in the image and in the mask."""
    height, width = mask.shape
    label = int(rng.integers(1, len(CLASSES)))
    radius = min(height, width) * rng.uniform(0.16, 0.32)
    center = rng.uniform((0, 0), (width, height))
    covered = np.zeros(mask.shape, np.uint8)
    shape = _outline(label, rng.uniform(0, 2 * np.pi))
    # OpenCV takes fractions of a pixel as integers: 4 bits after the point.
    points = np.rint((center + radius * shape) * 16).astype(np.int32)
    cv2.fillPoly(covered, [points], 1, shift=4)
    if CLASSES[label] == 'ring':
        hole = np.rint((center + 0.55 * radius * shape) * 16).astype(np.int32)
        cv2.fillPoly(covered, [hole], 0, shift=4)
    texture = _texture(rng, mask.shape)
    # A little contrast to what lies below, or the edge would be a matter of luck.
    behind = cv2.mean(image, covered)[:3]
    if np.abs(cv2.mean(texture, covered)[:3] - np.array(behind)).max() < 0.15:
        texture = np.clip(texture + (0.3 if np.mean(behind) < 0.5 else -0.3), 0, 1)
    np.copyto(image, texture, where=covered[..., None].astype(bool))
    mask[covered > 0] = label


def _outline(label: int, turn: float) -> np.ndarray:
    """Corners (N, 2) of a shape that fits into the unit circle."""
    name = CLASSES[label]
    count = {'square': 4, 'triangle': 3, 'star': 10}.get(name, 48)
    angles = turn + np.arange(count) * 2 * np.pi / count
    reach = np.where(np.arange(count) % 2, 0.45, 1.0) if name == 'star' else np.ones(count)
    return np.stack([reach * np.cos(angles), reach * np.sin(angles)], -1)


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light that falls unevenly, a lens that blurs, a sensor with noise."""
    height, width = image.shape[:2]
    corners = rng.uniform(0.6, 1.25, (2, 2)).astype(np.float32)
    light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.GaussianBlur(image * light[..., None], (0, 0), rng.uniform(0.4, 0.9))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.01, 0.06)
    return np.clip(np.rint(255 * (image + noise)), 0, 255).astype(np.uint8)
