"""Data sets drawn on access: shapes that differ by outline, circles labelled by distant cues."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import cv2
import numpy as np

from jaxseg.data.drawing import (
    SHAPES,
    draw_shape,
    draw_texture,
    photograph,
    place_shapes,
    to_uint8,
)
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from jaxseg.fields import NonNegativeInt, PositiveInt, Range, check_fields

CLASSES = ('background', *SHAPES)
COLORS = ((40, 40, 40), (230, 25, 75), (60, 180, 75), (255, 200, 25), (0, 130, 200))
CUE_CLASSES = ('background', 'circle with a red cue', 'circle with a blue cue')
CUE_COLORS = ((40, 40, 40), (230, 25, 40), (30, 60, 230))
CUE = 6  # pixels, the side of the square
RADIUS = (4, 6)  # pixels, of the circles
# The splits draw from different streams of random numbers: they cannot share an image.
STREAMS = {'train': 0, 'val': 1, 'test': 2}
Side = Annotated[int, Range(32, 8192)]
Count = Annotated[int, Range(0, 10_000_000)]


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Two to four shapes that cover each other on a textured background.

    Color and texture are drawn for every shape and for the background, and do not depend on the
    class. Scale, rotation (up to 23 degrees), a gradient of light, noise and blur vary. Sample i of
    a split depends on (seed, split, i) only.

    Attributes:
      size: (height, width) of an image.
      samples: number of images by split ('train', 'val', 'test').
      seed: another seed is another data set.
      overlapping: False: five classes with background, one per pixel, the visible one. True: four
        masks (H, W, 4) of 0 and 1, one per kind of shape without background; a covered part still
        belongs to its class (amodal masks). The images are the same.

    Raises:
      InputError: a field is out of range, or a split has another name.
    """

    size: tuple[Side, Side] = (64, 96)
    samples: Mapping[str, Count] = dataclasses.field(
        default_factory=lambda: {'train': 4000, 'val': 64, 'test': 128})
    seed: NonNegativeInt = 0
    overlapping: bool = False

    def __post_init__(self):
        check_fields(self, 'data')
        _check_splits(self.samples)

    @property
    def spec(self) -> DatasetSpec:
        """The description."""
        first = 1 if self.overlapping else 0
        return DatasetSpec('shapes', CLASSES[first:], COLORS[first:], mean=(0.5,) * 3,
                           std=(0.25,) * 3,
                           splits=_splits(self.samples), overlapping=self.overlapping)

    def source(self, split: str) -> 'DrawnSource':
        """Random access to a split."""
        return _drawn('Shapes', self.samples, split, self.seed, self._draw)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = tuple(self.size)
        image, mask = draw_texture(rng, size, 0.35), np.zeros(size, np.uint8)
        masks = np.zeros((*size, len(SHAPES)), np.uint8)
        for center, radius in place_shapes(rng, size, int(rng.integers(2, 5))):
            kind = int(rng.integers(len(SHAPES)))
            covered = draw_shape(rng, image, SHAPES[kind], center, radius)
            mask[covered], masks[covered, kind] = kind + 1, 1
        return photograph(rng, image), masks if self.overlapping else mask


@dataclasses.dataclass(frozen=True)
class DistantCue:
    """Circles whose class is given by a red or blue square far away, and by nothing nearer.

    `kind='corner'`: one square in one of the four corners names the class of all circles of the
    image. `kind='line'`: every circle has its own square, on its own row at the left or right
    border, or, in other images, on its own column at the upper or lower border; no other circle
    lies on those rows (columns).

    No pixel of a circle is nearer to its square than `distance`, and the square is drawn at random,
    so a model with a smaller receptive field cannot do better than guess: see `ceiling`. Circles
    and background are grey: the squares are easy to find, the difficulty is to carry their color to
    where it is needed. Sample i of a split depends on (seed, split, i) only.

    Attributes:
      kind: 'corner' or 'line'.
      size: (height, width) of an image.
      distance: pixels between a circle and its square.
      samples: number of images by split ('train', 'val', 'test').
      seed: another seed is another data set.

    Raises:
      InputError: a field is out of range, an image is too small for the distance, or a split has
        another name.
    """

    kind: Literal['corner', 'line'] = 'corner'
    size: tuple[PositiveInt, PositiveInt] = (48, 64)
    distance: PositiveInt = 20
    samples: Mapping[str, Count] = dataclasses.field(
        default_factory=lambda: {'train': 4000, 'val': 64, 'test': 256})
    seed: NonNegativeInt = 0

    def __post_init__(self):
        check_fields(self, 'data')
        _check_splits(self.samples)
        needed = max(32, self.distance + 2 * (CUE + RADIUS[1]) + 1)
        if min(self.size) < needed:
            raise InputError(f'data.size: {self.size} is too small for circles {self.distance} '
                             f'pixels from their cue; give (height, width) of at least {needed} '
                             f'each')

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

        It may find every circle, but which it calls red does not depend on which are red. If a
        share p of the circles' pixels is called red, and a and b pixels are red and blue, the hits
        are p a and (1 - p) b, and the IoUs p a / (a + p b) and (1 - p) b / (b + (1 - p) a); the
        background's is 1. The ceiling is the largest mean of the three over p: 5/9 where a = b.
        """
        source = self.source(split)
        counts = sum(np.bincount(source[i]['mask'].ravel(), minlength=3)
                     for i in range(len(source)))
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
        return to_uint8(image + noise), mask

    @staticmethod
    def _grey(rng: np.random.Generator, background: float) -> float:
        """A shade with a little contrast, or the circle would be a matter of luck."""
        grey = rng.uniform(0, 1)
        return grey if abs(grey - background) >= 0.3 else float(background < 0.5)

    def _corner(self, rng: np.random.Generator) -> list[tuple]:
        """(centre, radius, label, upper left pixel of the cue) of two or three circles."""
        height, width = self.size
        label = int(rng.integers(1, 3))
        cue = (rng.integers(2, size=2) * (height - CUE, width - CUE)).astype(int)
        found: list[tuple] = []
        for _ in range(60):
            radius = int(rng.integers(RADIUS[0], RADIUS[1] + 1))
            center = rng.integers((radius, radius), (height - radius, width - radius))
            nearest = np.clip(center, cue, cue + CUE - 1)
            far = np.hypot(*(center - nearest)) >= self.distance + radius + 1
            if far and all(np.hypot(*(center - other[0])) > radius + other[1] + 1
                           for other in found):
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
            before = cue[along] == 0
            gap = (center[along] - CUE if before else side - CUE - 1 - center[along]) - radius
            apart = all(abs(center[1 - along] - other[0][1 - along]) > radius + other[1] + 1
                        for other in found)
            if apart and gap >= self.distance:
                found.append((center, radius, int(rng.integers(1, 3)), cue))
            if len(found) == 3:
                break
        return found


@dataclasses.dataclass(frozen=True)
class DrawnSource:
    """One split of a data set whose images are drawn on access."""

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


def _drawn(name: str, samples: Mapping[str, int], split: str, seed: int, draw: Callable
           ) -> DrawnSource:
    if split not in samples:
        raise InputError(f'data synthetic.{name}: no split {split!r}; known: '
                         f'{", ".join(_splits(samples))}; add it to data.samples')
    return DrawnSource(split, samples[split], seed, draw)


def _check_splits(samples: Mapping[str, int]):
    unknown = [name for name in samples if name not in STREAMS]
    if unknown:
        raise InputError(f'data.samples: no split {unknown[0]!r}; known: {", ".join(STREAMS)}')
