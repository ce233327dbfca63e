"""A folder of images and masks."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxseg.data.decode import check_image, read_image
from jaxseg.data.file_info import file_info
from jaxseg.data.labels import OPTIONS, Labels
from jaxseg.data.listing import describe_skipped
from jaxseg.data.masks import RawMask, check_mask, read_mask
from jaxseg.data.pairs import Listing, Pair
from jaxseg.data.spec import IMAGENET_MEAN, IMAGENET_STD, DatasetSpec, nothing_labelled, read_json
from jaxseg.data.splits import check_fractions
from jaxseg.data.value_range import decide_value_range
from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt, check_fields, nearest

# Decoding this many pairs before training takes seconds; of larger sets a sample is decoded, and all headers are read.
DECODED = 2000


@dataclasses.dataclass(frozen=True)
class Folder:
    """The user's own images and masks, paired by their stems.

    Layouts, `images` and `masks` being the names of the two folders:
      `root/SPLIT/images/STEM.*` and `root/SPLIT/masks/STEM.*`; or
      `root/images/SPLIT/STEM.*` and `root/masks/SPLIT/STEM.*`; or
      `root/images/STEM.*` and `root/masks/STEM.*` with lists `root/SPLIT.txt` of stems, or with
      `splits={'train': 0.8, 'val': 0.1, 'test': 0.1}`: shares of the stems. The split of a stem depends on the stem,
      `split_seed` and the shares alone (see `splits.assign_split`): new images move no other one.
    An image in two of the splits train, val and test is a problem: for lists any stem, for folders equal files.

    `classes`, `colors`, `ignore_index` and `value_range` come from `root/dataset.json` where the config does not state
    them, `mean` and `std` (one a channel, after `value_range` was mapped to 0-1) and `name` always; void is 255 where
    neither states it. `naming` may hold `image_suffix` and `mask_suffix`, the ends of the stems that pairs do not share
    (`{'mask_suffix': '_mask'}` pairs a.jpg with a_mask.png). `labels` may hold the options of
    `jaxseg.data.labels.Labels`.

    The files are listed when they are first needed, once for each instance.

    Attributes:
      channels: of the images; any number, where the files have as many.
      value_range: pixel values that stand for black and white, one pair for the whole data set. By default (0, 255) if
        all images are 8-bit, and (0, 65535) if there are 16-bit ones; for floating-point and 32-bit images it must be
        stated, and `jaxseg inspect` prints the measured range.
      overlapping: masks of different classes may overlap. `masks/CLASS/STEM.*` (in each of the layouts above) are then
        binary files; of a single class `masks/STEM.*` will do. Samples have masks (H, W, classes) of 0, 1 and void.
      missing_masks: with overlapping masks, 'absent' says that no file for a class means that it does not occur in the
        image; 'refuse' calls it a problem.

    Raises:
      InputError: a field is out of range; when a source is made: no such folder or split, an empty split, an image
        without a mask or the reverse, a dataset.json or options that cannot be used.
    """

    root: str
    images: str = 'images'
    masks: str = 'masks'
    classes: Sequence[str] | None = None
    colors: Sequence[Sequence[int]] | None = None
    ignore_index: int | None = None
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
        if self.splits:
            check_fractions(self.splits)
        if self.missing_masks != 'refuse' and not self.overlapping:
            raise InputError(f'data.missing_masks: {self.missing_masks!r} has no effect without overlapping masks; remove '
                             f'it, or set data.overlapping=true')

    @functools.cached_property
    def spec(self) -> DatasetSpec:
        """The description, from the config and dataset.json."""
        given, grey = self._json, self.channels != 3
        stated = self._stated('ignore_index')
        spec = DatasetSpec(
            name=given.get('name', self._root.name), classes=self._classes, colors=self._stated('colors') or (),
            ignore_index=255 if stated is None else stated,
            mean=given.get('mean', (0.5,) * self.channels if grey else IMAGENET_MEAN),
            std=given.get('std', (0.25,) * self.channels if grey else IMAGENET_STD),
            splits=self._listing.splits, value_range=self._value_range,
            overlapping=self.overlapping)
        if spec.channels != self.channels:
            raise InputError(f'{self._root}/dataset.json: {spec.channels} values in mean and std, but data.channels is '
                             f'{self.channels}; give one for each channel')
        return spec

    def source(self, split: str) -> 'FolderSource':
        """Random access to a split."""
        problems = self._listing.split(split).problems
        if problems:
            raise InputError(problems[0])
        return self.paired(split)

    def paired(self, split: str) -> 'FolderSource':
        """The pairs of a split, whatever else its folders hold."""
        listed = self._listing.split(split)
        return FolderSource(split, listed.pairs, self._labels, self.spec, describe_skipped(listed.skipped))

    def problems(self, split: str) -> list[str]:
        """What is wrong with the listing of a split: images without masks and the reverse, an empty split."""
        return list(self._listing.split(split).problems)

    @functools.cached_property
    def _labels(self) -> Labels:
        """How masks become class indices."""
        _check_names('data.labels', self.labels, set(OPTIONS))
        options = dict(self.labels)
        options.setdefault('ignore_color', self._json.get('ignore_color'))
        if self._stated('ignore_index') is not None:
            options.setdefault('binary', False)
        labels = Labels(self.spec, **options, stated_colors=bool(self._stated('colors')))
        if labels.ignore_color in self.spec.colors:
            name = self.spec.classes[self.spec.colors.index(labels.ignore_color)]
            raise InputError(f'ignore_color: {labels.ignore_color} is also the color of the class {name!r}; give void a '
                             f'color of its own')
        return labels if self.overlapping else labels.survey(self._some_masks())

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

    def _some_masks(self) -> Iterator[RawMask]:
        """About 32 masks spread over all splits: enough to decide how masks store classes."""
        paths = [pair.masks[0] for pair in self._all_pairs()]
        for path in paths[::max(1, len(paths) // 32)]:
            with contextlib.suppress(InputError):  # It is reported where the file is checked.
                yield read_mask(path)

    @functools.cached_property
    def _listing(self) -> Listing:
        _check_names('data.naming', self.naming, {'image_suffix', 'mask_suffix'})
        suffixes = (self.naming.get('image_suffix', ''), self.naming.get('mask_suffix', ''))
        return Listing(self._root, self.images, self.masks, suffixes, self.splits, self.split_seed,
                       classes=tuple(self._classes) if self.overlapping else None, absent=self.missing_masks == 'absent')

    @property
    def _classes(self) -> Sequence[str]:
        classes = self._stated('classes')
        if not classes:
            raise InputError(f"data.classes: not given, and {self.root}/dataset.json names none; give the class names in "
                             f"the order of their indices, such as data.classes = ['background', 'cell']")
        return classes

    def _stated(self, key: str) -> Any:
        """What the config states, or else dataset.json, or None."""
        return self._json.get(key) if getattr(self, key) is None else getattr(self, key)

    @functools.cached_property
    def _root(self) -> pathlib.Path:
        root = pathlib.Path(self.root).expanduser()
        if not self.root or not root.is_dir():
            raise InputError(f'data.root: {self.root!r} is no folder; give the folder that holds {self.images}/ and '
                             f'{self.masks}/, or train/, val/ and test/ with these two in each')
        return root

    @functools.cached_property
    def _json(self) -> dict:
        path = self._root / 'dataset.json'
        return read_json(path) if path.is_file() else {}


class FolderSource:
    """The pairs of one split, decoded when asked for.

    Attributes:
      pairs: the files of each sample.
      skipped: what the folders hold besides, as text: `3 left out: 2 .txt, 1 hidden or system`; empty if nothing.
    """

    def __init__(self, split: str, pairs: Sequence[Pair], labels: Labels, spec: DatasetSpec, skipped: str = ''):
        self.pairs, self.skipped = tuple(pairs), skipped
        self._split, self._labels, self._spec = split, labels, spec

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """The stem of every pair, in order."""
        return tuple(pair.name for pair in self.pairs)

    def sizes(self) -> set[tuple[int, int]]:
        """Every (height, width) that occurs, read from the headers."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return set(pool.map(lambda pair: file_info(pair.image).size, self.pairs))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample.

        Raises:
          InputError: a file cannot be decoded, sizes differ, or a label or colour is outside the classes.
        """
        pair = self.pairs[index]
        image, mask = self._image(pair), self._mask(pair)
        if image.shape[:2] != mask.shape[:2]:
            raise InputError(_sizes(pair, pair.masks[0], image.shape, mask.shape))
        return {'image': image, 'mask': mask, 'name': pair.name}

    def check(self, index: int) -> list[str]:
        """All that is wrong with one pair."""
        return self._examine(index)[0]

    def check_files(self):
        """Reads the headers of all pairs and decodes them all, or a seeded sample of 2,000.

        Raises:
          InputError: the first problem, and how many more there are; or no labelled pixel in what was decoded.
        """
        decoded = np.random.default_rng(0).permutation(len(self))[:DECODED]
        rest = sorted(set(range(len(self))) - set(decoded.tolist()))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            problems = [problem for found in pool.map(lambda index: _header_problems(self.pairs[index], self._spec), rest)
                        for problem in found]
            labelled = False
            for found, some in pool.map(self._examine, sorted(decoded.tolist())):
                problems += found
                labelled |= some
        if problems:
            more = f' (and {len(problems) - 1} more problems: jaxseg inspect lists them all)' if problems[1:] else ''
            raise InputError(problems[0] + more)
        if not labelled:
            raise InputError(f'split {self._split!r}: {nothing_labelled(self._spec, len(decoded))}')

    def _image(self, pair: Pair) -> np.ndarray:
        return read_image(pair.image, self._spec.channels, self._spec.value_range)

    def _mask(self, pair: Pair) -> np.ndarray:
        """(H, W), or (H, W, classes) of a data set with overlapping masks."""
        if not self._spec.overlapping:
            return self._labels.decode(read_mask(pair.masks[0]), str(pair.masks[0]))
        found = {path: self._labels.decode_binary(read_mask(path), str(path)) for path in pair.masks if path is not None}
        for path, mask in found.items():
            if mask.shape != next(iter(found.values())).shape:
                raise InputError(_sizes(pair, path, next(iter(found.values())).shape, mask.shape))
        absent = np.zeros(next(iter(found.values())).shape if found else file_info(pair.image).size, np.uint8)
        return np.stack([absent if path is None else found[path] for path in pair.masks], -1)

    def _examine(self, index: int) -> tuple[list[str], bool]:
        """All that is wrong with one pair, and whether a pixel of it is labelled."""
        pair, problems, arrays = self.pairs[index], [], {}
        for part, read in (('image', self._image), ('mask', self._mask)):
            try:
                arrays[part] = read(pair)
            except InputError as error:
                problems.append(str(error))
        if len(arrays) == 2 and arrays['image'].shape[:2] != arrays['mask'].shape[:2]:
            problems.append(_sizes(pair, pair.masks[0], arrays['image'].shape, arrays['mask'].shape))
        return problems, 'mask' in arrays and bool((arrays['mask'] != self._spec.ignore_index).any())


def _check_names(key: str, given: Mapping, known: set[str]):
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f'{key}: {unknown[0]} unknown; {nearest(unknown[0], known)}')


def _header_problems(pair: Pair, spec: DatasetSpec) -> list[str]:
    try:
        image = file_info(pair.image)
        check_image(image, spec.channels, spec.value_range, str(pair.image))
        masks = {path: file_info(path) for path in pair.masks if path is not None}
        for path, mask in masks.items():
            check_mask(mask, str(path))
    except InputError as error:
        return [str(error)]
    return [_sizes(pair, path, image.size, mask.size) for path, mask in masks.items() if image.size != mask.size]


def _sizes(pair: Pair, path: pathlib.Path | None, image: Sequence[int], mask: Sequence[int]) -> str:
    return (f'{path or pair.name}: mask of {mask[1]}x{mask[0]} pixels for an image of {image[1]}x{image[0]} '
            f'({pair.image}); export both at the same size')
