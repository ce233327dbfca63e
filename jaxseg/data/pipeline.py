"""Batches: an endless shuffled stream for training, every sample once for evaluation."""

import collections
import concurrent.futures
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxseg.cores import cores
from jaxseg.data.faults import Faults, Policy
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError

Batch = dict[str, Any]
TRIED = 8  # sizes of a data set on which transforms are tried before training
THREADS = min(max(cores(), 2), 16)  # decoding releases Python's lock
AHEAD = 2 * THREADS + 4  # samples decoded ahead of an evaluation
WAITING = 2 ** 30  # bytes of such samples, beyond which no more are decoded
REMEDY = ("end transforms with one that fixes the size, such as "
          "{'type': 'transforms.RandomCrop', 'size': [256, 256]}")


def train_batches(source: Source, *, spec: DatasetSpec, transforms: Sequence[Callable],
                  batch_size: int, seed: int, start_step: int = 0, workers: int = 0,
                  process_index: int = 0, process_count: int = 1,
                  draw: Callable[[np.random.Generator], int] | None = None,
                  damaged: Policy = 'raise', size: tuple[int, int] | None = None,
                  listed: Sequence[int] | None = None) -> Iterator[Batch]:
    """Endless batches of `image` (B, H, W, C) as read, `label`, `valid` and `name`, a list.

    `label` int32 and `valid` bool are (B, H, W), or (B, H, W, classes) for overlapping masks. Batch
    k and its augmentation depend on (seed, k) only, not on the number of workers or processes, so a
    run restarts exactly from its step number. Every epoch has its own order and augmentation.

    Args:
      batch_size: over all processes; this process receives its share of every batch, consecutive
        samples of it.
      start_step: number of batches to leave out.
      workers: processes that decode; 0 decodes in threads of this process, one for each core up to
        16, which is as fast on few cores.
      draw: the index of the next sample (`sampling`); None is every sample once an epoch.
      damaged: what happens when a sample cannot be read (`faults`). One that is skipped is replaced
        by another one, drawn by the random numbers of its place in the stream, so that all
        processes and a run that restarts take the same.
      size: (height, width) after the transforms that is expected of every sample; another one is
        such a damage, as of a file that was replaced.
      listed: the bytes of the files of every sample when the run began; others are such a damage,
        too, as transforms may hide that an image and its mask were replaced.

    Raises:
      InputError: an empty source, a batch that does not divide by the processes, images of several
        sizes, a void label that the masks cannot hold.
    """
    if not len(source):
        raise InputError('the training split is empty; give it at least one image')
    if batch_size % process_count:
        raise InputError(f'batch_size: {batch_size} does not divide by {process_count} processes')
    import grain  # predictions and evaluations start without it
    from absl import flags

    dataset = grain.MapDataset.source(_Indices(source)).seed(seed).shuffle().repeat(None)
    # Shared out after the augmentation, whose random numbers depend on a sample's global index, and
    # after batching, which keeps neighbours in a batch together.
    dataset = dataset.random_map(_Sample(
        source, spec, tuple(transforms), draw, size, listed, Faults(damaged, len(source))))
    dataset = dataset.batch(batch_size // process_count, drop_remainder=True, batch_fn=_stack)
    dataset = dataset[process_index::process_count][start_step:]
    threads = 2 if workers else THREADS
    batches = dataset.to_iter_dataset(grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=threads + 2))
    if workers:
        # Grain's workers read absl flags, which only absl programs parse.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2),
            _begin_worker)
    return iter(batches)


def _begin_worker(index: int, count: int):
    """Lets a worker ignore Ctrl-C, and end with the process that reads from it, however that ends.

    A terminal sends Ctrl-C to all processes of a run, whose last step may still need a batch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),),
                     daemon=True).start()


def _end_with(process: Any):
    process.join()
    os._exit(1)


def eval_samples(source: Source, *, spec: DatasetSpec, process_index: int = 0,
                 process_count: int = 1) -> Iterator[Batch]:
    """Every sample once and in order: `image` (H, W, C), `label`, `valid`, `name` and `index`.

    Of several processes each receives consecutive samples, as many as every other to one.

    Samples are decoded in threads, only a few ahead and of large images fewer, so that neither
    many nor large ones fill the memory.

    Raises:
      InputError: a file cannot be decoded, or a void label that the masks cannot hold.
    """
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    size = WAITING  # not known before the first sample, which is decoded alone
    pool = concurrent.futures.ThreadPoolExecutor(THREADS)
    try:
        first, last = (len(source) * process // process_count
                       for process in (process_index, process_index + 1))
        for index in range(first, last):
            waiting.append(pool.submit(_whole_sample, source, index, spec))
            while len(waiting) >= AHEAD or _bytes_waiting(waiting, size) >= WAITING:
                sample = waiting.popleft().result()
                size = _sample_bytes(sample)
                yield sample
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # some are left if the evaluation was stopped


def check_batches(source: Source, *, spec: DatasetSpec, transforms: Sequence[Callable]):
    """Tries the transforms on blank images of the sizes that the source states.

    Raises:
      InputError: the results have several sizes and cannot form a batch.
    """
    sizes = sorted(source.sizes())[:TRIED] if hasattr(source, 'sizes') else []
    rng, found = np.random.default_rng(0), {}
    dtype = np.uint8 if spec.value_range == (0, 255) else np.float32
    classes = (len(spec.classes),) if spec.overlapping else ()
    for height, width in [*sizes, *sizes]:  # twice: a random scale then gives other sizes
        blank = np.zeros((height, width, spec.channels), dtype)
        mask = np.zeros((height, width, *classes), np.uint8)
        for transform in transforms:
            blank, mask = transform(blank, mask, rng=rng, fill=spec.fill)
        found.setdefault(blank.shape[:2], (height, width))
    if len(found) > 1:
        (first, one), (second, other) = list(found.items())[:2]
        raise InputError(
            f'data set {spec.name!r}: images have several sizes after the transforms, '
            f'{first[0]}x{first[1]} (from {one[0]}x{one[1]}) and {second[0]}x{second[1]} '
            f'(from {other[0]}x{other[1]}), and cannot form a batch; {REMEDY}')


def _whole_sample(source: Source, index: int, spec: DatasetSpec) -> Batch:
    sample = _read(source, index, spec)
    return {'image': sample['image'], **_labels(sample['mask'], spec), 'name': sample['name'],
            'index': index}


def _bytes_waiting(waiting: Sequence[concurrent.futures.Future], size: int) -> int:
    """Bytes of the samples that wait, of `size` those that are not finished."""
    return sum(_sample_bytes(future.result()) if future.done() and not future.exception()
               else size for future in waiting)


def _sample_bytes(sample: Batch) -> int:
    return sum(sample[key].nbytes for key in ('image', 'label', 'valid'))


def _read(source: Source, index: int, spec: DatasetSpec) -> Batch:
    """A sample; its mask must be able to hold the void label: 256 would become class 0 in uint8."""
    sample = source[index]
    largest = np.iinfo(sample['mask'].dtype).max
    if spec.ignore_index > largest:
        raise InputError(f'data set {spec.name!r}: ignore_index {spec.ignore_index} does not fit '
                         f'into the {sample["mask"].dtype} mask of {sample["name"]}; '
                         f'give a value of at most {largest}')
    return sample


def _labels(mask: np.ndarray, spec: DatasetSpec) -> Batch:
    """The only place where a void label becomes `valid`."""
    valid = mask != spec.ignore_index
    return {'label': np.where(valid, mask, 0).astype(np.int32), 'valid': valid}


def _stack(samples: Sequence[Batch]) -> Batch:
    shapes = {sample['image'].shape for sample in samples}
    if len(shapes) > 1:
        one, other = itertools.islice(sorted(shapes), 2)
        raise InputError(f'images of {one} and {other} (height, width, channels) cannot form a '
                         f'batch; {REMEDY}')
    batch = {key: [sample[key] for sample in samples] for key in samples[0]}
    return {key: values if key == 'name' else np.stack(values) for key, values in batch.items()}


class _Indices:
    """The indices of a source: decoding belongs to the map, where threads and workers are."""

    def __init__(self, source: Source):
        self._length = len(source)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:
        return index


class _Sample:
    """Index -> augmented sample; another one where this one is damaged and may be skipped."""

    def __init__(self, source: Source, spec: DatasetSpec, transforms: tuple[Callable, ...],
                 draw: Callable | None, size: tuple[int, int] | None,
                 listed: Sequence[int] | None, faults: Faults):
        self._source, self._spec, self._transforms = source, spec, transforms
        self._draw, self._size, self._listed, self._faults = draw, size, listed, faults

    def __call__(self, index: int, rng: np.random.Generator) -> Batch:
        if self._draw is not None:
            index = self._draw(rng)
        while True:
            try:
                return self._augmented(index, rng)
            except (InputError, OSError) as problem:
                self._faults(index, problem)
            index = int(rng.integers(len(self._source))) if self._draw is None else self._draw(rng)

    def _augmented(self, index: int, rng: np.random.Generator) -> Batch:
        sample = _read(self._source, index, self._spec)
        image, mask = sample['image'], sample['mask']
        if self._listed is not None:
            found, before = self._source.file_size(index), self._listed[index]
            if found != before:
                raise InputError(f'{sample["name"]}: its files have {found} bytes, and had '
                                 f'{before} when the run began; restore them')
        for transform in self._transforms:
            image, mask = transform(image, mask, rng=rng, fill=self._spec.fill)
        if self._size not in (None, image.shape[:2]):
            raise InputError(f'{sample["name"]}: {_size(sample["image"])} pixels, after the '
                             f'transforms {_size(image)}, where {self._size[1]}x{self._size[0]} '
                             f'was expected; restore the file if it was replaced, or {REMEDY}')
        return {'image': np.ascontiguousarray(image), **_labels(mask, self._spec),
                'name': sample['name']}


def _size(image: np.ndarray) -> str:
    return f'{image.shape[1]}x{image.shape[0]}'
