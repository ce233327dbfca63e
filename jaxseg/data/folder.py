"""A folder of images and masks."""

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.data.decode import read_image, read_mask, size_of
from jaxseg.data.labels import Labels
from jaxseg.data.pairs import Pair, find_pairs, split_names
from jaxseg.data.spec import IMAGENET_MEAN, IMAGENET_STD, DatasetSpec, read_json
from jaxseg.errors import InputError

# Decoding this many pairs before training takes seconds; of larger sets a sample is decoded, and all headers are read.
DECODED = 2000


@dataclasses.dataclass(frozen=True)
class Folder:
    """The user's own images and masks, paired by their stems.

    Layouts, `images` and `masks` being the names of the two folders:
      `root/SPLIT/images/STEM.*` and `root/SPLIT/masks/STEM.*`; or
      `root/images/SPLIT/STEM.*` and `root/masks/SPLIT/STEM.*`; or
      `root/images/STEM.*` and `root/masks/STEM.*` with lists `root/SPLIT.txt` of stems, or with
      `splits={'train': 0.8, 'val': 0.1, 'test': 0.1}`: seeded fractions of the stems.

    `classes`, `colors` and `ignore_index` come from `root/dataset.json` where the config does not say them, `mean` and `std`
    (of values in 0-1, one a channel) and `name` always; void is 255 where neither says it.
    `naming` may hold `image_suffix` and `mask_suffix`, the ends of the stems that pairs do not share
    (`{'mask_suffix': '_mask'}` pairs a.jpg with a_mask.png). `labels` may hold `label_map`, `reduce_zero_label`, `binary`
    and `ignore_color`; see `jaxseg.data.labels.Labels`. Masks of two classes that hold 0 and 255 need `binary=True` (255 is
    class 1) or a stated `ignore_index` (255 is void): they are refused otherwise. Images are read with `channels` 1, 3 or 4.

    Raises:
      InputError: when a source is made: no such folder or split, an empty split, an image without a mask or the reverse, a
        dataset.json or options that cannot be used.
    """

    root: str
    images: str = 'images'
    masks: str = 'masks'
    classes: Sequence[str] | None = None
    colors: Sequence[Sequence[int]] | None = None
    ignore_index: int | None = None
    channels: int = 3
    splits: Mapping[str, float] | None = None
    split_seed: int = 0
    naming: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def spec(self) -> DatasetSpec:
        """The description, from the config and dataset.json."""
        given = self._json()
        classes = self.classes or given.get('classes')
        if not classes:
            raise InputError(f"data.classes: not given, and {self.root}/dataset.json names none; give the class names in "
                             f"the order of their indices, such as data.classes = ['background', 'cell']")
        stated, grey = self._stated_void(), self.channels != 3
        spec = DatasetSpec(
            name=given.get('name', pathlib.Path(self.root).name), classes=classes,
            colors=self.colors or given.get('colors', ()), ignore_index=255 if stated is None else stated,
            mean=given.get('mean', (0.5,) * self.channels if grey else IMAGENET_MEAN),
            std=given.get('std', (0.25,) * self.channels if grey else IMAGENET_STD),
            splits=tuple(split_names(self._root(), self.images, self._suffixes()[0], self.splits)))
        if spec.channels != self.channels:
            raise InputError(f'{self.root}/dataset.json: {spec.channels} values in mean and std, but data.channels is '
                             f'{self.channels}; give one for each channel')
        return spec

    def source(self, split: str) -> 'FolderSource':
        """Random access to a split."""
        _, problems = self._pairs(split)
        if problems:
            raise InputError(problems[0])
        return self.paired(split)

    def paired(self, split: str) -> 'FolderSource':
        """The pairs of a split, whatever else its folders hold."""
        return FolderSource(self._pairs(split)[0], self.labelling(), self.channels)

    def problems(self, split: str) -> list[str]:
        """What is wrong with the listing of a split: images without masks and the reverse, an empty split."""
        return self._pairs(split)[1]

    def labelling(self) -> Labels:
        """How masks become class indices."""
        known = {field.name for field in dataclasses.fields(Labels)} - {'spec'}
        if set(self.labels) - known:
            raise InputError(f'data.labels: {", ".join(set(self.labels) - known)} unknown; known: {", ".join(known)}')
        options = dict(self.labels)
        options.setdefault('ignore_color', self._json().get('ignore_color'))
        if self._stated_void() is not None:
            options.setdefault('binary', False)
        return Labels(self.spec, **options)

    def _stated_void(self) -> int | None:
        return self._json().get('ignore_index') if self.ignore_index is None else self.ignore_index

    def _pairs(self, split: str) -> tuple[list[Pair], list[str]]:
        return find_pairs(self._root(), split, folders=(self.images, self.masks), suffixes=self._suffixes(),
                          fractions=self.splits, seed=self.split_seed)

    def _suffixes(self) -> tuple[str, str]:
        known = {'image_suffix', 'mask_suffix'}
        if set(self.naming) - known:
            raise InputError(f'data.naming: {", ".join(set(self.naming) - known)} unknown; known: {", ".join(known)}')
        return self.naming.get('image_suffix', ''), self.naming.get('mask_suffix', '')

    def _root(self) -> pathlib.Path:
        root = pathlib.Path(self.root).expanduser()
        if not root.is_dir():
            raise InputError(f'data.root: {self.root} is no folder; give the folder that holds {self.images}/ and '
                             f'{self.masks}/, or train/, val/ and test/ with these two in each')
        return root

    def _json(self) -> dict:
        path = self._root() / 'dataset.json'
        return read_json(path) if path.is_file() else {}


class FolderSource:
    """The pairs of one split, decoded when asked for."""

    def __init__(self, pairs: Sequence[Pair], labels: Labels, channels: int):
        self.pairs, self._labels, self._channels = tuple(pairs), labels, channels

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """The stem of every pair, in order."""
        return tuple(pair.name for pair in self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample.

        Raises:
          InputError: a file cannot be decoded, sizes differ, or a label or colour is outside the classes.
        """
        pair = self.pairs[index]
        image = read_image(pair.image, self._channels)
        mask = self._labels.decode(read_mask(pair.mask), str(pair.mask))
        if image.shape[:2] != mask.shape:
            raise InputError(_sizes(pair, image.shape, mask.shape))
        return {'image': image, 'mask': mask, 'name': pair.name}

    def check(self, index: int) -> list[str]:
        """All that is wrong with one pair."""
        pair, problems, shapes = self.pairs[index], [], {}
        for part, read in (('image', lambda: read_image(pair.image, self._channels)),
                           ('mask', lambda: self._labels.decode(read_mask(pair.mask), str(pair.mask)))):
            try:
                shapes[part] = read().shape[:2]
            except InputError as error:
                problems.append(str(error))
        if len(shapes) == 2 and shapes['image'] != shapes['mask']:
            problems.append(_sizes(pair, shapes['image'], shapes['mask']))
        return problems

    def check_files(self):
        """Reads the headers of all pairs and decodes them all, or a seeded sample of 2,000.

        Raises:
          InputError: the first problem, and how many more there are.
        """
        decoded = np.random.default_rng(0).permutation(len(self))[:DECODED]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            rest = sorted(set(range(len(self))) - set(decoded.tolist()))
            headers = pool.map(lambda index: _header_problems(self.pairs[index]), rest)
            problems = [problem for found in (*headers, *pool.map(self.check, sorted(decoded.tolist())))
                        for problem in found]
        if problems:
            more = f' (and {len(problems) - 1} more problems: jaxseg inspect lists them all)' if problems[1:] else ''
            raise InputError(problems[0] + more)


def _header_problems(pair: Pair) -> list[str]:
    try:
        image, mask = size_of(pair.image), size_of(pair.mask, mask=True)
    except InputError as error:
        return [str(error)]
    return [] if image == mask else [_sizes(pair, image, mask)]


def _sizes(pair: Pair, image: Sequence[int], mask: Sequence[int]) -> str:
    return (f'{pair.mask}: mask of {mask[1]}x{mask[0]} pixels for an image of {image[1]}x{image[0]} ({pair.image}); '
            f'export both at the same size')
