"""Images per second of decoding and augmentation beside torch's DataLoader with albumentations.

    PYTHONPATH=PEERS python experiments/benchmarks/input.py ../shared/data/camvid [--repeats 5]
        [--steps 60] [--csv experiments/benchmarks/input.csv]

PEERS is a folder with torch and albumentations 2 (`pip install --target PEERS torch
albumentations`); without it only jaxseg is measured. Both do the same work: JPEG and PNG decoded,
a random scale of 0.7 to 1.6, a crop of 256x384, a flip, brightness, contrast, saturation and hue,
batches of 8 images of uint8. The pipelines take turns in one process, so that other load on the
machine affects them alike: compare the ratios. What was read ahead while another one was measured
is not counted.

With `--steps` the CamVid experiment is trained for so many steps, and `data_wait` is the share of
its time, after the first report, that the loop waited for the next batch.
"""

import csv
import importlib.util
import itertools
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

import cv2
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, write  # noqa: E402

from jaxseg.build import build  # noqa: E402
from jaxseg.commands import main as jaxseg_main  # noqa: E402
from jaxseg.data.folder import Folder  # noqa: E402
from jaxseg.data.pipeline import THREADS, train_batches  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
BATCH, SIZE, AHEAD, COUNTED = 8, (256, 384), 12, 24  # batches read ahead at most, and counted
TRANSFORMS = [
    dict(type='transforms.RandomScale', low=0.7, high=1.6),
    dict(type='transforms.RandomCrop', size=SIZE, max_class_ratio=1.0),
    dict(type='transforms.RandomFlip'),
    dict(type='transforms.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.03)]
COLUMNS = ('work', 'library', 'workers', 'threads', 'value', 'unit', 'machine')


def ours(folder: pathlib.Path, workers: int) -> Iterator:
    """Batches of jaxseg."""
    dataset = Folder(str(folder))
    return train_batches(dataset.source('train'), spec=dataset.spec, batch_size=BATCH, seed=0,
                         transforms=build('transforms', TRANSFORMS), workers=workers)


class Pairs:
    """A data set as torch's DataLoader takes it."""

    def __init__(self, folder: pathlib.Path):
        self.images = sorted((folder / 'train' / 'images').iterdir())
        self.transform = None  # made in the worker

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        import albumentations as A

        if self.transform is None:
            cv2.setNumThreads(0)
            self.transform = A.Compose([
                A.RandomScale((-0.3, 0.6), p=1.0), A.PadIfNeeded(*SIZE, border_mode=0),
                A.RandomCrop(*SIZE), A.HorizontalFlip(),
                A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.03, 0.03), p=0.8)])
        path = self.images[index]
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(path.parents[1] / 'masks' / f'{path.stem}.png'),
                          cv2.IMREAD_UNCHANGED)
        found = self.transform(image=image, mask=mask)
        return found['image'], found['mask'].astype(np.int64)


def theirs(folder: pathlib.Path, workers: int) -> Iterator:
    """Batches of torch's DataLoader, without an end."""
    from torch.utils.data import DataLoader, RandomSampler

    pairs = Pairs(folder)
    sampler = RandomSampler(pairs, replacement=True, num_samples=10 ** 7)
    return iter(DataLoader(pairs, BATCH, sampler=sampler, num_workers=workers, drop_last=True,
                           multiprocessing_context='spawn' if workers else None))


def images_per_second(batches: Iterator) -> float:
    """Of `COUNTED` batches, after those that may have been read ahead."""
    for _ in itertools.islice(batches, AHEAD):
        pass
    start = time.perf_counter()
    for _ in itertools.islice(batches, COUNTED):
        pass
    return COUNTED * BATCH / (time.perf_counter() - start)


def pipelines(folder: pathlib.Path, peers: bool) -> dict[tuple, Iterator]:
    """By (library, workers, threads)."""
    found = {('jaxseg', 0, THREADS): ours(folder, 0), ('jaxseg', 2, 2): ours(folder, 2)}
    if peers:
        found |= {('torch', 2, 1): theirs(folder, 2), ('torch', 0, 1): theirs(folder, 0)}
    return found


def data_wait(folder: pathlib.Path, steps: int) -> float:
    """The median of the reports of a training, without the first."""
    with tempfile.TemporaryDirectory() as workdir:
        status = jaxseg_main([
            'train', f'--config={ROOT / "experiments/camvid/half_size.py"}',
            f'--config.data.root={folder}', f'--workdir={workdir}/run', f'--config.steps={steps}',
            '--config.report_every=5', '--config.schedule.warmup=0',
            f'--config.evaluate_every={10 * steps}'])
        if status:
            raise SystemExit(status)
        with (pathlib.Path(workdir) / 'run' / 'metrics.csv').open() as file:
            shares = [float(row['data_wait']) for row in csv.DictReader(file) if row['data_wait']]
    return statistics.median(shares[1:])


def main():
    """Measures, and writes one row for each pipeline."""
    parser = argument_parser(__doc__, repeats=5)
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--steps', type=int, default=0)
    arguments = parser.parse_args()
    peers = all(importlib.util.find_spec(name) for name in ('torch', 'albumentations'))
    turns = pipelines(arguments.folder, peers)
    found: dict[tuple, list[float]] = {key: [] for key in turns}
    for _ in range(arguments.repeats):
        for key, batches in turns.items():
            found[key].append(images_per_second(batches))
    rows, place = [], machine()
    for (library, workers, threads), values in found.items():
        rows.append(dict(zip(COLUMNS, (
            'decode and augment', library, workers, threads, f'{statistics.median(values):.1f}',
            'images/s', place), strict=True)))
        print(library, workers, 'workers:', ', '.join(f'{value:.1f}' for value in values))
    if arguments.csv:
        write(arguments.csv, rows, COLUMNS)
    if arguments.steps:
        share = data_wait(arguments.folder, arguments.steps)
        rows.append(dict(zip(COLUMNS, ('train camvid/half_size', 'jaxseg', 0, THREADS,
                                       f'{share:.4f}', 'data wait / time', place), strict=True)))
        print('data wait:', share)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
