"""Images with one binary mask file an object, as of cells and nuclei."""

import collections
import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np

from jaxseg.data.file_dataset import FileDataset
from jaxseg.data.file_info import FileInfo, file_info
from jaxseg.data.labels import Labels
from jaxseg.data.listing import Files, by_stem, images_by_stem, list_folders, list_images
from jaxseg.data.mask_reader import different_sizes, mask_header_problems
from jaxseg.data.masks import read_mask
from jaxseg.data.pairs import Listing, Pair
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

# What may follow the stem of an image in that of a mask.
_SEPARATORS = '_-. '
NOBODY = 65535


@dataclasses.dataclass(frozen=True)
class ObjectMasks(FileDataset):
    """Binary masks, a file for each object, merged into the classes background and object.

    Layouts: a folder for each sample, `root/STEM/images/STEM.*` and `root/STEM/masks/*` or
    `root/SPLIT/STEM/...` (Data Science Bowl 2018); or those of `folder.Folder`, where `masks` has a
    folder `STEM` for each image, or files `STEM_0.*`, `STEM_1.*`, ... (after _, -, a dot or a
    space). Masks hold 0 and 1, or 0 and 255. A folder of masks without files states that the image
    shows no object.

    Attributes:
      root, colors, channels, value_range, splits, split_seed: see `FileDataset`.
      classes: two names, by default background and object, with touching='border' a third, border.
      naming: may hold `images`, `masks`, `image_suffix`, `lists` and `group`; see `folder.Folder`.
      touching: what the pixels of an object become that overlap another object or have one among
        their eight neighbours: 'object', so that masks are the plain union, are scored like those
        of others, and nothing is changed that was annotated; 'void', which is neither learnt nor
        scored; or a class 'border', by which a model can tell objects apart (Ronneberger et al.
        2015 weighted such pixels). Where two objects touch, this line is one pixel wide in each.
      missing_masks: 'absent' states that an image without mask shows no object; 'refuse' calls it a
        problem.

    Raises:
      InputError: see `FileDataset`.
    """

    touching: Literal['object', 'void', 'border'] = 'object'
    missing_masks: Literal['refuse', 'absent'] = 'refuse'

    naming_keys = frozenset({'images', 'masks', 'image_suffix', 'lists', 'group'})
    holds = 'images/ and masks/, or a folder with these for each sample'

    @functools.cached_property
    def _listing(self) -> '_Listing':
        return _Listing(self._root, **self._names, fractions=self.splits, seed=self.split_seed,
                        absent=self.missing_masks == 'absent')

    @functools.cached_property
    def _masks(self) -> 'ObjectFiles':
        return ObjectFiles(self.spec.ignore_index if self.touching == 'void' else
                           2 if self.touching == 'border' else 1)

    @functools.cached_property
    def _classes(self) -> Sequence[str]:
        default = ('background', 'object', 'border')[:3 if self.touching == 'border' else 2]
        classes = self._stated('classes') or default
        if len(classes) != len(default):
            raise InputError(f'data.classes: {list(classes)}; with data.touching='
                             f'{self.touching!r} there are {len(default)} classes, give a name for '
                             f'each, such as {list(default)}')
        return classes


@dataclasses.dataclass(frozen=True)
class ObjectFiles:
    """Merges the masks of objects; `touching` is the label of pixels where two of them touch."""

    touching: int

    def read(self, pair: Pair) -> np.ndarray:
        """See `mask_reader.MaskReader`."""
        labels = Labels(DatasetSpec(name='objects', classes=('object',), overlapping=True))
        size = file_info(pair.image).size
        # The first and the last object of each pixel: two numbers where objects overlap.
        first, last = np.full(size, NOBODY, np.uint16), np.zeros(size, np.uint16)
        for number, path in enumerate(pair.masks, 1):
            inside = labels.decode_binary(read_mask(path), str(path)) == 1
            if inside.shape != size:
                raise InputError(different_sizes(pair, path, size, inside.shape))
            first[inside & (first == NOBODY)] = number
            last[inside] = number
        mask = (last > 0).astype(np.uint8)
        if self.touching != 1:
            around = np.ones((3, 3), np.uint8)
            several = cv2.erode(first, around) != cv2.dilate(last, around)
            mask[(mask > 0) & several] = self.touching
        return mask

    def header_problems(self, pair: Pair, image: FileInfo) -> list[str]:
        """See `mask_reader.MaskReader`."""
        return mask_header_problems(pair, image)

    def stored_bytes(self, pair: Pair) -> int:
        """See `mask_reader.MaskReader`."""
        return sum(os.stat(path).st_size for path in pair.masks)


@dataclasses.dataclass(frozen=True)
class _Listing(Listing):
    """Images, and the files of the masks of their objects."""

    remedy = ("add or remove the files (a mask has the stem of its image or begins with it), or "
              "set data.missing_masks='absent' if no mask means that there is no object")

    @functools.cached_property
    def _sample_splits(self) -> list[str] | None:
        """With a folder for each sample the splits; none if all are in `root`; otherwise None."""
        folders = list_folders(self.root)
        if self.images in folders or self.images == '.':
            return None
        if any(self._is_sample(self.root / name) for name in folders):
            return []
        return [name for name in folders if any(
            self._is_sample(self.root / name / inner) for inner in list_folders(self.root / name))
        ] or None

    def _is_sample(self, folder: pathlib.Path) -> bool:
        place = folder / self.images
        return place.is_dir() and folder.name in images_by_stem(place, self.image_suffix).by_stem

    @functools.cached_property
    def _outer(self) -> list[str]:
        return super()._outer if self._sample_splits is None else self._sample_splits

    def _place(self, split: str, folder: str, layout: str) -> pathlib.Path:
        if self._sample_splits is None:
            return super()._place(split, folder, layout)
        return self.root / self._named.get(split, split) if layout == 'outer' else self.root

    def _files(self, folder: pathlib.Path, suffix: str) -> Files:
        if self._sample_splits is None:
            return super()._files(folder, suffix)
        places = [folder / name / self.images for name in list_folders(folder)]
        paths = [path for place in places if place.is_dir() for path in list_images(place)[0]]
        return by_stem([path for path in paths if path.stem.endswith(suffix)],
                       collections.Counter(), suffix)

    def _masks(self, place: pathlib.Path, images: Mapping[str, pathlib.Path]
               ) -> tuple[dict[str, tuple[pathlib.Path, ...]], list[str], collections.Counter]:
        """The masks of every stem, problems, and files left out."""
        masks = collections.defaultdict(list, {stem: [] for stem in images if self.absent})
        skipped = collections.Counter()
        if self._sample_splits is None:
            folders = {name: place / name for name in list_folders(place)}
            files, skipped = list_images(place)
            skipped['folder'] = 0
        else:
            folders, files = {stem: images[stem].parents[1] / self.masks for stem in images}, []
        for stem, folder in folders.items():
            if folder.is_dir():
                found, others = list_images(folder)
                masks[stem] += found
                skipped += others
        for path in files:
            masks[_owner(path.stem, images)].append(path)
        return {stem: tuple(paths) for stem, paths in masks.items()}, [], skipped


def _owner(stem: str, images: Mapping[str, pathlib.Path]) -> str:
    """The longest stem of an image that the stem of a mask begins with, or else itself."""
    ends = [end for end in range(len(stem), 0, -1)
            if end == len(stem) or stem[end] in _SEPARATORS]
    return next((stem[:end] for end in ends if stem[:end] in images), stem)
