"""Whole images through a model, at their own size."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxseg.inference.sliding import SlidingWindow
from jaxseg.memory import (
    address_space,
    available_bytes,
    compile_stated,
    needed_bytes,
    reserved_bytes,
)

# Batches of images that wait for others of their size: bounds the memory with many sizes.
WAITING = 4
# Programs kept, one for every size and batch size: bounds their memory.
PROGRAMS = 32
# Share of the memory that a program may take; what the compiler states is true to a tenth.
SHARE = 0.9


@dataclasses.dataclass(frozen=True)
class Whole:
    """Every image in one piece, padded by the model itself to a multiple of its stride.

    Images of one size are collected into batches. Every size compiles a program of its own: for
    data sets of many sizes use `sliding.SlidingWindow`, which compiles one. Before a program runs,
    the memory that its compilation states is compared with what there is. A batch that is too large
    runs image by image, and an image that is too large through the windows of
    `sliding.SlidingWindow`; `windowed` has the sizes of these.

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
        batch = self._placed([image] * self.devices)
        program = None if batch is None else self._program('probabilities', variables, batch)
        if program is None:
            self.windowed.append(image.shape[:2])
            return self._in_windows.probabilities(variables, image)
        return np.asarray(program(variables, batch))[0]

    def rows(self, variables: Any, image: Any) -> Iterator[np.ndarray]:
        """The mask of one image in pieces of some rows: through windows, as it is too large."""
        self.windowed.append(image.shape[:2])
        yield from self._in_windows.rows(variables, image)

    def probability_rows(self, variables: Any, image: Any) -> Iterator[np.ndarray]:
        """The probabilities of one image in the same pieces, (rows, W, channels) float32."""
        self.windowed.append(image.shape[:2])
        yield from self._in_windows.probability_rows(variables, image)

    @property
    def compilations(self) -> int:
        """Number of programs compiled and kept."""
        return len(self._programs)

    @functools.cached_property
    def windowed(self) -> list[tuple[int, int]]:
        """(height, width) of every image that was too large for the memory in one piece."""
        return []

    def _predict(self, variables: Any, group: list[tuple[Any, np.ndarray]], multiple: int
                 ) -> Iterator[tuple[Any, np.ndarray]]:
        copies = -len(group) % max(multiple, self.devices)
        batch = self._placed([image for _, image in group] + [group[-1][1]] * copies)
        program = None if batch is None else self._program('predictions', variables, batch)
        if program is not None:
            masks = np.asarray(program(variables, batch))
            yield from ((key, mask) for (key, _), mask in zip(group, masks, strict=False))
        elif len(group) + copies > self.devices:
            for pair in group:
                yield from self._predict(variables, [pair], 1)
        else:
            self.windowed.extend(image.shape[:2] for _, image in group)
            yield from self._in_windows.predictions(variables, group)

    def _placed(self, images: list[np.ndarray]) -> jax.Array | None:
        """A batch on the devices, None if the pixels alone need too much memory."""
        try:
            return self.place(np.stack(images))
        except MemoryError:
            return None
        except jax.errors.JaxRuntimeError as error:
            if 'RESOURCE_EXHAUSTED' not in str(error):
                raise
            return None

    def _program(self, what: str, variables: Any, batch: jax.Array) -> Any | None:
        """The compiled program for batches of this shape, None if it needs too much memory."""
        key = what, batch.shape, batch.dtype
        if key not in self._programs:
            if len(self._programs) >= PROGRAMS:
                self._programs.clear()
            of_task = getattr(self.task, what)
            try:
                compiled = compile_stated(jax.jit(
                    lambda variables, images: of_task(self.forward(variables, images))
                ).lower(variables, batch))
            except MemoryError:  # tracing makes constants that grow with the size
                return None
            self._programs[key] = compiled, needed_bytes(compiled), reserved_bytes(compiled)
        compiled, needed, reserved = self._programs[key]
        fits = needed <= SHARE * available_bytes() and needed + reserved <= address_space()
        return compiled if fits else None

    @functools.cached_property
    def _programs(self) -> dict[tuple, tuple[Any, int, int]]:
        return {}

    @functools.cached_property
    def _in_windows(self) -> SlidingWindow:
        return SlidingWindow(self.forward, self.task, self.devices, self.place, self.devices)
