"""Batches: an endless shuffled stream for training, every sample once for evaluation."""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError

Batch = dict[str, Any]


def train_batches(source: Source, *, spec: DatasetSpec, transforms: Sequence[Callable], batch_size: int, seed: int,
                  start_step: int = 0, workers: int = 0, process_index: int = 0, process_count: int = 1
                  ) -> Iterator[Batch]:
    """Endless batches: `image` (B, H, W, C), `label` (B, H, W) int32, `valid` (B, H, W) bool, `name` (B,).

    Batch k and its augmentation depend on (seed, k) only, not on the number of workers or processes, so a run restarts
    exactly from its step number. Every epoch has another order and another augmentation.

    Args:
      batch_size: over all processes; this process gets its share of every batch.
      start_step: number of batches to leave out.
      workers: processes that decode; 0 decodes in two threads of this one, which is as fast on few cores.

    Raises:
      InputError: an empty source, a negative seed, a batch that is empty or does not divide by the processes, images of
        several sizes, a void label that the masks cannot hold.
    """
    if not len(source):
        raise InputError('the training split is empty; give it at least one image')
    if batch_size < 1:
        raise InputError(f'batch_size: {batch_size} is not at least 1')
    if seed < 0:
        raise InputError(f'seed: {seed} is negative; give 0 or more')
    if batch_size % process_count:
        raise InputError(f'batch_size: {batch_size} does not divide by the {process_count} processes')
    dataset = grain.MapDataset.source(_Names(source)).seed(seed).shuffle().repeat(None)
    # The shard is cut after the augmentation: its random numbers then belong to the global index of a sample.
    dataset = dataset.random_map(_Sample(source, spec, tuple(transforms)))[process_index::process_count]
    dataset = dataset.batch(batch_size // process_count, drop_remainder=True, batch_fn=_stack)[start_step:]
    batches = dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    if workers:
        if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags, which only absl programs parse.
            flags.FLAGS.mark_as_parsed()
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
    return iter(batches)


def eval_batches(source: Source, *, spec: DatasetSpec, batch_size: int) -> Iterator[Batch]:
    """Every sample once, in batches of one shape each, with `size` (B, 2), the true heights and widths, besides.

    Images are padded by `pad_image` to one of a bounded number of shapes and collected by shape; what is padded, and the
    copies that fill up the last batch of a shape, are not valid (and their name is empty).

    Raises:
      InputError: an empty batch, a void label that the masks cannot hold.
    """
    if batch_size < 1:
        raise InputError(f'batch_size: {batch_size} of an evaluation is not at least 1')
    waiting: dict[tuple[int, ...], list[Batch]] = {}
    for sample in _in_order(source, spec, ahead=2 * batch_size):
        same = waiting.setdefault(sample['image'].shape, [])
        same.append(sample)
        if len(same) == batch_size:
            yield _stack(same)
            same.clear()
    for same in waiting.values():
        if same:
            blank = {**same[-1], 'valid': np.zeros_like(same[-1]['valid']), 'name': ''}
            yield _stack(same + [blank] * (batch_size - len(same)))


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The next size on a ladder: multiples of 32 up to 512, then of 64 up to 1024, of 128 up to 2048 and so on.

    So there are at most eight sizes an octave above 256, and at most an eighth is added to a side.
    """
    def step_up(side: int) -> int:
        step = 32
        while side > 16 * step:
            step *= 2
        return -(-side // step) * step

    return step_up(height), step_up(width)


def pad_image(image: np.ndarray) -> np.ndarray:
    """(H, W, C) grown at the bottom and the right to `padded_size`, by repeating its border."""
    height, width = padded_size(*image.shape[:2])
    return np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode='edge')


def _in_order(source: Source, spec: DatasetSpec, ahead: int) -> Iterator[Batch]:
    """All samples, padded, decoded in threads, never more than `ahead` of them: a large set does not fill the memory."""
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for index in range(len(source)):
            waiting.append(pool.submit(lambda index: _padded(_read(source, index, spec), spec), index))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(source: Source, index: int, spec: DatasetSpec) -> Batch:
    """A sample whose mask can hold the void label: padding with -1 would write 255, a class that does not exist."""
    sample = source[index]
    largest = np.iinfo(sample['mask'].dtype).max
    if not 0 <= spec.ignore_index <= largest:
        raise InputError(f'data set {spec.name!r}: ignore_index {spec.ignore_index} does not fit into the {sample["mask"].dtype}'
                         f' mask of {sample["name"]}; give a value between {len(spec.classes)} and {largest}')
    return sample


def _padded(sample: Batch, spec: DatasetSpec) -> Batch:
    height, width = sample['mask'].shape
    image = pad_image(sample['image'])
    mask = np.full(image.shape[:2], spec.ignore_index, sample['mask'].dtype)
    mask[:height, :width] = sample['mask']
    return {'image': image, **_labels(mask, spec), 'name': sample['name'], 'size': np.array([height, width])}


def _labels(mask: np.ndarray, spec: DatasetSpec) -> Batch:
    """The only place where a void label becomes `valid`."""
    valid = mask != spec.ignore_index
    return {'label': np.where(valid, mask, 0).astype(np.int32), 'valid': valid}


def _stack(samples: Sequence[Batch]) -> Batch:
    shapes = {sample['image'].shape for sample in samples}
    if len(shapes) > 1:
        one, other = itertools.islice(sorted(shapes), 2)
        raise InputError(f'images of {one} and {other} (height, width, channels) do not make a batch; add a '
                         f"transform that makes one size, such as {{'type': 'transforms.RandomCrop', 'size': [256, 256]}}")
    return {key: [sample[key] for sample in samples] if key == 'name' else np.stack([sample[key] for sample in samples])
            for key in samples[0]}


class _Names:
    """The indices of a source: decoding belongs to the map, where threads and workers are."""

    def __init__(self, source: Source):
        self._length = len(source)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:
        return index


class _Sample(grain.transforms.RandomMap):
    """Index -> augmented sample."""

    def __init__(self, source: Source, spec: DatasetSpec, transforms: tuple[Callable, ...]):
        self._source, self._spec, self._transforms = source, spec, transforms

    def random_map(self, index: int, rng: np.random.Generator) -> Batch:
        sample = _read(self._source, index, self._spec)
        image, mask = sample['image'], sample['mask']
        fill = self._spec.fill
        for transform in self._transforms:
            image, mask = transform(image, mask, rng=rng, fill=fill)
        return {'image': np.ascontiguousarray(image), **_labels(mask, self._spec), 'name': sample['name']}
