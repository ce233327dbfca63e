"""Looking through a data set before training: every problem, the frequencies of the classes."""

import concurrent.futures
import dataclasses
from typing import Any

import numpy as np

from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Frequencies:
    """Of every class: `pixels`, and `images` that hold it; `area` is the number of pixels of these images."""

    spec: DatasetSpec
    pixels: np.ndarray
    images: np.ndarray
    area: np.ndarray
    void: int
    samples: int

    def weights(self) -> np.ndarray:
        """Median-frequency balancing (Eigen & Fergus 2015): median frequency / frequency; NaN for what never occurs."""
        with np.errstate(invalid='ignore', divide='ignore'):
            frequency = np.where(self.pixels > 0, self.pixels / self.area, np.nan)
        return np.nanmedian(frequency) / frequency if self.pixels.any() else frequency

    def table(self) -> str:
        """As text: share of the known pixels, share of the images, weight."""
        width = max(map(len, ('class', *self.spec.classes)))
        known = max(int(self.pixels.sum()), 1)
        lines = [f'{"class":{width}} {"pixels %":>9} {"images %":>9} {"weight":>8}']
        for name, pixels, images, weight in zip(self.spec.classes, self.pixels, self.images, self.weights(), strict=True):
            lines.append(f'{name:{width}} {100 * pixels / known:9.2f} {100 * images / max(self.samples, 1):9.1f} '
                         f'{weight:8.3f}')
        lines.append(f'{"(void)":{width}} {100 * self.void / max(known + self.void, 1):9.2f} of all pixels')
        return '\n'.join(lines)


def look_through(source: Source, spec: DatasetSpec) -> tuple[list[str], Frequencies]:
    """All problems of the samples of a source, and the class frequencies of those without."""
    count = len(spec.classes)
    pixels, images, area = (np.zeros(count, np.int64) for _ in range(3))
    void, good, problems = 0, 0, []
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for found, counts in pool.map(lambda index: _look_at(source, index, spec), range(len(source))):
            problems += found
            if counts is not None:
                pixels += counts[:count]
                images += counts[:count] > 0
                area += (counts[:count] > 0) * counts.sum()
                void, good = void + int(counts[count]), good + 1
    return problems, Frequencies(spec, pixels, images, area, void, good)


def listing_problems(dataset: Any, split: str) -> list[str]:
    """What is wrong with the listing of a split, all of it; pairing problems do not hide those of the files."""
    try:
        return dataset.problems(split) if hasattr(dataset, 'problems') else []
    except InputError as error:
        return [str(error)]


def _look_at(source: Source, index: int, spec: DatasetSpec) -> tuple[list[str], np.ndarray | None]:
    try:
        sample = source[index]
    except InputError as error:
        return (source.check(index) if hasattr(source, 'check') else [str(error)]), None
    count, void = len(spec.classes), sample['mask'] == spec.ignore_index
    wrong = np.unique(sample['mask'][~void & (sample['mask'] >= count)])
    if wrong.size:
        return [f'{sample["name"]}: labels {", ".join(map(str, wrong[:3]))} outside the {count} classes 0..{count - 1}, '
                f'void {spec.ignore_index}; mend the mask or add the class'], None
    return [], np.bincount(np.where(void, count, sample['mask']).ravel(), minlength=count + 1)
