"""Data sets that are drawn when they are asked for: shapes that only their shape gives away, or only a cue far away."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

CLASSES = ('background', 'circle', 'square', 'triangle', 'star')
COLORS = ((40, 40, 40), (230, 25, 75), (60, 180, 75), (255, 200, 25), (0, 130, 200))
CUE_CLASSES = ('background', 'circle with a red cue', 'circle with a blue cue')
CUE_COLORS = ((40, 40, 40), (230, 25, 40), (30, 60, 230))
CUE = 6  # pixels, the side of the square
RADIUS = (4, 6)  # pixels, of the circles
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
        _check_counts(self.samples, self.seed)

    @property
    def spec(self) -> DatasetSpec:
        """The description."""
        return DatasetSpec('shapes', CLASSES, COLORS, mean=(0.5,) * 3, std=(0.25,) * 3, splits=_splits(self.samples))

    def source(self, split: str) -> 'DrawnSource':
        """Random access to a split."""
        if len(self.size) != 2 or min(self.size) < 32:
            raise InputError(f'data.size: {self.size} is not (height, width) of at least 32 pixels each')
        return _drawn('Shapes', self.samples, split, self.seed, self._draw)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = tuple(self.size)
        image, mask = _texture(rng, size, 0.35), np.zeros(size, np.uint8)
        for center, radius in _places(rng, size, int(rng.integers(2, 5))):
            _draw_shape(rng, image, mask, center, radius)
        return _photograph(rng, image), mask


@dataclasses.dataclass(frozen=True)
class DistantCue:
    """Circles of two classes that nothing in or near them gives away: a red or a blue square far away names the class.

    `kind='corner'`: one square in one of the four corners names the class of all circles of the picture.
    `kind='line'`: every circle has its own square, on its own row at the left or right border, or, in other pictures, on its
    own column at the upper or lower border; no other circle lies on those rows (columns).

    No pixel of a circle is nearer to its square than `distance`, and the square is drawn at random, so a model whose
    receptive field reaches less far can do no more than guess: see `ceiling`. Circles and background are grey: the squares are
    easy to find, and what is hard is to carry their colour to where it is needed.
    Sample i of a split depends on (seed, split, i) only.

    Args:
      kind: 'corner' or 'line'.
      size: (height, width) of a picture.
      distance: pixels between a circle and its square.
      samples: number of pictures by split ('train', 'val', 'test').
      seed: another seed is another data set.

    Raises:
      InputError: an unknown kind, a picture too small for the distance, a split of another name, a negative count or seed.
    """

    kind: str = 'corner'
    size: Sequence[int] = (48, 64)
    distance: int = 20
    samples: Mapping[str, int] = dataclasses.field(default_factory=lambda: {'train': 4000, 'val': 64, 'test': 256})
    seed: int = 0

    def __post_init__(self):
        _check_counts(self.samples, self.seed)
        if self.kind not in ('corner', 'line'):
            raise InputError(f"data.kind: {self.kind!r} is unknown; known: corner, line")
        needed = max(32, self.distance + 2 * (CUE + RADIUS[1]) + 1)
        if len(self.size) != 2 or self.distance < 1 or min(self.size) < needed:
            raise InputError(f'data.size: {self.size} leaves no room for circles {self.distance} pixels from their cue; give '
                             f'(height, width) of at least {needed} each, and a distance of at least 1')

    @property
    def spec(self) -> DatasetSpec:
        """The description."""
        return DatasetSpec('distant_cue', CUE_CLASSES, CUE_COLORS, mean=(0.5,) * 3, std=(0.25,) * 3,
                           splits=_splits(self.samples))

    def source(self, split: str) -> 'DrawnSource':
        """Random access to a split."""
        return _drawn('DistantCue', self.samples, split, self.seed, self._draw)

    def ceiling(self, split: str) -> float:
        """The highest mIoU to be expected of a model that does not see the cues.

        It may find every circle, but what it calls red does not depend on what is red. If a share p of the circles' pixels
        is called red, and a and b pixels are red and blue, the hits are p a and (1 - p) b, and the IoUs p a / (a + p b) and
        (1 - p) b / (b + (1 - p) a); the background's is 1. The ceiling is the largest mean of the three over p: 5/9 where
        a = b.
        """
        source = self.source(split)
        counts = sum(np.bincount(source[i]['mask'].ravel(), minlength=3) for i in range(len(source)))
        a, b = (float(count) for count in counts[1:])
        p = np.linspace(0, 1, 10_001)
        return float(((1 + p * a / (a + p * b) + (1 - p) * b / (b + (1 - p) * a)) / 3).max())

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        (height, width), mask = self.size, np.zeros(tuple(self.size), np.uint8)
        background = rng.uniform(0.2, 0.8)
        image = np.full((height, width, 3), background, np.float32)
        place = self._corner if self.kind == 'corner' else self._line
        for center, radius, label, cue in place(rng):
            inside = np.zeros(mask.shape, np.uint8)
            cv2.circle(inside, (int(center[1]), int(center[0])), radius, 1, -1)
            image[inside > 0], mask[inside > 0] = self._grey(rng, background), label
            image[cue[0]:cue[0] + CUE, cue[1]:cue[1] + CUE] = np.array(CUE_COLORS[label]) / 255
        noise = rng.standard_normal(image.shape, dtype=np.float32) * 0.03
        return np.clip(np.rint(255 * (image + noise)), 0, 255).astype(np.uint8), mask

    @staticmethod
    def _grey(rng: np.random.Generator, background: float) -> float:
        """A shade with a little contrast, or the circle would be a matter of luck."""
        grey = rng.uniform(0, 1)
        return grey if abs(grey - background) >= 0.3 else float(background < 0.5)

    def _corner(self, rng: np.random.Generator) -> list[tuple]:
        """(centre, radius, label, upper left pixel of the cue) of two or three circles with one cue."""
        height, width = self.size
        label, cue = int(rng.integers(1, 3)), (rng.integers(2, size=2) * (height - CUE, width - CUE)).astype(int)
        found: list[tuple] = []
        for _ in range(60):
            radius = int(rng.integers(RADIUS[0], RADIUS[1] + 1))
            center = rng.integers((radius, radius), (height - radius, width - radius))
            nearest = np.clip(center, cue, cue + CUE - 1)
            apart = all(np.hypot(*(center - other[0])) > radius + other[1] + 1 for other in found)
            if apart and np.hypot(*(center - nearest)) >= self.distance + radius + 1:
                found.append((center, radius, label, cue))
            if len(found) == 3:
                break
        return found

    def _line(self, rng: np.random.Generator) -> list[tuple]:
        """The same with a cue for every circle, along the rows or along the columns."""
        along = int(rng.integers(2))  # the axis from circle to cue
        side, found = self.size[along], []
        for _ in range(60):
            radius = int(rng.integers(RADIUS[0], RADIUS[1] + 1))
            low = radius + CUE + 1
            center = rng.integers((low, low), (self.size[0] - low, self.size[1] - low))
            cue = np.array([center[0] - CUE // 2, center[1] - CUE // 2])
            cue[along] = 0 if center[along] > side / 2 else side - CUE
            gap = center[along] - radius - CUE if cue[along] == 0 else side - CUE - 1 - center[along] - radius
            apart = all(abs(center[1 - along] - other[0][1 - along]) > radius + other[1] + 1 for other in found)
            if apart and gap >= self.distance:
                found.append((center, radius, int(rng.integers(1, 3)), cue))
            if len(found) == 3:
                break
        return found


@dataclasses.dataclass(frozen=True)
class DrawnSource:
    """One split of a data set whose pictures are drawn when they are asked for."""

    split: str
    samples: int
    seed: int
    draw: Callable

    def __len__(self) -> int:
        return self.samples

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every sample, in order."""
        return tuple(f'{self.split}_{index:06d}' for index in range(self.samples))

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.samples:
            raise IndexError(index)
        image, mask = self.draw(np.random.default_rng([self.seed, STREAMS[self.split], index]))
        return {'image': image, 'mask': mask, 'name': f'{self.split}_{index:06d}'}


def _splits(samples: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(name for name in STREAMS if name in samples)


def _drawn(name: str, samples: Mapping[str, int], split: str, seed: int, draw: Callable) -> DrawnSource:
    if split not in samples:
        raise InputError(f'data synthetic.{name}: no split {split!r}; known: {", ".join(_splits(samples))}')
    return DrawnSource(split, samples[split], seed, draw)


def _check_counts(samples: Mapping[str, int], seed: int):
    unknown = [name for name in samples if name not in STREAMS]
    if unknown:
        raise InputError(f'data.samples: no split {unknown[0]!r}; known: {", ".join(STREAMS)}')
    negative = {name: count for name, count in (*samples.items(), ('seed', seed)) if count < 0}
    for name, count in negative.items():
        raise InputError(f'data.{name if name == "seed" else "samples." + name}: {count} is negative; give 0 or more')


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


def _draw_shape(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, center: np.ndarray, radius: float):
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
