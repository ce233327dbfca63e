"""Overlapping windows: images of any size with one compiled program and bounded memory."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np

from jaxseg.fields import PositiveInt, Range

SIGMA = 0.125  # standard deviation of the Gaussian weights by the side of the window, as in nnU-Net


class _Window(NamedTuple):
    """One window of one image: its place, and whether it is the image's last."""

    canvas: '_Canvas'
    top: int
    left: int
    last: bool


@dataclasses.dataclass(frozen=True)
class SlidingWindow:
    """The weighted mean of the probabilities of overlapping windows, from which the task decides.

    Windows that would reach over the border are moved inside, as in MMSegmentation; an image
    smaller than a window is padded by repeating its border, and the result cropped. Windows of
    several images share a batch, so that all batches have one shape and one program is compiled.
    Sums are kept for one row of windows at a time: no array of full height x width x channels is
    made.

    Args:
      window: (height, width).
      overlap: share of a window that the next one covers again.
      weights: 'gaussian' weights the middle of a window more (Isensee et al. 2021, nnU-Net),
        'constant' all pixels alike.
      forward, task, batch_size, place, devices: as in `whole.Whole`; `batch_size` counts windows.
    """

    forward: Callable[[Any, jax.Array], Any]
    task: Any
    batch_size: int
    place: Callable[[np.ndarray], jax.Array] = jax.numpy.asarray
    devices: int = 1
    window: tuple[PositiveInt, PositiveInt] = (512, 512)
    overlap: Annotated[float, Range(0, below=1)] = 0.5
    weights: Literal['gaussian', 'constant'] = 'gaussian'

    def predictions(self, variables: Any, images: Iterable[tuple[Any, np.ndarray]]
                    ) -> Iterator[tuple[Any, np.ndarray]]:
        """(key, image (H, W, C)) pairs -> (key, mask of the image's size) pairs, in order."""
        yield from self._run(variables, images, self.task.decide)

    def probabilities(self, variables: Any, image: np.ndarray) -> np.ndarray:
        """Probabilities of one image, (H, W, channels) float32."""
        (_, found), = self._run(variables, [(None, image)], lambda mean: mean)
        return found

    @property
    def compilations(self) -> int:
        """Number of programs compiled."""
        return self._compiled._cache_size()

    @property
    def windowed(self) -> tuple:
        """Images that were too large in one piece: none, all go through windows."""
        return ()

    def _run(self, variables: Any, images: Iterable, decide: Callable
             ) -> Iterator[tuple[Any, np.ndarray]]:
        count = -(-self.batch_size // self.devices) * self.devices
        windows = self._windows(images, decide)
        while batch := list(itertools.islice(windows, count)):
            pixels = [piece for _, piece in batch]
            # One shape for all batches: the last one is padded with copies.
            stacked = np.stack(pixels + [pixels[-1]] * (count - len(pixels)))
            found = np.asarray(self._compiled(variables, self.place(stacked)))
            for (window, _), probabilities in zip(batch, found, strict=False):
                window.canvas.add(probabilities, window.top, window.left)
                if window.last:
                    yield window.canvas.key, window.canvas.finish()

    def _windows(self, images: Iterable, decide: Callable) -> Iterator[tuple[_Window, np.ndarray]]:
        """Every window of every image, row by row, with its pixels."""
        height, width = self.window
        for key, image in images:
            canvas = _Canvas(key, image.shape[:2], self._weights, decide)
            places = list(itertools.product(*(
                starts(side, length, self.overlap)
                for side, length in zip(image.shape, self.window, strict=False))))
            for index, (top, left) in enumerate(places):
                piece = image[top:top + height, left:left + width]
                margins = ((0, height - piece.shape[0]), (0, width - piece.shape[1]), (0, 0))
                window = _Window(canvas, top, left, index == len(places) - 1)
                yield window, np.pad(piece, margins, mode='edge')

    @functools.cached_property
    def _weights(self) -> np.ndarray:
        """(height, width) float32, positive everywhere."""
        if self.weights == 'constant':
            return np.ones(self.window, np.float32)
        rows, columns = (np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (SIGMA * side)) ** 2)
                         for side in self.window)
        return np.maximum(rows[:, None] * columns, 1e-6).astype(np.float32)

    @functools.cached_property
    def _compiled(self) -> Any:
        return jax.jit(
            lambda variables, images: self.task.probabilities(self.forward(variables, images)))


class _Canvas:
    """The result of one image: weighted sums of the rows in windows, decisions of those above."""

    def __init__(self, key: Any, size: tuple[int, int], weights: np.ndarray, decide: Callable):
        self.key, self._size, self._weights, self._decide = key, size, weights, decide
        self._top, self._sums, self._total = 0, None, None
        self._parts: list[np.ndarray] = []

    def add(self, probabilities: np.ndarray, top: int, left: int):
        """Adds a window (h, w, channels); windows are added row by row."""
        if self._sums is None:
            height, width = self._weights.shape[0], self._size[1]
            self._sums = np.zeros((height, width, probabilities.shape[-1]), np.float32)
            self._total = np.zeros((height, width, 1), np.float32)
        if top > self._top:
            self._advance(top)
        width = min(self._weights.shape[1], self._size[1] - left)
        weights = self._weights[:, :width, None]
        self._sums[:, left:left + width] += weights * probabilities[:, :width]
        self._total[:, left:left + width] += weights

    def finish(self) -> np.ndarray:
        """The decisions of all rows."""
        self._advance(self._size[0])
        return np.concatenate(self._parts)

    def _advance(self, top: int):
        """Decides the rows above `top`, which no later window reaches, and moves the rest up."""
        rows = top - self._top
        self._parts.append(self._decide(self._sums[:rows] / self._total[:rows]))
        for array in (self._sums, self._total):
            array[:-rows or None] = array[rows:].copy()
            array[len(array) - rows:] = 0
        self._top = top


def starts(side: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along a side.

    The last one ends at the border, or begins at 0 if the side is smaller than a window.
    """
    step = max(1, round(window * (1 - overlap)))
    last = max(side - window, 0)
    return [*range(0, last, step), last]
