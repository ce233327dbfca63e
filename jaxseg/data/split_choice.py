"""Which samples train and which validate, where nobody has stated it."""

import collections
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.data.folds import TRAIN, VAL, balanced, blocks
from jaxseg.data.mask_survey import Finding, Findings
from jaxseg.data.splits import assign_split
from jaxseg.errors import InputError

# What ends the part of a stem that frames of one video, or tiles of one image, share: numbers,
# with a word before each at most.
GROUPS = (r'^.+?(?=(?:[_-][A-Za-z]*\d+)+$)', r'^.+(?=[_-][A-Za-z]*\d+$)')
# Of fewer groups, a whole one is too large a part of the images to be left out of training.
FEWEST_GROUPS = 5
# A group of as many numbered stems may be a video, and is long enough to be cut into blocks.
FEWEST_FRAMES = 10
# Shares of train, val and test, from this many images or groups on.
FRACTIONS = ((20, {'train': 0.7, 'val': 0.15, 'test': 0.15}), (2, {'train': 0.8, 'val': 0.2}))
FOLDS = 5
SEEDS = 50  # tried for a split that comes near its shares

Contents = Mapping[str, Collection]  # of every stem, the values that occur in its mask


class Proposal(NamedTuple):
    """Fields of a data set, and those of a `folds.Fold` around it.

    Attributes:
      fields: by key.
      fold: all but `data`; {} where the data set itself has the splits.
    """

    fields: Findings
    fold: Findings


def choose_splits(contents: Contents) -> Proposal:
    """Splits of samples that no one has split: by shares, or by blocks of few videos.

    Of shares it is the seed of `SEEDS` whose splits lack the fewest values, in training above all,
    and come nearest to the shares; names and masks alone decide.

    Returns:
      `splits`, `split_seed` and `naming.group`, the key of `naming`, or `splits` and a fold.

    Raises:
      InputError: fewer than two images.
    """
    group = _many_groups(contents)
    if group is None and (videos := _few_videos(contents)):
        whole = Finding({TRAIN: 1.0}, 'no split given: all, of which the fold is a part')
        return Proposal({'splits': whole}, _blocks(contents, videos))
    units = _groups(contents, group)
    shares = next((shares for count, shares in FRACTIONS if len(set(units)) >= count), None)
    if shares is None:
        raise InputError(f'data.root: {len(units)} image(s), too few to train on some and to '
                         f'score on others; give two at least')
    seed = min(range(SEEDS), key=lambda seed: _misfit(
        contents, _assigned(units, shares, seed), shares))
    counts = collections.Counter(_assigned(units, shares, seed))
    shown = ', '.join(f'{counts[split]} {split}' for split in shares)
    singly = '' if group else _singly(contents)
    findings = {
        'splits': Finding(shares, f'no split given: by the hash of each '
                                  f'{"group" if group else "name"} ({shown} images){singly}'),
        'split_seed': Finding(seed, 'these splits show all classes and come near their shares')}
    if group:
        findings['naming.group'] = Finding(group, _together(units))
    return Proposal(findings, {})


def choose_fold(contents: Contents) -> Findings:
    """The fields of a `folds.Fold` in which a part of the training samples validates.

    Returns:
      All but `data`; {} where there are too few samples.
    """
    group = _many_groups(contents)
    if group is None and (videos := _few_videos(contents)):
        return _blocks(contents, videos)
    units = _groups(contents, group)
    folds = min(FOLDS, len(set(units)))
    if folds < 2:
        return {}
    shares = {TRAIN: 1 - 1 / folds, VAL: 1 / folds}
    seed = min(range(SEEDS), key=lambda seed: _misfit(
        contents, _names(balanced(units, folds, seed) == 0), shares))
    count = int((balanced(units, folds, seed) == 0).sum())
    findings = {**_fold(len(contents), folds, 0, count, '' if group else _singly(contents)),
                'seed': Finding(seed, f'of {SEEDS} tried, its parts lack the fewest classes')}
    if group:
        findings['group'] = Finding(group, _together(units))
    return findings


def _assigned(units: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str | None]:
    """The split of every stem by the hash of its unit."""
    split_of = {unit: assign_split(unit, shares, seed) for unit in set(units)}
    return [split_of[unit] for unit in units]


def _blocks(contents: Contents, group: str) -> Findings:
    """A fold of which one block of every group validates: that whose rest lacks fewest values."""
    units = _groups(contents, group)
    assigned = blocks(list(contents), units, FOLDS)
    shares = {TRAIN: 1 - 1 / FOLDS, VAL: 1 / FOLDS}
    fold = min(range(FOLDS), key=lambda fold: _misfit(contents, _names(assigned == fold), shares))
    lengths = ', '.join(f'{count} of {unit!r}'
                        for unit, count in collections.Counter(units).items())
    return {**_fold(len(contents), FOLDS, fold, int((assigned == fold).sum()), ''),
            'group': Finding(group, f'numbered names ({lengths}), which may be frames of videos'),
            'assignment': Finding('blocks', 'too few groups to leave out a whole one: of each, in '
                                            'the order of its numbers, one block validates, so '
                                            'that neighbouring frames stay together')}


def _fold(images: int, folds: int, fold: int, count: int, note: str) -> Findings:
    return {'type': Finding('folds.Fold', f'no val given: validated on {count} of {images} '
                                          f'training images{note}'),
            'pooled': Finding([TRAIN], 'the images that are dealt; others stay as they are'),
            'folds': Finding(folds, f'a share of 1/{folds}'),
            'fold': Finding(fold, f'which of 0 to {folds - 1} validates; jaxseg crossvalidate '
                                  f'takes each in turn')}


def _names(validates: np.ndarray) -> list[str]:
    return [VAL if chosen else TRAIN for chosen in validates]


def _together(units: Sequence[str]) -> str:
    return (f'{len(set(units))} groups such as {units[0]!r} (frames of one video or tiles of one '
            f'image look alike) stay in one split each')


def _singly(contents: Contents) -> str:
    """What to know of stems that are split one by one although most have a number."""
    if 2 * sum(stem[-1:].isdecimal() for stem in contents) <= len(contents):
        return ''
    return ('; names with numbers are split one by one: if they are frames of a video, the score '
            "is too good, and data of type folds.Fold with assignment='blocks' keep neighbours "
            'together')


def _many_groups(contents: Contents) -> str | None:
    """The pattern that finds enough groups, of which most have several stems."""
    for pattern in GROUPS:
        counts = _counts(contents, pattern)
        several = sum(count > 1 for count in counts.values())
        if len(counts) >= FEWEST_GROUPS and 2 * several > len(counts):
            return pattern
    return None


def _few_videos(contents: Contents) -> str | None:
    """The pattern that finds some groups, of which the long ones have most of the stems."""
    for pattern in GROUPS:
        counts = _counts(contents, pattern)
        frames = sum(count for count in counts.values() if count >= FEWEST_FRAMES)
        if 1 < len(counts) < FEWEST_GROUPS and 2 * frames > len(contents):
            return pattern
    return None


def _counts(contents: Contents, pattern: str) -> collections.Counter:
    """The number of stems of every group; empty where a stem is in none."""
    found = [re.search(pattern, stem) for stem in contents]
    return collections.Counter(match.group() for match in found) if all(found) else (
        collections.Counter())


def _groups(contents: Contents, pattern: str | None) -> list[str]:
    """The group of every stem, or the stem itself."""
    return [re.search(pattern, stem).group() if pattern else stem for stem in contents]


def _misfit(contents: Contents, split_of: Sequence[str], shares: Mapping[str, float]) -> tuple:
    """Empty splits, values that splits lack, and the distance to the shares."""
    counts, values = collections.Counter(split_of), collections.defaultdict(set)
    for split, found in zip(split_of, contents.values(), strict=True):
        values[split] |= set(found)
    every = set().union(*values.values())
    return (sum(not counts[split] for split in shares), len(every - values[TRAIN]),
            sum(len(every - values[split]) for split in shares),
            sum(abs(counts[split] - share * len(contents)) for split, share in shares.items()))
