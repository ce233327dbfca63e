"""Splits and their identity: which samples a split holds, chosen by their names alone."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.data.spec import Source
from jaxseg.errors import InputError
from jaxseg.fields import Probability, check_value, compile_pattern

STANDARD_SPLITS = ('train', 'val', 'test')
# Other names of theirs that are in use.
SYNONYMS = {'training': 'train', 'valid': 'val', 'validation': 'val', 'testing': 'test'}


def split_order(name: str) -> tuple[int, str]:
    """Sort key of split names: train, val, test, then the others alphabetically."""
    first = STANDARD_SPLITS.index(name) if name in STANDARD_SPLITS else len(STANDARD_SPLITS)
    return first, name


def standard_names(found: Sequence[str]) -> dict[str, str]:
    """The splits of folders or lists with these names: `{split: name}`.

    `valid` is the split 'val', unless there is a `val` or a `validation`, too.
    """
    named: dict[str, list[str]] = {}
    for name in found:
        named.setdefault(SYNONYMS.get(name, name), []).append(name)
    return {split if len(names) == 1 else name: name
            for split, names in named.items() for name in names}


def assign_split(name: str, fractions: Mapping[str, float], seed: int) -> str | None:
    """The split of one sample, None where the fractions leave it out.

    SHA-256 of seed and name gives a number in [0, 1), which falls into the interval of one split;
    the intervals follow each other in the order of `split_order`. So neither other samples nor the
    order of `fractions` matter: an image that is added or removed moves no other one to another
    split.
    """
    digest = hashlib.sha256(_bytes(f'{seed}:{name}')).digest()
    # 53 bits: as many as a float holds exactly, so that the number is below 1.
    number, end = (int.from_bytes(digest[:8], 'big') >> 11) / 2 ** 53, 0.0
    for split in sorted(fractions, key=split_order):
        end += fractions[split]
        if number < end:
            return split
    return None


def compile_group(pattern: str, fractions: Mapping[str, float] | None) -> re.Pattern:
    """The regular expression of `naming.group`.

    Raises:
      InputError: it is none, or there are no `fractions` that it could have an effect on.
    """
    if not fractions:
        raise InputError(f'data.naming.group: {pattern!r} has no effect without shares; remove it, '
                         f"or give data.splits, such as {{'train': 0.8, 'val': 0.2}}")
    return group_pattern(pattern, 'data.naming.group')


def group_pattern(pattern: str, key: str) -> re.Pattern:
    """A regular expression by which names are grouped; InputError, naming `key`, if it is none."""
    return compile_pattern(key, pattern, "; give one that finds the group in a stem, such as "
                                         "'^[^_]+' for the text before the first _")


def group_of(name: str, pattern: re.Pattern, key: str = 'data.naming.group') -> str:
    """What samples of one group share: the text that the pattern finds in the name.

    Raises:
      InputError: the pattern finds nothing, or an empty text.
    """
    found = pattern.search(name)
    if not found or not found[0]:
        raise InputError(f'{key}: {pattern.pattern!r} finds nothing in the stem '
                         f'{name!r}; give an expression that finds the group in every stem')
    return found[0]


def check_fractions(fractions: Mapping[str, float]):
    """Raises InputError unless the shares are from 0 to 1 and add up to at most 1."""
    check_value('data.splits', fractions, Mapping[str, Probability])
    total = sum(fractions.values())
    if total > 1 + 1e-9:
        raise InputError(f'data.splits: the fractions {dict(fractions)} add up to {total:g}; give '
                         f'shares of at most 1')


def sample_names(source: Source) -> tuple[str, ...]:
    """The name of every sample; samples are decoded only where the source has no `names`."""
    if hasattr(source, 'names'):
        return tuple(source.names)
    return tuple(source[index]['name'] for index in range(len(source)))


def sample_mask(source: Source, index: int) -> np.ndarray:
    """The mask of one sample, without its image where the source has it alone."""
    return source.mask(index) if hasattr(source, 'mask') else source[index]['mask']


def split_identity(source: Source) -> dict[str, Any]:
    """What identifies a split.

    Returns:
      `count`, the sorted `names`, the `sha256` of their lines and, of a source of files, `bytes`:
      the sizes of the files of each name, which show that one was replaced.
    """
    order, names = _sorted_names(source)
    digest = hashlib.sha256(_bytes('\n'.join(names))).hexdigest()
    identity = {'count': len(names), 'sha256': digest, 'names': names}
    if hasattr(source, 'file_size'):
        identity['bytes'] = [source.file_size(index) for index in order]
    return identity


def listed_bytes(source: Source, identity: Mapping[str, Any]) -> list[int] | None:
    """The bytes of the files of every sample, in order, by an identity of this split.

    None where the source is none of files.
    """
    if 'bytes' not in identity:
        return None
    order, _ = _sorted_names(source)
    sizes = dict(zip(order, identity['bytes'], strict=True))
    return [sizes[index] for index in range(len(order))]


def _sorted_names(source: Source) -> tuple[list[int], list[str]]:
    """The indices of the samples in the order of their names, and these."""
    names = [unicodedata.normalize('NFC', name) for name in sample_names(source)]
    order = sorted(range(len(names)), key=names.__getitem__)
    return order, [names[index] for index in order]


def check_source(dataset: Any, split: str, *, files: bool = True) -> Source:
    """A split of a data set, after the source has checked its files in advance if it can.

    Args:
      files: whether it does.

    Raises:
      InputError: the split is unknown or empty, or one of its files cannot be used.
    """
    source = dataset.source(split)
    if not len(source):
        raise InputError(f'data set {dataset.spec.name!r}: split {split!r} is empty; give it at '
                         f'least one sample')
    if files and hasattr(source, 'check_files'):
        source.check_files()
    return source


class Subset:
    """Some samples of a source, by index."""

    def __init__(self, source: Source, indices: Sequence[int]):
        self._source, self._indices = source, list(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Mapping:
        return self._source[self._indices[index]]


class FilteredSource(Subset):
    """The samples of a source whose names begin with a prefix."""

    def __init__(self, source: Source, prefix: str):
        chosen = [(i, name) for i, name in enumerate(sample_names(source))
                  if name.startswith(prefix)]
        super().__init__(source, [i for i, _ in chosen])
        self.names = tuple(name for _, name in chosen)


def _bytes(name: str) -> bytes:
    """UTF-8 in composed form, so that a copy by macOS, which decomposes names, is the same."""
    return unicodedata.normalize('NFC', name).encode('utf-8', 'surrogateescape')
