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
        yield from self._complete(variables, images, self.task.decide)

    def rows(self, variables: Any, image: Any) -> Iterator[np.ndarray]:
        """The mask of one image in pieces of some rows, from top to bottom.

        Each comes as soon as no later window reaches it, so that neither mask nor image need be in
        memory: `image` is anything with `shape` and `image[top:bottom]`, as `data.lazy.LazyImage`.
        """
        yield from self._rows(variables, image, self.task.decide)

    def probability_rows(self, variables: Any, image: Any) -> Iterator[np.ndarray]:
        """The probabilities of one image in the same pieces, (rows, W, channels) float32."""
        yield from self._rows(variables, image, lambda mean: mean)

    def probabilities(self, variables: Any, image: np.ndarray) -> np.ndarray:
        """Probabilities of one image, (H, W, channels) float32."""
        (_, found), = self._complete(variables, [(None, image)], lambda mean: mean)
        return found

    @property
    def compilations(self) -> int:
        """Number of programs compiled."""
        return self._compiled._cache_size()

    @property
    def windowed(self) -> tuple:
        """Images that were too large in one piece: none, all go through windows."""
        return ()

    def _rows(self, variables: Any, image: Any, decide: Callable) -> Iterator[np.ndarray]:
        for window in self._run(variables, [(None, image)], decide):
            yield from window.canvas.take(last=window.last)

    def _complete(self, variables: Any, images: Iterable, decide: Callable
                  ) -> Iterator[tuple[Any, np.ndarray]]:
        """(key, result of the image's size) pairs, in order."""
        for window in self._run(variables, images, decide):
            if window.last:
                yield window.canvas.key, np.concatenate(window.canvas.take(last=True))

    def _run(self, variables: Any, images: Iterable, decide: Callable) -> Iterator[_Window]:
        """The windows of all images, each after it was added to its canvas."""
        count = -(-self.batch_size // self.devices) * self.devices
        windows = self._windows(images, decide)
        while batch := list(itertools.islice(windows, count)):
            pixels = [piece for _, piece in batch]
            # One shape for all batches: the last one is padded with copies.
            stacked = np.stack(pixels + [pixels[-1]] * (count - len(pixels)))
            found = np.asarray(self._compiled(variables, self.place(stacked)))
            for (window, _), probabilities in zip(batch, found, strict=False):
                window.canvas.add(probabilities, window.top, window.left)
                yield window

    def _windows(self, images: Iterable, decide: Callable) -> Iterator[tuple[_Window, np.ndarray]]:
        """Every window of every image, row by row, with its pixels."""
        height, width = self.window
        for key, image in images:
            canvas = _Canvas(key, image.shape[:2], self._weights, decide)
            tops, lefts = (starts(side, length, self.overlap)
                           for side, length in zip(image.shape, self.window, strict=False))
            for top in tops:
                # One access for a row of windows: images on disk are decoded no more often.
                strip = image[top:top + height]
                for left in lefts:
                    piece = strip[:, left:left + width]
                    margins = ((0, height - piece.shape[0]), (0, width - piece.shape[1]), (0, 0))
                    last = (top, left) == (tops[-1], lefts[-1])
                    yield _Window(canvas, top, left, last), np.pad(piece, margins, mode='edge')

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

    def take(self, *, last: bool) -> list[np.ndarray]:
        """The decisions made since the last call, from top to bottom; of all rows with `last`."""
        if last:
            self._advance(self._size[0])
        taken, self._parts = self._parts, []
        return taken

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
