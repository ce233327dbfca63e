"""A folder of images and masks."""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from jaxseg.data.folder_source import FolderSource
from jaxseg.data.labels import OPTIONS, Labels
from jaxseg.data.listing import describe_skipped
from jaxseg.data.masks import RawMask, read_mask
from jaxseg.data.pairs import Listing, Pair
from jaxseg.data.spec import IMAGENET_MEAN, IMAGENET_STD, Color, DatasetSpec, VoidLabel
from jaxseg.data.splits import check_fractions
from jaxseg.data.value_range import decide_value_range
from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt, check_fields, nearest
from jaxseg.records import read_json

# Masks that are decoded to decide how all of them store classes.
SURVEYED = 32
NAMES = {'images', 'masks', 'image_suffix', 'mask_suffix', 'lists', 'group'}


@dataclasses.dataclass(frozen=True)
class Folder:
    """The user's own images and masks, paired by their stems.

    Layouts, where `naming` may give the folders `images` and `masks` other names:
      `root/SPLIT/images/STEM.*` and `root/SPLIT/masks/STEM.*`; or `root/images/SPLIT/STEM.*` and
      `root/masks/SPLIT/STEM.*`; or `root/images/STEM.*` and `root/masks/STEM.*` with lists
      `root/SPLIT.txt` of stems, or with `splits={'train': 0.8, 'val': 0.1, 'test': 0.1}`: shares of
      the stems. The split of a stem depends on the stem, `split_seed` and the shares alone
      (`splits.assign_split`): new images move no other.
    Subfolders of a folder that holds no image itself are searched.
    An image in two of the splits train, val and test is a problem: in lists any stem, in folders
    equal files.

    `classes`, `colors`, `ignore_index` and `value_range` come from `root/dataset.json` where the
    config does not state them, `mean` and `std` (one a channel, after `value_range` was mapped to
    0-1) and `name` always; void is 255 where neither states it.

    The files are listed when they are first needed, once for each instance.

    Attributes:
      channels: of the images; any number, where the files have as many.
      value_range: pixel values that stand for black and white, one pair for the whole data set. By
        default (0, 255) if all images are 8-bit, and (0, 65535) if there are 16-bit ones; for
        floating-point and 32-bit images it must be stated.
      overlapping: masks of different classes may overlap. `masks/CLASS/STEM.*` (in each of the
        layouts above) are then binary files; for a single class `masks/STEM.*` will do. Samples
        have masks (H, W, classes) of 0, 1 and void.
      missing_masks: with overlapping masks, 'absent' states that no file for a class means that it
        does not occur in the image; 'refuse' calls it a problem.
      naming: may hold `images` and `masks`, the names of the two folders ('.' for the folder above
        them), `image_suffix` and `mask_suffix`, the ends of the stems that pairs do not share:
        `{'masks': 'labels', 'mask_suffix': '_mask'}` pairs images/a.jpg with labels/a_mask.png;
        `lists`, the folder of the lists; `group`, a regular expression for `splits`: stems in which
        it finds the same text (in its first parentheses, if it has some) are in one split, such as
        `{'group': '^scene[0-9]+'}` for tiles of one scene or frames of one video.
      labels: options of `jaxseg.data.labels.Labels`.

    Raises:
      InputError: a field is out of range; when a source is made: no such folder or split, an empty
        split, an image without a mask or the reverse, a dataset.json or options that cannot be
        used.
    """

    root: str
    classes: Sequence[str] | None = None
    colors: Sequence[Color] | None = None
    ignore_index: VoidLabel | None = None
    channels: PositiveInt = 3
    value_range: tuple[float, float] | None = None
    overlapping: bool = False
    missing_masks: Literal['refuse', 'absent'] = 'refuse'
    splits: Mapping[str, float] | None = None
    split_seed: int = 0
    naming: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_fields(self, 'data')
        if self.splits is not None:
            check_fractions(self.splits)
        if self.missing_masks != 'refuse' and not self.overlapping:
            raise InputError(f'data.missing_masks: {self.missing_masks!r} has no effect without '
                             f'overlapping masks; remove it, or set data.overlapping=true')

    @functools.cached_property
    def spec(self) -> DatasetSpec:
        """The description, from the config, dataset.json and the headers of the images."""
        given, imagenet = self._json, self.channels == 3
        stated_void = self._stated('ignore_index')
        spec = DatasetSpec(
            name=given.get('name', self._root.name), classes=self._classes,
            colors=self._stated('colors') or (),
            ignore_index=255 if stated_void is None else stated_void,
            mean=given.get('mean', IMAGENET_MEAN if imagenet else (0.5,) * self.channels),
            std=given.get('std', IMAGENET_STD if imagenet else (0.25,) * self.channels),
            splits=self._listing.splits, value_range=self._value_range,
            overlapping=self.overlapping)
        if spec.channels != self.channels:
            raise InputError(f'{self._root}/dataset.json: {spec.channels} values in mean and std, '
                             f'but data.channels is {self.channels}; give one for each channel')
        return spec

    def source(self, split: str) -> FolderSource:
        """Random access to a split."""
        problems = self._listing.split(split).problems
        if problems:
            raise InputError(problems[0])
        return self.paired(split)

    def paired(self, split: str) -> FolderSource:
        """The pairs of a split, whatever else its folders hold."""
        listed = self._listing.split(split)
        return FolderSource(split, listed.pairs, self._labels, self.spec,
                            describe_skipped(listed.skipped))

    def problems(self, split: str) -> list[str]:
        """All that is wrong with the listing of a split: images without masks, an empty split..."""
        return list(self._listing.split(split).problems)

    @functools.cached_property
    def _labels(self) -> Labels:
        """How masks store classes."""
        _check_names('data.labels', self.labels, set(OPTIONS))
        options = dict(self.labels)
        options.setdefault('ignore_color', self._json.get('ignore_color'))
        if self._stated('ignore_index') is not None:
            options.setdefault('binary', False)
        labels = Labels(self.spec, **options, stated_colors=bool(self._stated('colors')))
        if labels.ignore_color in self.spec.colors:
            name = self.spec.classes[self.spec.colors.index(labels.ignore_color)]
            raise InputError(f'ignore_color: {labels.ignore_color} is also the color of the class '
                             f'{name!r}; give void a color of its own')
        return labels if self.overlapping else labels.survey(self._some_masks())

    def _some_masks(self) -> Iterator[RawMask]:
        """Masks spread over all splits."""
        paths = [pair.masks[0] for pair in self._all_pairs()]
        for path in paths[::-(-len(paths) // SURVEYED) or 1]:
            with contextlib.suppress(InputError):  # It is reported where the file is checked.
                yield read_mask(path)

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

    @functools.cached_property
    def _listing(self) -> Listing:
        _check_names('data.naming', self.naming, NAMES)
        return Listing(self._root, **self.naming, fractions=self.splits, seed=self.split_seed,
                       classes=tuple(self._classes) if self.overlapping else None,
                       absent=self.missing_masks == 'absent')

    @property
    def _classes(self) -> Sequence[str]:
        classes = self._stated('classes')
        if not classes:
            raise InputError(f'data.classes: not given, and {self.root}/dataset.json names none; '
                             f'give the class names in the order of their indices, such as '
                             f"data.classes=['background', 'cell']")
        return classes

    def _stated(self, key: str) -> Any:
        """What the config states, or else dataset.json, or None."""
        return self._json.get(key) if getattr(self, key) is None else getattr(self, key)

    @functools.cached_property
    def _root(self) -> pathlib.Path:
        root = pathlib.Path(os.path.expanduser(self.root))
        # Not `root.is_dir()`, which raises OSError for names that are too long.
        if not self.root or not os.path.isdir(root):
            raise InputError(f'data.root: {self.root!r} is no folder; give the folder that holds '
                             f'images/ and masks/, or train/, val/ and test/ with these in each')
        return root

    @functools.cached_property
    def _json(self) -> dict:
        path = self._root / 'dataset.json'
        return read_json(path) if path.is_file() else {}


def _check_names(key: str, given: Mapping, known: set[str]):
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f'{key}: {unknown[0]} unknown; {nearest(unknown[0], known)}')
