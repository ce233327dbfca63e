"""Cross-validation: the splits of a data set pooled, and dealt into folds by the samples' names."""

import collections
import dataclasses
import functools
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from jaxseg.data.sample_check import check_samples, reading
from jaxseg.data.sampling import class_pixels
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.data.splits import group_of, group_pattern, sample_mask, sample_names, split_order
from jaxseg.errors import InputError
from jaxseg.fields import LARGEST, NonNegativeInt, Range, check_fields

TRAIN, VAL = 'train', 'val'


@dataclasses.dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation as a data set: 'val' is the fold, 'train' all others.

    The samples of the splits `pooled` are dealt into `folds` parts of about the same size, each
    sample into one. Other splits, such as 'test', stay as they are. A name that occurs in several
    of the pooled splits becomes SPLIT/NAME.

    Attributes:
      data: the data set, an entry as it would stand alone.
      fold: 0 to folds - 1; None for a model of all: everything pooled is 'train', and there is no
        'val'.
      folds: their number.
      pooled: splits that are pooled; of those that the data set does not have there is nothing.
      group: a regular expression. Samples of whose names it matches the same text, such as those
        of one patient or one clip, stay in one fold ('balanced', 'stratified'), or are one video
        ('blocks').
      assignment: 'balanced' deals groups, the largest first, to the smallest fold. 'blocks' cuts
        every group, its names sorted with numbers by their value, into one contiguous block for
        each fold, so that neighbouring frames of a video stay together. 'stratified' gives every
        fold the same share of the images of every class (Sechidis et al. 2011), for which it
        decodes all masks.
      seed: another seed deals differently; without effect on blocks.

    Raises:
      InputError: a field is out of range; when the samples are first needed: no such splits, an
        expression that does not match a name, fewer groups than folds.
    """

    data: Any
    fold: NonNegativeInt | None = 0
    folds: Annotated[int, Range(2, LARGEST)] = 5
    pooled: Sequence[str] = (TRAIN, VAL)
    group: str | None = None
    assignment: Literal['balanced', 'blocks', 'stratified'] = 'balanced'
    seed: NonNegativeInt = 0

    def __post_init__(self):
        check_fields(self, 'data')
        if not hasattr(self.data, 'source'):
            raise InputError(f'data.data: {self.data!r} is no data set; give one entry with a '
                             f"type, such as {{'type': 'folder.Folder', 'root': 'FOLDER'}}")
        if self.fold is not None and self.fold >= self.folds:
            raise InputError(f'data.fold: {self.fold} of {self.folds} folds; give 0 to '
                             f'{self.folds - 1}')
        if self.assignment == 'blocks' and self.seed:
            raise InputError(f'data.seed: {self.seed} has no effect on blocks, which are cut in '
                             f'the order of the names; remove it')
        if self.group is not None:
            group_pattern(self.group, 'data.group')

    @functools.cached_property
    def spec(self) -> DatasetSpec:
        """That of the data set, with the splits of the fold."""
        others = [split for split in self.data.spec.splits if split not in (*self.pooled, VAL)]
        own = (TRAIN,) if self.fold is None else (TRAIN, VAL)
        return dataclasses.replace(self.data.spec, splits=(*own, *others))

    def source(self, split: str) -> Source:
        """Random access to 'train', 'val' or one of the other splits."""
        if split not in self.spec.splits:
            why = ', because all that is pooled is training data' if self.fold is None else ''
            raise InputError(f'data folds.Fold: no split {split!r}{why}; known: '
                             f'{", ".join(self.spec.splits)}')
        if split not in (TRAIN, VAL):
            return self.data.source(split)
        inside = self.assigned == self.fold
        chosen = np.flatnonzero(inside if split == VAL else ~inside)
        return _select(self._sources, self._names, chosen, split, self.spec)

    def paired(self, split: str) -> Source:
        """The samples of a split that can be listed, whatever else the folders hold."""
        return dataclasses.replace(self, data=_Paired(self.data)).source(split)

    def problems(self, split: str) -> list[str]:
        """All that is wrong with the listing of a split; 'train' stands for all that is pooled."""
        if split == VAL or not hasattr(self.data, 'problems'):
            return []
        known = [name for name in self.pooled if name in self.data.spec.splits]
        return [problem for name in (known if split == TRAIN else [split])
                for problem in self.data.problems(name)]

    @functools.cached_property
    def assigned(self) -> np.ndarray:
        """The fold of every sample of the pooled splits in turn, (N,) int."""
        plain = [name for source in self._sources.values() for name in sample_names(source)]
        groups = self._names
        if self.group is not None:
            pattern = group_pattern(self.group, 'data.group')
            groups = [group_of(name, pattern, 'data.group') for name in plain]
        if self.assignment == 'blocks':
            videos = [''] * len(plain) if self.group is None else groups
            assigned = blocks(self._names, videos, self.folds)
        elif self.assignment == 'stratified':
            shown = np.concatenate([class_pixels(source, self.data.spec) > 0
                                    for source in self._sources.values()])
            assigned = stratified(groups, shown, self.folds, self.seed)
        else:
            assigned = balanced(groups, self.folds, self.seed)
        empty = sorted(set(range(self.folds)) - set(assigned.tolist()))
        if empty:
            unit = '' if self.group is None else f' in {len(set(groups))} groups'
            raise InputError(f'data.folds: {self.folds} folds of {len(plain)} samples{unit} leave '
                             f'fold {empty[0]} empty; give fewer folds, or smaller groups')
        return assigned

    @functools.cached_property
    def _sources(self) -> dict[str, Source]:
        known = [split for split in sorted(self.pooled, key=split_order)
                 if split in self.data.spec.splits]
        if not known:
            raise InputError(f'data.pooled: the data set has none of {list(self.pooled)}; '
                             f'known: {", ".join(self.data.spec.splits)}')
        return {split: self.data.source(split) for split in known}

    @functools.cached_property
    def _names(self) -> list[str]:
        """The name of every sample, with its split where several splits have it."""
        places = [(split, name) for split, source in self._sources.items()
                  for name in sample_names(source)]
        splits = collections.defaultdict(set)
        for split, name in places:
            splits[name].add(split)
        return [f'{split}/{name}' if len(splits[name]) > 1 else name for split, name in places]


class _Paired:
    """A data set whose splits are what pairs in them."""

    def __init__(self, data: Any):
        self.spec, self.source = data.spec, getattr(data, 'paired', data.source)


def balanced(groups: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """The fold of every sample: groups, the largest first, each to the smallest fold.

    Groups of one size come in the order of a hash of seed and group, so that the order of the
    samples does not matter.

    Args:
      groups: the group of every sample, (N,).

    Returns:
      (N,) int, 0 to folds - 1.
    """
    counts, filled, fold_of = collections.Counter(groups), [0] * folds, {}
    for group in sorted(counts, key=lambda group: (-counts[group], _hash(group, seed))):
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += counts[group]
    return np.array([fold_of[group] for group in groups], int)


def blocks(names: Sequence[str], groups: Sequence[str], folds: int) -> np.ndarray:
    """The fold of every sample: one contiguous block of every group for each fold.

    Blocks of one group differ by at most one sample; the longer ones go to the folds that have
    fewer samples so far.

    Args:
      names: of the samples, (N,); sorted with numbers by their value, `f2` before `f10`.
      groups: the group of every sample, (N,).

    Returns:
      (N,) int, 0 to folds - 1.
    """
    assigned, filled, members = np.zeros(len(names), int), np.zeros(folds, int), {}
    for index in sorted(range(len(names)), key=lambda index: (natural(names[index]), index)):
        members.setdefault(groups[index], []).append(index)
    for group in sorted(members, key=natural):
        length, longer = divmod(len(members[group]), folds)
        sizes = np.full(folds, length)
        sizes[np.argsort(filled, kind='stable')[:longer]] += 1
        assigned[members[group]] = np.repeat(np.arange(folds), sizes)
        filled += sizes
    return assigned


def stratified(groups: Sequence[str], shown: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of every sample by iterative stratification (Sechidis et al. 2011, ECML PKDD).

    Of the class that the fewest remaining samples show, every group goes to the fold that lacks
    most samples of this class, of several such folds to that which lacks most samples.

    Args:
      groups: the group of every sample, (N,).
      shown: whether the sample shows the class, (N, classes) bool.

    Returns:
      (N,) int, 0 to folds - 1.
    """
    units = sorted(set(groups), key=lambda group: _hash(group, seed))
    place = {group: index for index, group in enumerate(units)}
    unit_of = np.array([place[group] for group in groups], int)
    # The last column counts the samples, and is a class that every sample shows.
    counts = np.zeros((len(units), shown.shape[1] + 1))
    np.add.at(counts, unit_of, np.column_stack([shown, np.ones(len(groups))]))
    lacking = np.tile(counts.sum(0) / folds, (folds, 1))
    assigned = np.full(len(units), -1)
    while (waiting := assigned < 0).any():
        left = counts[waiting].sum(0)
        rarest = np.where(left > 0, left, np.inf)
        label = int(rarest[:-1].argmin()) if np.isfinite(rarest[:-1]).any() else -1
        chosen = np.flatnonzero(waiting & (counts[:, label] > 0))
        for unit in chosen[np.argsort(-counts[chosen, label], kind='stable')]:
            # Compared after rounding: shares of equal folds differ by the order of subtractions.
            fold = np.lexsort((-lacking[:, -1].round(6), -lacking[:, label].round(6)))[0]
            assigned[unit] = fold
            lacking[fold] -= counts[unit]
    return assigned[unit_of]


def natural(name: str) -> list:
    """Sort key of a name in which numbers are compared by their value."""
    parts = re.split('([0-9]+)', name)
    digits = [part.lstrip('0') for part in parts[1::2]]
    keys = [part for pair in zip(parts[::2], [(len(d), d) for d in digits] + [None], strict=True)
            for part in pair]
    return keys[:-1]


def _hash(name: str, seed: int) -> tuple[bytes, str]:
    # In composed form, as in `splits.assign_split`.
    text = unicodedata.normalize('NFC', f'{seed}:{name}').encode('utf-8', 'surrogateescape')
    return hashlib.sha256(text).digest(), name


def _select(sources: Mapping[str, Source], names: Sequence[str], chosen: np.ndarray, split: str,
            spec: DatasetSpec) -> Source:
    """The chosen ones of the samples of all sources in turn.

    Sources of files, with `pairs` and `with_pairs`, give one that checks these files alone.
    """
    first = next(iter(sources.values()))
    if hasattr(first, 'with_pairs'):
        pairs = [pair for source in sources.values() for pair in source.pairs]
        return first.with_pairs(split, [pairs[index]._replace(name=names[index])
                                        for index in chosen.tolist()])
    places = [(source, index) for source in sources.values() for index in range(len(source))]
    return Selection([places[index] for index in chosen.tolist()],
                     tuple(names[index] for index in chosen.tolist()), split, spec)


class Selection:
    """Samples of several sources, under other names and in a split of their own."""

    def __init__(self, places: Sequence[tuple[Source, int]], names: tuple[str, ...], split: str,
                 spec: DatasetSpec):
        self._places, self.names, self._split, self._spec = places, names, split, spec

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Mapping:
        source, place = self._places[index]
        return {**source[place], 'name': self.names[index]}

    def mask(self, index: int) -> np.ndarray:
        """The mask of one sample."""
        return sample_mask(*self._places[index])

    def sizes(self) -> set[tuple[int, int]]:
        """Every (height, width) that occurs in the sources, of those that know it."""
        return {size for source in self._having('sizes') for size in source.sizes()}

    def check_files(self):
        """Decodes samples in advance, if their sources would check theirs."""
        if self._having('check_files'):
            check_samples(self._split, self._spec, len(self), reading(self, self._spec))

    def _having(self, name: str) -> list[Source]:
        sources = {id(source): source for source, _ in self._places}
        return [source for source in sources.values() if hasattr(source, name)]
