"""What data sets made of the user's files share: description, splits, sources."""

import abc
import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from jaxseg.data.folder_source import FolderSource
from jaxseg.data.listing import describe_skipped
from jaxseg.data.mask_reader import MaskReader
from jaxseg.data.pairs import Listed, Pair
from jaxseg.data.spec import IMAGENET_MEAN, IMAGENET_STD, Color, DatasetSpec
from jaxseg.data.splits import check_fractions
from jaxseg.data.value_range import decide_value_range
from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt, check_fields, nearest
from jaxseg.records import read_json


class Splits(Protocol):
    """The splits of a data set and their files."""

    splits: tuple[str, ...]

    def split(self, split: str) -> Listed: ...


@dataclasses.dataclass(frozen=True)
class FileDataset(abc.ABC):
    """Images in files of the user, with annotations of some kind.

    `classes`, `colors` and `value_range` come from `root/dataset.json` where the config does not
    state them, `mean` and `std` (one a channel, after `value_range` was mapped to 0-1) and `name`
    always. The files are listed when they are first needed, once for each instance.

    Attributes:
      root: the folder that holds everything.
      classes, colors: names and RGB colors of the classes in the order of their indices.
      channels: of the images; any number, where the files have as many.
      value_range: pixel values that stand for black and white, one pair for the whole data set. By
        default (0, 255) if all images are 8-bit, and (0, 65535) if there are 16-bit ones; for
        floating-point and 32-bit images it must be stated.
      splits: shares of the samples, such as `{'train': 0.8, 'val': 0.1, 'test': 0.1}`, where the
        files state no splits. The split of a stem depends on the stem, `split_seed` and the shares
        alone (`splits.assign_split`): new images move no other.
      split_seed: other splits of the same shares.
      naming: names of folders and parts of names; `group` is a regular expression for `splits`:
        stems in which it finds the same text are in one split, such as `{'group': '^scene[0-9]+'}`
        for tiles of one scene or frames of one video.

    Raises:
      InputError: a field is out of range or has no effect; when a source is made: no such folder or
        split, an empty split, an image without annotation or the reverse, a dataset.json or options
        that cannot be used.
    """

    root: str
    classes: Sequence[str] | None = None
    colors: Sequence[Color] | None = None
    channels: PositiveInt = 3
    value_range: tuple[float, float] | None = None
    splits: Mapping[str, float] | None = None
    split_seed: int = 0
    naming: Mapping[str, str] = dataclasses.field(default_factory=dict)

    # No fields, for they are not annotated: the kind of masks; what a subclass states of a data set
    # that is known; the keys of `naming`; what `root` holds, for a message.
    overlapping = False
    presets = {}
    naming_keys = frozenset({'group'})
    holds = 'the images and their annotations'

    def __post_init__(self):
        check_fields(self, 'data')
        if self.splits is not None:
            check_fractions(self.splits)
        if not self.splits and self.split_seed:
            raise InputError(f'data.split_seed: {self.split_seed} has no effect without shares; '
                             f"remove it, or give data.splits, such as {{'train': 0.8, 'val': "
                             f'0.2}}')

    @property
    @abc.abstractmethod
    def _listing(self) -> Splits:
        """Which files belong to which split."""

    @property
    @abc.abstractmethod
    def _masks(self) -> MaskReader:
        """How annotations become masks."""

    @functools.cached_property
    def spec(self) -> DatasetSpec:
        """The description, from the config, dataset.json and the headers of the images."""
        given, imagenet = self._json, self.channels == 3
        classes = self._classes
        spec = DatasetSpec(
            name=given.get('name', self._root.name), classes=classes,
            colors=self._stated('colors') or (), ignore_index=self._void(classes),
            mean=given.get('mean', IMAGENET_MEAN if imagenet else (0.5,) * self.channels),
            std=given.get('std', IMAGENET_STD if imagenet else (0.25,) * self.channels),
            splits=self._listing.splits, value_range=self._value_range,
            overlapping=self.overlapping)
        if spec.channels != self.channels:
            raise InputError(f'{self._root}/dataset.json: {spec.channels} values in mean and std, '
                             f'but data.channels is {self.channels}; give one for each channel')
        return spec

    @property
    def stated_splits(self) -> tuple[str, ...]:
        """The names of the splits, which are known before the classes."""
        return self._listing.splits

    def source(self, split: str) -> FolderSource:
        """Random access to a split."""
        problems = self._listing.split(split).problems
        if problems:
            raise InputError(problems[0])
        return self.paired(split)

    def paired(self, split: str) -> FolderSource:
        """The pairs of a split, whatever else its folders hold."""
        listed = self._listing.split(split)
        return FolderSource(split, listed.pairs, self._masks, self.spec,
                            describe_skipped(listed.skipped))

    def problems(self, split: str) -> list[str]:
        """All that is wrong with the listing of a split: images without masks, an empty split..."""
        return list(self._listing.split(split).problems)

    @property
    def _classes(self) -> Sequence[str]:
        classes = self._stated('classes')
        if not classes:
            raise InputError(f'data.classes: not given, and {self.root}/dataset.json names none; '
                             f'give the class names in the order of their indices, such as '
                             f"data.classes=['background', 'cell']")
        return classes

    def _void(self, classes: Sequence[str]) -> int:
        """The void label: the largest one of 8 bits, or of 16 where classes need these."""
        return 255 if self.overlapping or len(classes) <= 255 else 65535

    @functools.cached_property
    def _value_range(self) -> tuple[float, float]:
        if self._stated('value_range') is not None:
            return self._stated('value_range')
        images = dict.fromkeys(pair.image for pair in self._all_pairs())
        return decide_value_range(list(images), str(self._root))

    def _all_pairs(self) -> Iterator[Pair]:
        for split in self._listing.splits:
            with contextlib.suppress(InputError):  # It is reported where the split is used.
                yield from self._listing.split(split).pairs

    def _stated(self, key: str) -> Any:
        """What the config states, or else dataset.json, or else what is known, or None."""
        stated = self._json.get(key) if getattr(self, key) is None else getattr(self, key)
        if stated is None and (key != 'colors' or self._stated('classes')
                               == self.presets.get('classes')):  # Known colors are of its classes.
            return self.presets.get(key)
        return stated

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        """`naming`, and what is known besides."""
        check_names('data.naming', self.naming, self.naming_keys)
        return {**self.presets.get('naming', {}), **self.naming}

    @functools.cached_property
    def _root(self) -> pathlib.Path:
        root = pathlib.Path(os.path.expanduser(self.root))
        # Not `root.is_dir()`, which raises OSError for names that are too long.
        if not self.root or not os.path.isdir(root):
            raise InputError(f'data.root: {self.root!r} is no folder; give the folder that holds '
                             f'{self.holds}')
        return root

    @functools.cached_property
    def _json(self) -> dict:
        path = self._root / 'dataset.json'
        return read_json(path) if path.is_file() else {}


def check_names(key: str, given: Mapping, known: set[str]):
    """Raises InputError if a mapping of options has a key that is not known."""
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f'{key}: {unknown[0]} unknown; {nearest(unknown[0], known)}')
