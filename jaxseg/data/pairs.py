"""Which image belongs to which masks, and to which split."""

import collections
import dataclasses
import filecmp
import functools
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg.data.decode import IMAGE_SUFFIXES
from jaxseg.data.listing import (
    Files,
    check_folder_name,
    describe_names,
    images_by_stem,
    list_folders,
    list_images,
    read_list,
    resolve_entry,
)
from jaxseg.data.splits import (
    STANDARD_SPLITS,
    SYNONYMS,
    assign_split,
    compile_group,
    group_of,
    split_order,
    standard_names,
)
from jaxseg.errors import InputError


class Pair(NamedTuple):
    """An image file, its mask file (overlapping masks: one a class, or None) and their stem."""

    image: pathlib.Path
    masks: tuple[pathlib.Path | None, ...]
    name: str


class Listed(NamedTuple):
    """Pairs in the order of stems or of a list; problems; counts of files left out by kind."""

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]
    skipped: collections.Counter


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder of images and masks; each folder is listed once, when needed.

    Attributes:
      root: the folder.
      images, masks: names of the folders of images and masks, '.' for the one above; both may be
        the same if `mask_suffix` tells masks from images.
      image_suffix, mask_suffix: taken off the stems of images and of masks before they are paired.
      lists: the folder of the list files; '.' is `root`, whose subfolders may be splits instead.
      group: a regular expression; stems in which it finds the same text are in one split.
      fractions, seed: shares of the splits, for `splits.assign_split`.
      classes: with overlapping masks the names of the classes, whose folders hold their masks;
        otherwise None.
      absent: an image without a mask of some class does not show that class; otherwise this is a
        problem.
    """

    root: pathlib.Path
    images: str = 'images'
    masks: str = 'masks'
    image_suffix: str = ''
    mask_suffix: str = ''
    lists: str = '.'
    group: str | None = None
    fractions: Mapping[str, float] | None = None
    seed: int = 0
    classes: tuple[str, ...] | None = None
    absent: bool = False

    # No field: what a message on files that do not pair advises.
    remedy = ('add or remove the files (stems must be equal; data.naming sets image_suffix and '
              'mask_suffix; where subfolders repeat stems, both need the same subfolders)')

    def __post_init__(self):
        for key in ('images', 'masks', 'lists'):
            check_folder_name(getattr(self, key), f'data.naming.{key}', self.root)
        if self.group is not None:
            compile_group(self.group, self.fractions)
        if self.lists != '.' and self.fractions:
            raise InputError(f'data.naming.lists: {self.lists!r} has no effect, data.splits states '
                             f'shares; remove one of them')

    @functools.cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits: by fractions, by subfolders on either level, or by list files.

        A text file in `lists` is a list if it is called train, val or test, or if it names an
        image; others are notes.
        """
        return tuple(sorted(self.fractions or self._named, key=split_order))

    def split(self, split: str) -> Listed:
        """The files of one split.

        Raises:
          InputError: an unknown split, or a folder that does not exist.
        """
        if split not in self.splits:
            raise InputError(
                f'{self.root}: no split {split!r}; known: {", ".join(self.splits) or "none"}; add '
                f'{self._place(split, self.images, "outer")}, '
                f'{self._place(split, self.images, "inner")} or '
                f'{self.root / self.lists / split}.txt, in the layout of the other splits, '
                f'or keep all files in {self.root / self.images} and give fractions in data.splits')
        images = self._image_files(self._existing(split, 'images'))
        masks, mask_problems, skipped = self._masks(self._existing(split, 'masks'), images.by_stem)
        stems, problems = self._chosen(split, sorted(images.by_stem.keys() | masks.keys()))
        pairs = tuple(Pair(images.by_stem[name], masks[name], name) for name in stems
                      if name in images.by_stem and name in masks
                      and (self.absent or None not in masks[name]))
        problems += [*images.problems, *mask_problems,
                     *self._unpaired(split, stems, images.by_stem, masks),
                     *self._shared(split)]
        if not pairs and not problems:
            problems = [f'{self.root}: split {split!r} is empty, '
                        f'{self._why_empty(split, images.by_stem)}']
        return Listed(pairs, tuple(problems), images.skipped + skipped)

    @functools.cached_property
    def _named(self) -> dict[str, str]:
        """The folder or list of every split, by name."""
        found = {'outer': self._outer, 'inner': self._inner}.get(self._layout)
        if found is None:
            found = [name for name, path in self._text_files.items()
                     if name in (*STANDARD_SPLITS, *SYNONYMS) or self._is_list(path)]
        return standard_names(found)

    @functools.cached_property
    def _outer(self) -> list[str]:
        # With masks alone it is a split, too, whose images are missed when it is read.
        found = [name for name in list_folders(self.root)
                 if any(self._holds_files(name, part) for part in (self.images, self.masks))]
        return found if any(self._holds_files(name, self.images) for name in found) else []

    def _holds_files(self, split: str, part: str) -> bool:
        """Whether there is `root/split/part`; of '.', every folder has one, with images in it."""
        place = self.root / split / part
        return place.is_dir() and (part != '.' or bool(list_images(place)[0]))

    @functools.cached_property
    def _inner(self) -> list[str]:
        found = list_folders(self.root / self.images) if self.images != '.' else []
        return found and [*found, *(name for name in STANDARD_SPLITS if name not in found
                                    and (self.root / self.masks / name).is_dir())]

    @functools.cached_property
    def _layout(self) -> str:
        if self.fractions or self.lists != '.':
            return 'flat'
        return 'outer' if self._outer else 'inner' if self._inner else 'flat'

    @functools.cached_property
    def _text_files(self) -> dict[str, pathlib.Path]:
        folder = self.root / self.lists
        if not folder.is_dir():
            raise InputError(f'{folder}: no such folder; correct data.naming.lists')
        return {path.stem: path for path in sorted(folder.iterdir())
                if path.suffix.lower() == '.txt' and path.is_file()
                and not path.name.startswith('.')}

    def _is_list(self, path: pathlib.Path) -> bool:
        folder = self.root / self.images
        stems = self._image_files(folder).by_stem if folder.is_dir() else {}
        try:
            return any(stem in stems for stem in self._listed(path, stems))
        except InputError:  # Text of another encoding is a note.
            return False

    def _listed(self, path: pathlib.Path, stems: Collection[str]) -> list[str]:
        suffixes = (self.image_suffix, self.mask_suffix)
        return [resolve_entry(line, stems, suffixes) for line in read_list(path)]

    def _place(self, split: str, folder: str, layout: str) -> pathlib.Path:
        name = split if self.fractions else self._named.get(split, split)
        return {'outer': self.root / name / folder, 'inner': self.root / folder / name,
                'flat': self.root / folder}[layout]

    def _existing(self, split: str, key: str) -> pathlib.Path:
        place = self._place(split, getattr(self, key), self._layout)
        if not place.is_dir():
            raise InputError(f'{place}: no such folder; add it, or set data.naming.{key} to its '
                             f'name')
        return place

    @functools.cached_property
    def _known_files(self) -> dict[tuple, Files]:
        return {}

    def _files(self, folder: pathlib.Path, suffix: str, prefixed: bool | None = None) -> Files:
        key, nested = (folder, suffix, prefixed), '.' not in (self.images, self.masks)
        if key not in self._known_files:
            self._known_files[key] = images_by_stem(*key[:2], nested=nested, prefixed=prefixed)
        return self._known_files[key]

    def _image_files(self, place: pathlib.Path) -> Files:
        files = self._files(place, self.image_suffix)
        if self.images != self.masks or not self.mask_suffix:
            return files
        images = {stem: path for stem, path in files.by_stem.items()
                  if not path.stem.endswith(self.mask_suffix)}
        return files._replace(by_stem=images)

    def _masks(self, place: pathlib.Path, images: Mapping[str, pathlib.Path]
               ) -> tuple[dict[str, tuple[pathlib.Path | None, ...]], list[str],
                          collections.Counter]:
        """The masks of every stem (None: no file of a class), problems, and files left out."""
        folders = [place / name for name in self.classes or ()]
        if not folders or len(folders) == 1 and not folders[0].is_dir():
            folders = [place]
        lost = [folder for folder in folders if not folder.is_dir()]
        if lost:
            raise InputError(f'{lost[0]}: no such folder; with overlapping masks each class has a '
                             f'folder of its own in {place}, add it or correct data.classes')
        prefixed = any(name not in path.stem for name, path in images.items())  # as images are
        found = [self._files(folder, self.mask_suffix, prefixed) for folder in folders]
        stems = set(images if self.absent else ()).union(*(each.by_stem for each in found))
        masks = {stem: tuple(each.by_stem.get(stem) for each in found) for stem in stems}
        problems = [problem for each in found for problem in each.problems]
        return masks, problems, sum((each.skipped for each in found), collections.Counter())

    def _chosen(self, split: str, stems: Sequence[str]) -> tuple[list[str], list[str]]:
        """The stems of a split, and what is wrong with its list."""
        if self.fractions:
            keys = {stem: stem for stem in stems}
            if self.group is not None:
                pattern = compile_group(self.group, self.fractions)
                keys = {stem: group_of(stem, pattern) for stem in stems}
            return [stem for stem in stems
                    if assign_split(keys[stem], self.fractions, self.seed) == split], []
        if self._layout != 'flat':
            return list(stems), []
        path = self._text_files[self._named[split]]
        listed = self._listed(path, set(stems))
        twice = [stem for stem, count in collections.Counter(listed).items() if count > 1]
        problems = self._problem(twice, 'stems are named twice', path, (), 'keep one of each')
        return list(dict.fromkeys(listed)), problems

    def _unpaired(self, split: str, stems: list[str], images: dict, masks: dict) -> list[str]:
        """Images without masks, the reverse, and names without either."""
        places = [self._existing(split, key) for key in ('images', 'masks')]
        without_mask = [name for name in stems if name in images and name not in masks]
        without_image = [name for name in stems if name in masks and name not in images]
        missing = [name for name in stems if name not in images and name not in masks]
        problems = [*self._problem(without_mask, 'images have no mask', places[1], masks,
                                   self.remedy),
                    *self._problem(without_image, 'masks have no image', places[0], images,
                                   self.remedy),
                    *self._problem(missing, f'stems of {split}.txt have neither image nor mask',
                                   places[0], images, self.remedy)]
        remedy = ("add them, or set data.missing_masks='absent' if no file means that the class "
                  "does not occur")
        for index, name in enumerate(() if self.absent else self.classes or ()):
            partly = [stem for stem in stems if stem in masks and masks[stem][index] is None]
            problems += self._problem(partly, f'images have no mask of class {name!r}', places[1],
                                      (), remedy)
        return problems

    def _shared(self, split: str) -> list[str]:
        """The stems that train, val and test share; in folders, those of equal image files."""
        # Numbered files (1.png in each split) are common, and no harm while the images differ.
        others = [name for name in self.splits if name != split and name in STANDARD_SPLITS]
        if self.fractions or split not in STANDARD_SPLITS:
            return []
        own, problems = self._images_of(split), []
        for other in others:
            files = self._images_of(other)
            same = [stem for stem in own if stem in files
                    and (self._layout == 'flat'
                         or filecmp.cmp(own[stem], files[stem], shallow=False))]
            problems += self._problem(same, f'images of {split!r} are also in {other!r},',
                                      self.root, (), 'keep each in one split')
        return problems

    def _images_of(self, split: str) -> dict[str, pathlib.Path]:
        place = self._place(split, self.images, self._layout)
        files = self._image_files(place).by_stem if place.is_dir() else {}
        stems, _ = self._chosen(split, sorted(files))
        return {stem: files[stem] for stem in stems if stem in files}

    def _problem(self, *found: Any) -> list[str]:
        return describe_names(self.root, *found)

    def _why_empty(self, split: str, images: Mapping) -> str:
        if images and self.fractions:
            return (f'the share {self.fractions[split]:g} of {len(images)} images holds none; give '
                    f'it more in data.splits, another data.split_seed, or more images')
        if images:
            return f'{split}.txt names no image; write one stem a line'
        return (f'no image file in {self._existing(split, "images")}; known types: '
                f'{", ".join(sorted(IMAGE_SUFFIXES))}')
