"""Inspection of a data set before training: problems, class frequencies, range of pixel values."""

import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxseg.data.spec import DatasetSpec, Source, nothing_labelled
from jaxseg.data.splits import sample_mask
from jaxseg.errors import InputError, printable

# Masks that are read to tell whether a split has labels.
PROBED = 16

@dataclasses.dataclass(frozen=True)
class Frequencies:
    """How often each class occurs in the samples that have no problem.

    Attributes:
      spec: the data set.
      pixels: pixels of each class, (classes,).
      images: images that show it.
      area: pixels of these images, void included.
      labelled: labels other than void: pixels, or for overlapping masks pixels of the mask of each
        class.
      void: the void labels.
      samples: number of samples.
      value_range: smallest and largest pixel value of all images.
    """

    spec: DatasetSpec
    pixels: np.ndarray
    images: np.ndarray
    area: np.ndarray
    labelled: int
    void: int
    samples: int
    value_range: tuple[float, float]

    def weights(self) -> np.ndarray:
        """Median-frequency balancing (Eigen & Fergus 2015): median / frequency of the class.

        The frequency of a class is its share of the pixels of the images that show it; a class that
        never occurs has the weight NaN.
        """
        if not self.pixels.any():
            return np.full(len(self.pixels), np.nan)
        frequency = np.divide(self.pixels, self.area, out=np.full(len(self.pixels), np.nan),
                              where=self.pixels > 0)
        return np.nanmedian(frequency) / frequency

    def table(self) -> str:
        """As text: share of the labelled pixels, share of the images, weight of each class."""
        names = [printable(name) for name in self.spec.classes]
        width = max(map(len, ('class', *names)))
        labelled = max(self.labelled // (len(self.spec.classes) if self.spec.overlapping else 1), 1)
        lines = [f'{"class":{width}} {"pixels %":>9} {"images %":>9} {"weight":>8}']
        rows = zip(names, self.pixels, self.images, self.weights(), strict=True)
        for name, pixels, images, weight in rows:
            lines.append(f'{name:{width}} {100 * pixels / labelled:9.2f} '
                         f'{100 * images / max(self.samples, 1):9.1f} {weight:8.3f}')
        share = 100 * self.void / max(self.labelled + self.void, 1)
        lines.append(f'{"(void)":{width}} {share:9.2f} of all pixels')
        return '\n'.join(lines)


class _Counts(NamedTuple):
    """What is counted of one sample."""

    pixels: np.ndarray
    labelled: int
    void: int
    area: int
    lowest: float
    highest: float


def look_through(source: Source, spec: DatasetSpec) -> tuple[list[str], Frequencies]:
    """All problems of the samples of a source, and the class frequencies of those without."""
    pixels, images, area = (np.zeros(len(spec.classes), np.int64) for _ in range(3))
    labelled, void, good, lowest, highest, problems = 0, 0, 0, np.inf, -np.inf, []
    for found, counts in _each(source, spec):
        problems += found
        if counts is not None:
            shown = counts.pixels > 0
            pixels, images = pixels + counts.pixels, images + shown
            area = area + shown * counts.area
            labelled, void, good = labelled + counts.labelled, void + counts.void, good + 1
            lowest, highest = min(lowest, counts.lowest), max(highest, counts.highest)
    if good and not labelled:
        problems.append(nothing_labelled(spec, good))
    return problems, Frequencies(spec, pixels, images, area, labelled, void, good,
                                 (lowest, highest))


def listing_problems(dataset: Any, split: str) -> list[str]:
    """All problems of the listing of a split; problems of its files are found apart."""
    try:
        return dataset.problems(split) if hasattr(dataset, 'problems') else []
    except InputError as error:
        return [str(error)]


def split_to_score(dataset: Any) -> str:
    """'test' or else 'val', if it has labels, or else 'train'."""
    known = [split for split in ('test', 'val') if split in dataset.spec.splits]
    return next((split for split in known if has_labels(dataset, split)), 'train')


def has_labels(dataset: Any, split: str) -> bool:
    """Whether one of `PROBED` masks of a split, evenly spaced, has a labelled pixel.

    Masks of a test split that is not public are often all void.
    """
    try:
        source = dataset.source(split)
    except (InputError, OSError):  # Files may have been removed since the data were checked.
        return False
    for index in range(len(source))[::-(-len(source) // PROBED) or 1]:
        with contextlib.suppress(InputError, OSError):  # Reported where the sample is used.
            if (sample_mask(source, index) != dataset.spec.ignore_index).any():
                return True
    return False


def _each(source: Source, spec: DatasetSpec) -> Iterator[tuple[list[str], _Counts | None]]:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield from pool.map(lambda index: _look_at(source, index, spec), range(len(source)))


def _look_at(source: Source, index: int, spec: DatasetSpec) -> tuple[list[str], _Counts | None]:
    try:
        sample = source[index]
    except InputError as error:
        return (source.check(index) if hasattr(source, 'check') else [str(error)]), None
    mask, image = sample['mask'], sample['image']
    labels = 2 if spec.overlapping else len(spec.classes)
    shape = (*image.shape[:2], len(spec.classes)) if spec.overlapping else image.shape[:2]
    if mask.shape != shape or image.shape[-1] != spec.channels:
        return [f'{sample["name"]}: an image of shape {image.shape} with a mask of {mask.shape}; '
                f'data set {spec.name!r} has {spec.channels} channels and needs masks of '
                f'{shape}'], None
    void = mask == spec.ignore_index
    wrong = np.unique(mask[~void & ((mask < 0) | (mask >= labels))])
    if wrong.size:
        return [f'{sample["name"]}: labels {", ".join(map(str, wrong[:3]))} outside '
                f'0..{labels - 1}, void {spec.ignore_index}; correct the mask, or add the '
                f'class'], None
    if spec.overlapping:
        pixels = (mask == 1).sum((0, 1))
    else:
        pixels = np.bincount(np.where(void, labels, mask).ravel(), minlength=labels + 1)[:labels]
    count = int(void.sum())
    return [], _Counts(pixels, mask.size - count, count, mask.shape[0] * mask.shape[1],
                       float(image.min()), float(image.max()))
