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
TRIED = 8  # sizes of a data set on which transforms are tried before training
AHEAD = 8  # samples decoded ahead of an evaluation


def train_batches(source: Source, *, spec: DatasetSpec, transforms: Sequence[Callable], batch_size: int, seed: int,
                  start_step: int = 0, workers: int = 0, process_index: int = 0, process_count: int = 1
                  ) -> Iterator[Batch]:
    """Endless batches of `image` (B, H, W, C) as read, `label`, `valid` and `name`, a list of B strings.

    `label` int32 and `valid` bool are (B, H, W), or (B, H, W, classes) for overlapping masks. Batch k and its augmentation
    depend on (seed, k) only, not on the number of workers or processes, so a run restarts exactly from its step number.
    Every epoch has another order and another augmentation.

    Args:
      batch_size: over all processes; this process receives its share of every batch.
      start_step: number of batches to leave out.
      workers: processes that decode; 0 decodes in two threads of this one, which is as fast on few cores.

    Raises:
      InputError: an empty source, a batch that does not divide by the processes, images of several sizes, a void label
        that the masks cannot hold.
    """
    if not len(source):
        raise InputError('the training split is empty; give it at least one image')
    if batch_size % process_count:
        raise InputError(f'batch_size: {batch_size} does not divide by the {process_count} processes')
    dataset = grain.MapDataset.source(_Indices(source)).seed(seed).shuffle().repeat(None)
    # The shard is cut after the augmentation: its random numbers then belong to the global index of a sample.
    dataset = dataset.random_map(_Sample(source, spec, tuple(transforms)))[process_index::process_count]
    dataset = dataset.batch(batch_size // process_count, drop_remainder=True, batch_fn=_stack)[start_step:]
    batches = dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    if workers:
        if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags, which only absl programs parse.
            flags.FLAGS.mark_as_parsed()
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
    return iter(batches)


def eval_samples(source: Source, *, spec: DatasetSpec) -> Iterator[Batch]:
    """Every sample once and in order: `image` (H, W, C), `label`, `valid`, `name` and `index`.

    Samples are decoded in threads, only a few ahead, so that a large set does not fill the memory.

    Raises:
      InputError: a file cannot be decoded, or a void label that the masks cannot hold.
    """
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor()
    try:
        for index in range(len(source)):
            waiting.append(pool.submit(_whole_sample, source, index, spec))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # some are left if the evaluation was stopped


def check_batches(source: Source, *, spec: DatasetSpec, transforms: Sequence[Callable]):
    """Tries the transforms on blank images of the sizes that the source states.

    Raises:
      InputError: what comes out differs in size, so that it makes no batch.
    """
    sizes = sorted(source.sizes())[:TRIED] if hasattr(source, 'sizes') else []
    rng, found = np.random.default_rng(0), {}
    dtype = np.uint8 if spec.value_range == (0, 255) else np.float32
    for height, width in [*sizes, *sizes]:  # twice: a random scale gives other sizes the second time
        blank = np.zeros((height, width, spec.channels), dtype)
        mask = np.zeros((height, width, len(spec.classes)) if spec.overlapping else (height, width), np.uint8)
        for transform in transforms:
            blank, mask = transform(blank, mask, rng=rng, fill=spec.fill)
        found.setdefault(blank.shape[:2], (height, width))
    if len(found) > 1:
        (first, one), (second, other) = list(found.items())[:2]
        raise InputError(f'data set {spec.name!r}: training images come out as {first[0]}x{first[1]} (of an image of '
                         f'{one[0]}x{one[1]}) and {second[0]}x{second[1]} (of {other[0]}x{other[1]}), which makes no batch; '
                         f"end transforms with one that fixes the size, such as {{'type': 'transforms.RandomCrop', "
                         f"'size': [256, 256]}}")


def _whole_sample(source: Source, index: int, spec: DatasetSpec) -> Batch:
    sample = _read(source, index, spec)
    return {'image': sample['image'], **_labels(sample['mask'], spec), 'name': sample['name'], 'index': index}


def _read(source: Source, index: int, spec: DatasetSpec) -> Batch:
    """A sample whose mask can hold the void label: padding with 256 would write 0 into a uint8 mask, which is a class."""
    sample = source[index]
    largest = np.iinfo(sample['mask'].dtype).max
    if spec.ignore_index > largest:
        raise InputError(f'data set {spec.name!r}: ignore_index {spec.ignore_index} does not fit into the '
                         f'{sample["mask"].dtype} mask of {sample["name"]}; give a value of at most {largest}')
    return sample


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


class _Indices:
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
        for transform in self._transforms:
            image, mask = transform(image, mask, rng=rng, fill=self._spec.fill)
        return {'image': np.ascontiguousarray(image), **_labels(mask, self._spec), 'name': sample['name']}
