"""The fingerprint of a data set: what the choices of an experiment depend on.

After nnU-Net (Isensee et al. 2021), which plans an experiment from sizes, intensities and classes.
"""

import concurrent.futures
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from jaxseg.data.duplicates import Duplicate, find_equal, find_equal_files
from jaxseg.data.inspection import Frequencies
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError, printable

# Samples of a split that are decoded, evenly spaced.
SAMPLES = 1000
Size = tuple[int, int]


class ObjectSizes(NamedTuple):
    """Connected components (of 8 neighbours) of a class.

    Attributes:
      count: number of objects.
      areas: pixels of an object: 10th percentile, median, 90th percentile.
      thickness: width in pixels of the strips that the class consists of, the median over images;
        a disc of diameter d counts as about 2 d / 3. NaN without objects.
    """

    count: int
    areas: tuple[float, float, float]
    thickness: float


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What the samples of a data set are like; where it does not say otherwise, of 'train'.

    Attributes:
      counts: number of images of every split.
      sizes: the smallest, median and largest (height, width), each side by itself, of all splits.
      distinct_sizes: how many sizes there are.
      frequencies: of the classes.
      objects: of every class.
      top: of every class, the share of its pixels in the upper half of the images; NaN without.
      duplicates: (split, name, split, name) of equal images in two splits.
      problems: of samples that cannot be used.
      compared: which images were searched for duplicates, '' if all of them.
    """

    counts: Mapping[str, int]
    sizes: tuple[Size, Size, Size]
    distinct_sizes: int
    frequencies: Frequencies
    objects: tuple[ObjectSizes, ...]
    top: tuple[float, ...]
    duplicates: tuple[Duplicate, ...]
    problems: tuple[str, ...]
    compared: str = ''

    def table(self) -> str:
        """As text."""
        counts = ', '.join(f'{count} {printable(split)}' for split, count in self.counts.items())
        low, middle, high = (f'{width}x{height}' for height, width in self.sizes)
        measured = '{:.6g} to {:.6g}'.format(*self.frequencies.value_range)
        spec = self.frequencies.spec
        lines = [f'images: {counts}',
                 f'size: {low}' if self.distinct_sizes == 1 else
                 f'size: {low} to {high}, median {middle} ({self.distinct_sizes} sizes)',
                 f'channels: {spec.channels}, pixel values {measured}', '',
                 *self._class_lines(), '']
        lines.append(f'duplicates between splits: {len(self.duplicates) or "none"}{self.compared}')
        lines += [f'  {printable(a)} of {first} = {printable(b)} of {second}'
                  for first, a, second, b in self.duplicates[:5]]
        return '\n'.join(lines)

    def _class_lines(self) -> list[str]:
        first, *rows = self.frequencies.table().splitlines()
        lines = [f'{first} {"objects":>8} {"area in pixels":>22} {"thickness":>9}']
        for row, objects in zip(rows, self.objects, strict=False):
            low, middle, high = (f'{area:.0f}' if objects.count else '-' for area in objects.areas)
            thickness = f'{objects.thickness:.1f}' if objects.count else '-'
            lines.append(f'{row} {objects.count:8} {f"{low} / {middle} / {high}":>22} '
                         f'{thickness:>9}')
        return [*lines, rows[-1]]


class _Sample(NamedTuple):
    """What is measured of one sample."""

    size: Size
    digest: bytes
    pixels: np.ndarray
    upper: np.ndarray
    void: int
    labels: int
    limits: tuple[float, float]
    areas: dict[int, np.ndarray]
    thickness: dict[int, float]


def fingerprint(sources: Mapping[str, Source], spec: DatasetSpec) -> Fingerprint:
    """Measures up to `SAMPLES` samples of every split; equal files are found among all.

    Args:
      sources: by split; 'train' must be one of them.
    """
    found: dict[str, list[tuple[str, _Sample]]] = {}
    problems: list[str] = []
    for split, source in sources.items():
        found[split] = []
        for result in _measure_all(source, spec, objects=split == 'train'):
            if isinstance(result, str):
                problems.append(result)
            else:
                found[split].append(result)
    train = [sample for _, sample in found['train']]
    sizes = np.array([sample.size for samples in found.values() for _, sample in samples]
                     or [(1, 1)])
    limits = [tuple(int(side) for side in function(sizes, 0))
              for function in (np.min, np.median, np.max)]
    pixels, upper = (np.sum([getattr(sample, name) for sample in train], 0)
                     if train else np.zeros(len(spec.classes), np.int64)
                     for name in ('pixels', 'upper'))
    top = tuple(float(half / whole) if whole else np.nan
                for half, whole in zip(upper, pixels, strict=True))
    return Fingerprint(
        {split: len(source) for split, source in sources.items()}, tuple(limits),
        len(np.unique(sizes, axis=0)), _frequencies(train, pixels, spec),
        tuple(_object_sizes(train, index) for index in range(len(spec.classes))), top,
        tuple(_duplicates(sources, found)), tuple(problems), _compared(sources, found))


def _duplicates(sources: Mapping[str, Source], found: Mapping[str, Sequence[tuple[str, _Sample]]]
                ) -> list[Duplicate]:
    """Images of equal files, of all samples; and of equal pixels, of those that were decoded."""
    files = {split: [(pair.name, pair.image) for pair in source.pairs]
             for split, source in sources.items() if hasattr(source, 'pairs')}
    pixels = {split: [(name, sample.digest) for name, sample in samples]
              for split, samples in found.items()}
    pairs = {pair[2:]: pair for pair in find_equal(pixels)}
    return list((pairs | {pair[2:]: pair for pair in find_equal_files(files)}).values())


def _compared(sources: Mapping[str, Source], found: Mapping[str, Sequence]) -> str:
    if all(len(source) <= SAMPLES for source in sources.values()):
        return ''
    decoded, total = sum(map(len, found.values())), sum(map(len, sources.values()))
    if all(hasattr(source, 'pairs') for source in sources.values()):
        return f' (files of all {total:,} images, pixels of {decoded:,})'
    return f' (among {decoded:,} of {total:,} images)'


def _measure_all(source: Source, spec: DatasetSpec, *, objects: bool) -> Any:
    indices = range(len(source))[::-(-len(source) // SAMPLES) or 1]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield from pool.map(lambda index: _measure(source, index, spec, objects), indices)


def _measure(source: Source, index: int, spec: DatasetSpec, objects: bool
             ) -> tuple[str, _Sample] | str:
    try:
        sample = source[index]
    except InputError as error:
        return str(error)
    image, mask = sample['image'], sample['mask']
    layers = _layers(mask, spec)
    middle, digest = mask.shape[0] // 2, hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image))
    pixels, upper = np.zeros((2, len(spec.classes)), np.int64)
    areas, thickness = {}, {}
    for label, layer in layers.items():
        pixels[label], upper[label] = layer.sum(), layer[:middle].sum()
        if objects and pixels[label]:
            areas[label], thickness[label] = measure_objects(layer)
    void = int((mask == spec.ignore_index).sum())
    return sample['name'], _Sample(
        image.shape[:2], digest.digest(), pixels, upper, void, mask.size - void,
        (float(image.min()), float(image.max())), areas, thickness)


def _layers(mask: np.ndarray, spec: DatasetSpec) -> dict[int, np.ndarray]:
    """Where each class is that occurs, (H, W) uint8."""
    if spec.overlapping:
        return {label: (mask[..., label] == 1).astype(np.uint8) for label in range(mask.shape[-1])}
    found = np.flatnonzero(np.bincount(mask.ravel())).tolist()
    return {label: (mask == label).astype(np.uint8) for label in found
            if label < len(spec.classes)}  # void is above


def measure_objects(layer: np.ndarray) -> tuple[np.ndarray, float]:
    """The areas of the connected components, and the thickness of all of them.

    In a strip of width w the distances to the outside are 1, 2, ..., w/2, ..., 2, 1, of mean
    w / 4 + 1/2: the thickness is four times the mean distance, less 2.

    Args:
      layer: (H, W) uint8, 1 in the objects.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(layer, connectivity=8)
    distance = cv2.distanceTransform(layer, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Where all is one object there is no outside, and the distances have no meaning.
    if layer.all():
        return stats[-1:, cv2.CC_STAT_AREA], float(min(layer.shape))
    return stats[1:, cv2.CC_STAT_AREA], max(1.0, 4 * float(distance[layer > 0].mean()) - 2)


def _frequencies(samples: Sequence[_Sample], pixels: np.ndarray, spec: DatasetSpec) -> Frequencies:
    images, area = np.zeros((2, len(spec.classes)), np.int64)
    for sample in samples:
        images += sample.pixels > 0
        area += (sample.pixels > 0) * sample.size[0] * sample.size[1]
    limits = [sample.limits for sample in samples] or [(0.0, 0.0)]
    return Frequencies(spec, pixels, images, area, sum(sample.labels for sample in samples),
                       sum(sample.void for sample in samples), len(samples),
                       (min(low for low, _ in limits), max(high for _, high in limits)))


def _object_sizes(samples: Sequence[_Sample], label: int) -> ObjectSizes:
    areas = [sample.areas[label] for sample in samples if label in sample.areas]
    if not areas:
        return ObjectSizes(0, (0.0, 0.0, 0.0), np.nan)
    every = np.concatenate(areas)
    thickness = [sample.thickness[label] for sample in samples if label in sample.thickness]
    return ObjectSizes(len(every), tuple(map(float, np.percentile(every, (10, 50, 90)))),
                       float(np.median(thickness)))
