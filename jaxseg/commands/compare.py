"""Compare runs on the same images: differences of IoU and mIoU with paired bootstrap intervals."""

import argparse
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxseg.commands.compare_page import open_runs, p_text, write_page
from jaxseg.commands.ensemble import is_crossvalidation
from jaxseg.commands.overrides import check_overrides, file_name
from jaxseg.commands.paths import command, page_path, path_argument
from jaxseg.data.splits import group_of, group_pattern
from jaxseg.errors import InputError, printable
from jaxseg.metrics.bootstrap import Comparison, Interval, compare
from jaxseg.metrics.images import ImageCounts


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('runs', nargs='+', metavar='RUN',
                        help='folder of a run that was evaluated, or one of its '
                             'evaluation_*_images.csv; the others are compared with the first')
    parser.add_argument('--split', default='val',
                        help='split that was evaluated (default: val)')
    parser.add_argument('--group', metavar='REGEX',
                        help="resample groups instead of images, such as videos: those in whose "
                             "names it finds the same text, such as '^[^_]+'")
    parser.add_argument('--html', metavar='FILE',
                        help='also write a page: the same images with the predictions of all runs, '
                             'and differences by class and image')
    parser.add_argument('--resamples', type=int, default=10_000,
                        help='of the bootstrap (default: 10000)')
    parser.add_argument('--seed', type=int, default=0, help='of the bootstrap (default: 0)')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand."""
    check_overrides('compare', overrides, ())
    for name, least in (('resamples', 100), ('seed', 0)):
        if getattr(arguments, name) < least:
            raise InputError(f'--{name}={getattr(arguments, name)}: give {least} or more')
    if len(arguments.runs) < 2:
        raise InputError('one RUN; give two or more, jaxseg compare RUN RUN')
    runs = [counts_file(text, arguments.split) for text in arguments.runs]
    names, classes, counts = read_counts(runs)
    opened = None
    if arguments.html is not None:
        page_path(arguments.html, '--html')
        opened = open_runs(list(zip(arguments.runs, runs, strict=True)), arguments.split,
                           arguments.trust, names)
    groups = None
    if arguments.group is not None:
        pattern = group_pattern(arguments.group, '--group')
        groups = [group_of(name, pattern, '--group') for name in names]
    _check_drawable(names, groups)
    comparison = compare(counts, groups=groups, resamples=arguments.resamples, seed=arguments.seed)
    drawn = f'{len(names)} images' if groups is None else f'{len(set(groups))} groups of images'
    print(f'{len(names)} images; 95 % intervals over {arguments.resamples} resamples of {drawn}\n')
    print(table(arguments.runs, classes, comparison))
    if opened:
        print(f'\npage: {write_page(arguments.html, opened, names, counts, comparison)}')


def _check_drawable(names: Sequence[str], groups: Sequence[str] | None):
    if len(set(groups or names)) < 2:
        drawn = '--group leaves one group' if groups and len(names) > 1 else 'one image'
        raise InputError(f'{drawn}: all of its resamples are the same, so that it has no interval; '
                         f'compare scores of two images or more')


def counts_file(run: str, split: str) -> pathlib.Path:
    """The table of counts of a run, which evaluate wrote.

    Raises:
      InputError: there is no such run, or it was not evaluated.
    """
    path = path_argument(run, 'RUN')
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f'RUN {run}: no such folder; give the folder of a run that was evaluated')
    file = path / f'evaluation_{file_name(split)}_images.csv'
    if not file.is_file():
        remedy = command('evaluate', workdir=run, split=split)
        if is_crossvalidation(path) and split == 'val':
            remedy = command('crossvalidate', workdir=run)
        raise InputError(f'{file}: no such file; write it: {remedy}')
    return file


def read_counts(files: Sequence[pathlib.Path]) -> tuple[tuple[str, ...], tuple[str, ...],
                                                        np.ndarray]:
    """Names of the images, classes, and the counts (images, runs, 3, classes) of all files.

    Raises:
      InputError: a file is damaged, or not of the same images, classes and labels as the first.
    """
    tables = [ImageCounts.read(file) for file in files]
    first, stacked = tables[0], []
    for file, found in zip(files, tables, strict=True):
        if found.classes != first.classes:
            raise InputError(f'{file}: classes {", ".join(found.classes)}, but {files[0]} has '
                             f'{", ".join(first.classes)}; compare runs on the same data')
        different = set(found.names) ^ set(first.names)
        if different:
            raise InputError(f'{file}: {len(found.names)} images, and {files[0]} has '
                             f'{len(first.names)}; {len(different)} are in one alone, such as '
                             f'{min(different)!r}; evaluate all runs on the same images')
        place = {name: index for index, name in enumerate(found.names)}
        rows = np.array(found.rows)[[place[name] for name in first.names]]
        stacked.append(rows)
        _check_labels(file, files[0], first, rows, stacked[0])
    return first.names, first.classes, np.stack(stacked, 1)


def _check_labels(file: pathlib.Path, other: pathlib.Path, first: ImageCounts, rows: np.ndarray,
                  expected: np.ndarray):
    """The labels are the same only if every image has as many pixels of every class."""
    pixels, before = (array[:, 0] + array[:, 2] for array in (rows, expected))
    for image, label in np.argwhere(pixels != before)[:1]:
        raise InputError(f'{file}: image {first.names[image]!r} has {pixels[image, label]} pixels '
                         f'of class {first.classes[label]!r}, and {before[image, label]} in '
                         f'{other}; evaluate all runs with the same labels')


def table(runs: Sequence[str], classes: Sequence[str], found: Comparison) -> str:
    """The scores of every run, then the differences of each to the first, as text in per cent."""
    runs, classes = (list(map(printable, names)) for names in (runs, classes))
    width = max(map(len, (*runs, *classes, 'class')))
    lines = [f'{"run":{width}}   mIoU  interval         difference  interval              p']
    for index, run in enumerate(runs):
        line = f'{run:{width}} {_score(found.miou, index)}'
        if index:
            line = f'{line} {_difference(found.miou_difference, index - 1)}'
        lines.append(line)
    for index, run in enumerate(runs[1:]):
        lines += ['', f'IoU of {run}, and its difference to {runs[0]}',
                  f'{"class":{width}}    IoU  interval         difference  interval              p']
        lines += [f'{name:{width}} {_score(found.iou, (index + 1, label))} '
                  f'{_difference(found.iou_difference, (index, label))}'
                  for label, name in enumerate(classes)]
    return '\n'.join(line.rstrip() for line in lines)


def _score(interval: Interval, index: int | tuple[int, ...]) -> str:
    value, low, high = (100 * each[index] for each in (interval.value, interval.low, interval.high))
    return f'{value:6.2f}  {f"[{low:.2f}, {high:.2f}]":16}'


def _difference(interval: Interval, index: int | tuple[int, ...]) -> str:
    value, low, high = (100 * each[index] for each in (interval.value, interval.low, interval.high))
    return f'{value:+10.2f}  {f"[{low:+.2f}, {high:+.2f}]":18} {p_text(interval.p[index])}'
