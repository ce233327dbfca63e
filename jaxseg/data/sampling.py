"""Which training image comes next, where it is not the next one of a shuffled epoch."""

import concurrent.futures
import dataclasses
from typing import Annotated

import numpy as np

from jaxseg.data.spec import DatasetSpec, Source, nothing_labelled
from jaxseg.data.splits import sample_mask
from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt, Range, check_fields


@dataclasses.dataclass(frozen=True)
class ClassBalanced:
    """Images that show rare classes come more often (DAFormer, Hoyer et al. 2022, section 3.3).

    For every sample a class is drawn with a probability proportional to
    `exp((1 - f_c) / temperature)`, f_c being its share of the labelled pixels, and then an image
    that shows it, all alike. So there are no epochs: an image may come twice before another comes
    once. All masks are read once when training begins.

    Attributes:
      temperature: 0.01 nearly always draws classes below one per cent of the pixels; a large one
        draws all classes alike.
      min_pixels: an image shows a class from this number of pixels on.

    Raises:
      InputError: when called: no class has as many pixels in any image.
    """

    temperature: Annotated[float, Range(0.001)] = 0.1
    min_pixels: PositiveInt = 1

    def __post_init__(self):
        check_fields(self, 'sampling.ClassBalanced')

    def __call__(self, source: Source, spec: DatasetSpec) -> 'ClassDraw':
        """`draw(rng) -> index`: the index of the next sample of the source."""
        pixels = class_pixels(source, spec)
        if not pixels.any():
            raise InputError(nothing_labelled(spec, len(source)))
        images = [np.flatnonzero(column >= self.min_pixels) for column in pixels.T]
        shown = np.array([bool(len(chosen)) for chosen in images])
        if not shown.any():
            raise InputError(f'sampling.min_pixels: {self.min_pixels}, but no class has more than '
                             f'{pixels.max()} pixels in any image; lower it')
        shares = pixels.sum(0) / pixels.sum()
        powers = np.where(shown, -shares / self.temperature, -np.inf)
        weights = np.exp(powers - powers.max())
        return ClassDraw(tuple(images), weights / weights.sum())


@dataclasses.dataclass(frozen=True)
class ClassDraw:
    """Draws a class, then an image that shows it.

    Attributes:
      images: for every class the indices of the samples that show it.
      probabilities: of the classes.
    """

    images: tuple[np.ndarray, ...]
    probabilities: np.ndarray

    def __call__(self, rng: np.random.Generator) -> int:
        images = self.images[rng.choice(len(self.images), p=self.probabilities)]
        return int(images[rng.integers(len(images))])


def class_pixels(source: Source, spec: DatasetSpec) -> np.ndarray:
    """How many pixels of each class every sample shows, (N, classes); it reads all masks."""
    def count(index: int) -> np.ndarray:
        mask = np.asarray(sample_mask(source, index))
        if spec.overlapping:
            return (mask == 1).sum((0, 1))
        labels, counts = np.unique(mask, return_counts=True)
        row, known = np.zeros(len(spec.classes), int), labels < len(spec.classes)
        row[labels[known]] = counts[known]
        return row

    with concurrent.futures.ThreadPoolExecutor() as pool:
        rows = list(pool.map(count, range(len(source))))
    return np.array(rows, int).reshape(-1, len(spec.classes))
