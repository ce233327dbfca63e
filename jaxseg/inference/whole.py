"""Whole images through a model, at their own size."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

# Batches of images that wait for others of their size: bounds the memory with many sizes.
WAITING = 4
# Programs kept, one for every size and batch size: bounds their memory.
PROGRAMS = 32


@dataclasses.dataclass(frozen=True)
class Whole:
    """Every image in one piece, padded by the model itself to a multiple of its stride.

    Images of one size are collected into batches. Every size compiles a program of its own: for
    data sets of many sizes use `sliding.SlidingWindow`, which compiles one.

    Args:
      forward: `(variables, images (B, H, W, C)) -> outputs`, pure.
      task: turns outputs into predictions and probabilities.
      batch_size: most images a batch.
      place: puts a batch on the devices.
      devices: their number; batches are padded with copies to a multiple of it.
    """

    forward: Callable[[Any, jax.Array], Any]
    task: Any
    batch_size: int
    place: Callable[[np.ndarray], jax.Array] = jax.numpy.asarray
    devices: int = 1

    def predictions(self, variables: Any, images: Iterable[tuple[Any, np.ndarray]]
                    ) -> Iterator[tuple[Any, np.ndarray]]:
        """(key, image (H, W, C)) pairs -> (key, mask of the image's size) pairs, in any order."""
        waiting: dict[tuple, list[tuple[Any, np.ndarray]]] = {}
        full = set()
        for key, image in images:
            size = (*image.shape, image.dtype)
            waiting.setdefault(size, []).append((key, image))
            if len(waiting[size]) == self.batch_size:
                full.add(size)
                yield from self._predict(variables, waiting.pop(size), self.batch_size)
            elif sum(map(len, waiting.values())) > WAITING * self.batch_size:
                oldest = next(iter(waiting))
                yield from self._predict(variables, waiting.pop(oldest), 1)
        for size, group in waiting.items():
            # Padded to the full batch only where that program exists: computing the copies costs
            # less than compiling another program.
            yield from self._predict(variables, group, self.batch_size if size in full else 1)

    def probabilities(self, variables: Any, image: np.ndarray) -> np.ndarray:
        """Probabilities of one image, (H, W, channels) float32."""
        batch = np.repeat(image[None], self.devices, 0)
        return np.asarray(self._probabilities(variables, self.place(batch)))[0]

    @property
    def compilations(self) -> int:
        """Number of programs compiled and kept."""
        return self._compiled._cache_size() + self._probabilities._cache_size()

    def _predict(self, variables: Any, group: list[tuple[Any, np.ndarray]], multiple: int
                 ) -> Iterator[tuple[Any, np.ndarray]]:
        if self._compiled._cache_size() >= PROGRAMS:
            self._compiled.clear_cache()
        multiple = max(multiple, self.devices)
        copies = -len(group) % multiple
        batch = np.stack([image for _, image in group] + [group[-1][1]] * copies)
        masks = np.asarray(self._compiled(variables, self.place(batch)))
        yield from ((key, mask) for (key, _), mask in zip(group, masks, strict=False))

    @functools.cached_property
    def _compiled(self) -> Any:
        return jax.jit(
            lambda variables, images: self.task.predictions(self.forward(variables, images)))

    @functools.cached_property
    def _probabilities(self) -> Any:
        return jax.jit(
            lambda variables, images: self.task.probabilities(self.forward(variables, images)))
