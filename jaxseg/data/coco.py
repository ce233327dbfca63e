"""Images with COCO annotations: outlines or run lengths of objects in JSON."""

import collections
import dataclasses
import filecmp
import functools
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from jaxseg.data.coco_file import CocoFile, CocoImage, read_coco
from jaxseg.data.drawn_masks import DrawnMasks
from jaxseg.data.file_dataset import FileDataset
from jaxseg.data.listing import check_folder_name, describe_names, list_folders
from jaxseg.data.pairs import Listed, Pair
from jaxseg.data.splits import STANDARD_SPLITS, assign_split, compile_group, group_of, split_order
from jaxseg.errors import InputError
from jaxseg.fields import nearest

BACKGROUND = 'background'
# Files of COCO that hold no objects.
_OTHER = re.compile('captions_|person_keypoints_|stuff_|panoptic_|image_info_|dataset$')
# Images that decide in which folder all of them are.
_PROBED = 50


@dataclasses.dataclass(frozen=True)
class Coco(FileDataset):
    """COCO instances (Lin et al. 2014) as semantic masks.

    Where `annotations` does not name them, the JSON files are `root/SPLIT/_annotations.coco.json`
    (Roboflow), or those in `root/annotations` and `root`: `instances_SPLIT.json`, with or without
    `instances_` and a year; 'valid' and 'validation' are the split val. Images are in the folder
    of `naming={'images': FOLDER}`, or in the one of these that has most of them: that of the JSON
    file, `images/SPLIT`, `SPLIT/images`, `SPLIT` (with the year, too), `images`, `root`. Images
    that no JSON file names are left out.

    Objects of crowds (`iscrowd`) are void. Where objects overlap the smaller one is on top. Which
    pixels an outline holds is stated in `jaxseg/data/shapes.py`, what is left out of a file in
    `coco_file.read_coco`; a polygon may end outside of the image, but not lie there.

    Attributes:
      root, colors, channels, value_range, splits, split_seed: see `FileDataset`. `splits` needs one
        JSON file, and names in place of stems: the `file_name` without suffix, its folders joined
        by _.
      classes: 'background' and the categories in the order of their ids; or background under any
        name and then some of the categories, where objects of others are background, too. With
        overlapping masks there is no background.
      naming: may hold `images` and `group`.
      annotations: the JSON file of each split, relative to root; or the only one.
      overlapping: each category has a mask of its own, for overlapping objects (multilabel
        segmentation); void of a crowd is in the mask of its category.

    Raises:
      InputError: see `FileDataset`; a JSON file that cannot be used, all of its faults at once by
        `jaxseg inspect`.
    """

    annotations: str | Mapping[str, str] | None = None
    overlapping: bool = False

    naming_keys = frozenset({'images', 'group'})
    holds = 'the images and the JSON files'

    @functools.cached_property
    def _listing(self) -> '_Listing':
        names = self._names
        if 'images' in names:
            check_folder_name(names['images'], 'data.naming.images', self._root)
        if 'group' in names:
            compile_group(names['group'], self.splits)
        files = self._annotation_files()
        if self.splits and len(files) > 1:
            raise InputError(f'data.splits: {len(files)} JSON files state splits: '
                             f'{", ".join(sorted(files))}; remove data.splits, or name one file in '
                             f'data.annotations')
        return _Listing(self._root, files, names.get('images'), names.get('group'), self.splits,
                        self.split_seed)

    @functools.cached_property
    def _masks(self) -> DrawnMasks:
        drawings = {}
        for split in self._listing.files:
            file, folder = self._listing.file(split), self._listing.folder(split)
            drawings.update({(self._listing.files[split], folder / image.file_name): image.drawing
                             for image in file.images})
        return DrawnMasks(self.spec, drawings)

    @functools.cached_property
    def _classes(self) -> Sequence[str]:
        known = tuple(dict.fromkeys(name for split in self._listing.files
                                    for name in self._listing.file(split).categories))
        stated = self._stated('classes')
        if not stated:
            others = [name for name in known if name != BACKGROUND]
            return tuple(others if self.overlapping else [BACKGROUND, *others])
        named = stated if self.overlapping else stated[1:]
        unknown = [name for name in named if name not in known]
        if unknown:
            raise InputError(f'data.classes: no category {unknown[0]!r}; '
                             f'{nearest(unknown[0], known)}')
        return stated

    def _annotation_files(self) -> dict[str, pathlib.Path]:
        """The JSON file of every split, in their order."""
        if isinstance(self.annotations, str):
            files = {_split_of(pathlib.Path(self.annotations)): self.annotations}
        elif self.annotations is not None:
            files = dict(self.annotations)
        else:
            files = find_annotations(self._root)
        paths = {split: self._root / files[split] for split in sorted(files, key=split_order)}
        lost = [path for path in paths.values() if not os.path.isfile(path)]
        if lost:
            raise InputError(f'{lost[0]}: no such file; correct data.annotations')
        if not paths:
            raise InputError(f'{self._root}: no COCO file annotations/instances_SPLIT.json, '
                             f'SPLIT.json or SPLIT/_annotations.coco.json; name them in '
                             f"data.annotations, such as {{'train': 'train.json'}}")
        return paths


def find_annotations(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """The JSON files that are COCO's by their names, by split, relative to root; see `Coco`.

    Raises:
      InputError: two files are of one split.
    """
    found = [(_standard(name), pathlib.Path(name, '_annotations.coco.json'))
             for name in list_folders(root)
             if (root / name / '_annotations.coco.json').is_file()]
    if not found:
        paths = [path.relative_to(root) for folder in (root / 'annotations', root)
                 if folder.is_dir() for path in sorted(folder.glob('*.json'))]
        found = [(_split_of(path), path) for path in paths
                 if not _OTHER.match(path.stem) and not path.name.startswith('.')]
    files = {}
    for split, path in found:
        if split in files:
            raise InputError(f'{root}: {files[split]} and {path} are both of the split {split!r}; '
                             f"name the files in data.annotations, such as {{{split!r}: '{path}'}}")
        files[split] = path
    return files


def _split_of(path: pathlib.Path) -> str:
    if path.name == '_annotations.coco.json':
        return _standard(path.parent.name or 'train')
    name = path.stem.removeprefix('instances_')
    return _standard(re.sub(r'_?(19|20)\d\d$', '', name) or name)


def _standard(split: str) -> str:
    return 'val' if split in ('valid', 'validation') else split


@dataclasses.dataclass(frozen=True)
class _Listing:
    """The images of JSON files; each file is parsed once, when needed.

    Attributes:
      root: the folder of the data set.
      files: the JSON file of every split; with fractions there is one, and its split means nothing.
      images, group, fractions, seed: see `pairs.Listing`.
    """

    root: pathlib.Path
    files: Mapping[str, pathlib.Path]
    images: str | None
    group: str | None
    fractions: Mapping[str, float] | None
    seed: int

    @functools.cached_property
    def splits(self) -> tuple[str, ...]:
        """See `file_dataset.Splits`."""
        return tuple(sorted(self.fractions or self.files, key=split_order))

    def split(self, split: str) -> Listed:
        """See `file_dataset.Splits`."""
        if split not in self.splits:
            raise InputError(f'{self.root}: no split {split!r}; known: {", ".join(self.splits)}; '
                             f'name its JSON file in data.annotations')
        if split not in self._listed:
            self._listed[split] = self._list(split)
        return self._listed[split]

    def file(self, split: str) -> CocoFile:
        """The JSON file of a split."""
        path = self.files[split]
        if path not in self._parsed:
            self._parsed[path] = read_coco(path)
        return self._parsed[path]

    def folder(self, split: str) -> pathlib.Path:
        """Where the images of a JSON file are."""
        if self.images is not None:
            return self.root / self.images
        path, names = self.files[split], [image.file_name for image in self.file(split).images]
        named = (split, path.stem.removeprefix('instances_'))
        places = dict.fromkeys([
            path.parent, *(self.root / 'images' / name for name in named),
            *(self.root / name / 'images' for name in named), *(self.root / name for name in named),
            self.root / 'images', self.root])
        return max(places, key=lambda place: sum(
            os.path.isfile(place / name) for name in names[:_PROBED]))

    @functools.cached_property
    def _parsed(self) -> dict[pathlib.Path, CocoFile]:
        return {}

    @functools.cached_property
    def _listed(self) -> dict[str, Listed]:
        return {}

    def _list(self, split: str) -> Listed:
        key = next(iter(self.files)) if self.fractions else split
        file, folder = self.file(key), self.folder(key)
        images = self._chosen(split, file.images)
        pairs = [Pair(folder / image.file_name, (self.files[key],), image.name) for image in images]
        lost = [image.file_name for image, pair in zip(images, pairs, strict=True)
                if not os.path.isfile(pair.image)]
        there = tuple(pair for pair in pairs if os.path.isfile(pair.image))
        problems = [*file.problems, *describe_names(
            self.root, lost, f'images of {self.files[key].name} are not', folder, (),
            'add them, or set data.naming.images to their folder'), *self._shared(split, there)]
        if not pairs and not problems:
            problems = [f'{self.files[key]}: split {split!r} is empty; the file names '
                        f'{len(file.images)} images; give more, or a larger share in data.splits']
        return Listed(there, tuple(problems), collections.Counter(file.skipped))

    def _chosen(self, split: str, images: Sequence[CocoImage]) -> Sequence[CocoImage]:
        if not self.fractions:
            return images
        pattern = compile_group(self.group, self.fractions) if self.group is not None else None
        keys = [group_of(image.name, pattern) if pattern else image.name for image in images]
        return [image for image, key in zip(images, keys, strict=True)
                if assign_split(key, self.fractions, self.seed) == split]

    def _shared(self, split: str, pairs: Sequence[Pair]) -> list[str]:
        """Images of equal names and files in two of the splits train, val and test."""
        others = [name for name in self.files if name != split and name in STANDARD_SPLITS]
        if self.fractions or split not in STANDARD_SPLITS:
            return []
        own, problems = {pair.name: pair.image for pair in pairs}, []
        for other in others:
            folder = self.folder(other)
            files = {image.name: folder / image.file_name for image in self.file(other).images}
            same = [name for name in own if name in files and os.path.isfile(files[name])
                    and filecmp.cmp(own[name], files[name], shallow=False)]
            problems += describe_names(self.root, same, f'images of {split!r} are also in '
                                       f'{other!r},', self.root, (), 'keep each in one split')
        return problems
