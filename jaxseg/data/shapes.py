"""Outlines, run lengths and bitmaps of annotated objects as pixels.

A pixel belongs to a shape if its center is inside: pixel (row, column) covers [column, column + 1)
in x and [row, row + 1) in y, as in COCO and LabelMe, and has its center in the middle. A center on
an edge belongs to the shape on its right or below it, so that shapes that share an edge share no
pixel, and a rectangle from x = 2 to x = 5 is 3 pixels wide. (`cv2.fillPoly` and `PIL.ImageDraw`
would fill every pixel that an edge touches, 4 in width, and merge neighbours.)
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from jaxseg.errors import InputError

# Coordinates beyond are no pixels.
LARGEST = 1e6


class Patch(NamedTuple):
    """The pixels of a shape: bool (h, w), and the row and column of the first one."""

    top: int
    left: int
    inside: np.ndarray

    @property
    def place(self) -> tuple[slice, slice]:
        """The rows and columns of an image."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


class Figure(Protocol):
    """What was annotated: an outline, run lengths, ..."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, in pixels."""

    @property
    def stored_bytes(self) -> int:
        """The size of what describes it."""

    def draw(self, height: int, width: int) -> Patch:
        """Its pixels in an image of this size; what is outside is cut off."""


@dataclasses.dataclass(frozen=True)
class Polygons:
    """One or more outlines (N, 2) of x and y: a pixel is inside if it is inside of one of them.

    Where an outline crosses itself, what it goes around twice is outside (even-odd rule).
    """

    parts: tuple[np.ndarray, ...]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """See `Figure`."""
        return box_of(np.concatenate(self.parts))

    @property
    def stored_bytes(self) -> int:
        """See `Figure`."""
        return sum(part.nbytes for part in self.parts)

    def draw(self, height: int, width: int) -> Patch:
        """See `Figure`."""
        window = _window(self.box, height, width)
        inside = np.logical_or.reduce([_fill(part.astype(float), window) for part in self.parts])
        return Patch(window[0], window[1], inside)


@dataclasses.dataclass(frozen=True)
class Stroke:
    """The pixels whose centers are less than `radius` from a line through points (N, 2).

    A single point is a disc.
    """

    points: np.ndarray
    radius: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """See `Figure`."""
        left, top, right, bottom = box_of(self.points)
        radius = self.radius
        return left - radius, top - radius, right + radius, bottom + radius

    @property
    def stored_bytes(self) -> int:
        """See `Figure`."""
        return self.points.nbytes

    def draw(self, height: int, width: int) -> Patch:
        """See `Figure`."""
        top, left, bottom, right = _window(self.box, height, width)
        rows, columns = np.mgrid[top:bottom, left:right] + 0.5
        inside = np.zeros(rows.shape, bool)
        ends = self.points[1:] if len(self.points) > 1 else self.points
        for (x, y), end in zip(self.points, ends, strict=False):
            dx, dy = end - (x, y)
            right_of, below = columns - x, rows - y
            # Where on the segment, 0 to 1, its closest point is.
            at = ((right_of * dx + below * dy) / max(dx ** 2 + dy ** 2, 1e-12)).clip(0, 1)
            inside |= (right_of - at * dx) ** 2 + (below - at * dy) ** 2 < self.radius ** 2
        return Patch(top, left, inside)


@dataclasses.dataclass(frozen=True)
class Bitmap:
    """Pixels as they are, (h, w) bool, the first one at (`top`, `left`)."""

    pixels: np.ndarray
    top: int
    left: int

    @property
    def box(self) -> tuple[float, float, float, float]:
        """See `Figure`."""
        height, width = self.pixels.shape
        return self.left, self.top, self.left + width, self.top + height

    @property
    def stored_bytes(self) -> int:
        """See `Figure`."""
        return self.pixels.nbytes

    def draw(self, height: int, width: int) -> Patch:
        """See `Figure`."""
        top, left, bottom, right = _window(self.box, height, width)
        return Patch(top, left, self.pixels[top - self.top:bottom - self.top,
                                            left - self.left:right - self.left])


@dataclasses.dataclass(frozen=True)
class RunLengths:
    """COCO's run lengths: pixels outside, inside, outside, ... down the columns of an image.

    Attributes:
      counts: the lengths, (N,) int.
      size: height and width of the image.
    """

    counts: np.ndarray
    size: tuple[int, int]

    def __post_init__(self):
        total = int(self.counts.sum())
        if (self.counts < 0).any() or total != self.size[0] * self.size[1]:
            raise InputError(f'run lengths of {total} pixels for a size of {self.size[0]}x'
                             f'{self.size[1]} (height x width)')

    @property
    def box(self) -> tuple[float, float, float, float]:
        """See `Figure`."""
        return 0, 0, self.size[1], self.size[0]

    @property
    def stored_bytes(self) -> int:
        """See `Figure`."""
        return self.counts.nbytes

    def draw(self, height: int, width: int) -> Patch:
        """See `Figure`.

        Raises:
          InputError: they are of an image of another size.
        """
        if self.size != (height, width):
            raise InputError(f'run lengths of {self.size[1]}x{self.size[0]} pixels for an image of '
                             f'{width}x{height}; export both at the same size')
        values = np.arange(len(self.counts)) % 2 == 1
        pixels = np.repeat(values, self.counts).reshape(width, height).T
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        if not len(rows):
            return Patch(0, 0, pixels[:0, :0])
        top, left = int(rows[0]), int(columns[0])
        return Patch(top, left, pixels[top:rows[-1] + 1, left:columns[-1] + 1].copy())


def decode_counts(text: str) -> np.ndarray:
    """The run lengths in COCO's compressed text, (N,) int.

    Each character holds 6 bits from '0' on: five of the number, the lowest first, and whether more
    follow; the last of a number holds its sign. From the fourth on, numbers are differences from
    the last but one (rleToString of pycocotools).

    Raises:
      InputError: other characters, or the text ends within a number.
    """
    codes = np.frombuffer(text.encode('utf-8', 'replace'), np.uint8).astype(np.int64) - 48
    last = codes & 32 == 0
    if ((codes < 0) | (codes > 63)).any() or len(codes) and not last[-1]:
        raise InputError('the text of its compressed run lengths is damaged')
    if not len(codes):
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    lengths = np.diff([*starts, len(codes)])
    if lengths.max() > 10:
        raise InputError('the text of its compressed run lengths is damaged')
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    negative = codes[last] & 16 != 0
    numbers -= np.where(negative, np.int64(1) << 5 * lengths, 0)
    for chain in (numbers[1::2], numbers[2::2]):
        np.cumsum(chain, out=chain)
    return numbers


def box_of(points: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of points (N, 2)."""
    return *points.min(0).tolist(), *points.max(0).tolist()


def has_area(points: np.ndarray) -> bool:
    """Whether not all points (N, 2), at least three of them, are on one line."""
    third = len(points) // 3
    (x0, y0), (x1, y1), (x2, y2) = points[[0, third, 2 * third]].tolist()
    if (x1 - x0) * (y2 - y0) != (x2 - x0) * (y1 - y0):  # Of most outlines these three tell.
        return True
    from_first = points.astype(float) - points[0]
    along = from_first[np.abs(from_first).sum(1).argmax()]
    return bool((from_first[:, 0] * along[1] != from_first[:, 1] * along[0]).any())


def outside(figure: Figure, height: int, width: int) -> bool:
    """Whether no part of a figure is within an image."""
    left, top, right, bottom = figure.box
    return right <= 0 or bottom <= 0 or left >= width or top >= height


def _window(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the pixels of an image whose centers may be in a box."""
    low, high = np.ceil(np.array(box).reshape(2, 2) - 0.5).clip(0, (width, height)).astype(int)
    return int(low[1]), int(low[0]), int(high[1]), int(high[0])


def _fill(points: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """The pixels inside of an outline: on its left, their row crosses it an odd number of times."""
    top, left, bottom, right = window
    starts, ends = points, np.roll(points, -1, 0)
    # Always downwards, so that neighbours compute the same crossings of the edge that they share.
    down = (starts[:, 1] <= ends[:, 1])[:, None]
    (x0, y0), (x1, y1) = np.where(down, starts, ends).T, np.where(down, ends, starts).T
    # The rows whose centers an edge crosses: its upper end included, its lower end not.
    first, stop = (np.ceil(y - 0.5).clip(top, bottom).astype(int) for y in (y0, y1))
    count = stop - first
    edge = np.repeat(np.arange(len(points)), count)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    crossings = x0[edge] + (rows + 0.5 - y0[edge]) * slope
    columns = np.ceil(crossings - 0.5).clip(left, right).astype(int)
    odd = np.zeros((bottom - top, right - left + 1), np.uint8)
    np.bitwise_xor.at(odd, (rows - top, columns - left), 1)
    return np.bitwise_xor.accumulate(odd, 1)[:, :-1] > 0
