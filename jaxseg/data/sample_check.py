"""The check of a split before training: can its samples be read, and what do its masks show?"""

import concurrent.futures
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxseg.data.spec import DatasetSpec, Source, nothing_labelled
from jaxseg.errors import InputError, printable

# Decoding this many samples before training takes seconds; of larger splits a part is decoded.
DECODED = 2000
STRIP = 2 ** 20  # pixels
LISTED = 8


class Shown(NamedTuple):
    """What masks show: the classes, (classes,) bool; whether any label; whether void."""

    classes: np.ndarray
    labelled: bool
    void: bool


def shown_in(mask: np.ndarray, spec: DatasetSpec) -> Shown:
    """What one mask of class indices, or of 0 and 1 for each class, shows."""
    if spec.overlapping:
        void = mask == spec.ignore_index
        return Shown((mask == 1).any((0, 1)), not void.all(), bool(void.any()))
    values = spec.ignore_index + 1  # void is the largest
    # By strips: counting takes eight bytes a pixel.
    counts = sum(np.bincount(strip.ravel(), minlength=values)
                 for strip in np.array_split(mask, -(-mask.size // STRIP)))
    return Shown(counts[:len(spec.classes)] > 0, bool(counts[:-1].any()), bool(counts[-1]))


def check_samples(split: str, spec: DatasetSpec, count: int,
                  examine: Callable[[int], tuple[list[str], Shown | None]],
                  read_header: Callable[[int], list[str]] = lambda index: []):
    """Decodes all samples of a split, or a seeded part of 2,000 and the headers of the others.

    Where all were decoded, it prints which classes 'train' does not show.

    Args:
      examine: all that is wrong with a sample, and what its mask shows if it can be read.
      read_header: what is wrong with a sample as far as its headers tell.

    Raises:
      InputError: the first problem, and how many more there are; or masks from which nothing can
        be learned.
    """
    decoded = np.random.default_rng(0).permutation(count)[:DECODED]
    rest = sorted(set(range(count)) - set(decoded.tolist()))
    problems, masks = [], [Shown(np.zeros(len(spec.classes), bool), False, False)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for found in pool.map(read_header, rest):
            problems += found
        for found, shown in pool.map(examine, sorted(decoded.tolist())):
            problems += found
            masks += [] if shown is None else [shown]
    if problems:
        more = f' (and {len(problems) - 1} more problems: jaxseg inspect lists them all)'
        raise InputError(problems[0] + (more if problems[1:] else ''))
    shown = Shown(*(np.any(part, 0) for part in zip(*masks, strict=True)))
    if not shown.labelled:
        raise InputError(f'split {split!r}: {nothing_labelled(spec, len(decoded))}')
    if split == 'train':
        problem = background_alone(shown, spec, len(decoded))
        if problem and not rest:
            raise InputError(f'split {split!r}: {problem}')
        if problem:  # the others may show what these do not
            print(f'note: {problem}', flush=True)
        elif not rest and not shown.classes.all():
            print(absent_classes(shown, spec), flush=True)


def reading(source: Source, spec: DatasetSpec
            ) -> Callable[[int], tuple[list[str], Shown | None]]:
    """The `examine` of `check_samples` that reads whole samples."""
    def examine(index: int) -> tuple[list[str], Shown | None]:
        try:
            return [], shown_in(source[index]['mask'], spec)
        except InputError as error:
            return [str(error)], None

    return examine


def background_alone(shown: Shown, spec: DatasetSpec, samples: int) -> str:
    """The message on training masks of two classes that hold 0 and 255, stated as void, or ''."""
    if spec.overlapping or len(spec.classes) != 2 or spec.ignore_index != 255:
        return ''
    if shown.classes.tolist() != [True, False] or not shown.void:
        return ''
    background, other = map(repr, spec.classes)
    return (f'data set {spec.name!r}: {samples} masks show {background} and void (255), and none '
            f'shows {other}; if 255 is {other}, set data.labels.binary=true '
            f'(data.label_map={{0: 0, 255: 1}} with tfds.Tfds), else give masks that show it')


def absent_classes(shown: Shown, spec: DatasetSpec) -> str:
    """The note on classes that no training mask shows."""
    names = [printable(name) for name, found in zip(spec.classes, shown.classes, strict=True)
             if not found]
    more = f' and {len(names) - LISTED} more' if names[LISTED:] else ''
    return (f'note: no mask of the split \'train\' shows {", ".join(names[:LISTED])}{more}, so '
            f'that the model cannot learn it')
