"""Images with LabelMe annotations: one JSON file of shapes beside each image."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

from jaxseg.data.drawn_masks import DrawnMasks
from jaxseg.data.file_dataset import FileDataset
from jaxseg.data.labelme_file import LabelMeFile, read_labelme
from jaxseg.data.listing import by_stem, is_system
from jaxseg.data.pairs import Listed, Listing
from jaxseg.errors import InputError
from jaxseg.fields import Positive, nearest

BACKGROUND, LABELME_BACKGROUND = 'background', '_background_'


@dataclasses.dataclass(frozen=True)
class LabelMe(FileDataset):
    """LabelMe shapes (Russell et al. 2008; github.com/wkentaro/labelme) as semantic masks.

    Layouts: `root/SPLIT/STEM.json` beside `root/SPLIT/STEM.jpg`; or all in `root`, with lists
    `SPLIT.txt` of stems or with `splits`; or images and JSON files in two folders that `naming`
    names, in the layouts of `folder.Folder`. Image and JSON file have one stem: `imagePath` and
    `imageData` are not used.

    polygon, rectangle, circle, mask, and with `line_width` line and linestrip are drawn; points
    are left out and counted, as are shapes without area. Where shapes overlap the smaller one is on
    top, so a shape labelled as background cuts a hole. Which pixels an outline holds is stated in
    `jaxseg/data/shapes.py`. Shapes may end outside of the image, but not lie there.

    Attributes:
      root, colors, channels, value_range, splits, split_seed: see `FileDataset`.
      classes: background (or `_background_`) and the labels in alphabetical order; where they are
        stated, another label is a problem. With overlapping masks there is no background.
      naming: may hold `images` and `masks`, the folders of the images and of the JSON files, '.'
        by default, `lists` and `group`; see `folder.Folder`.
      void_labels: shapes with these labels are void.
      line_width: in pixels, of lines and linestrips, which have no area of their own.
      missing_masks: 'absent' states that an image without JSON file shows no object; 'refuse'
        calls it a problem.
      overlapping: each label has a mask of its own, for overlapping shapes (multilabel
        segmentation); void shapes are void where a class has no shape.

    Raises:
      InputError: see `FileDataset`; a JSON file that cannot be used.
    """

    void_labels: Sequence[str] = ('_ignore_', '__ignore__')
    line_width: Positive | None = None
    missing_masks: Literal['refuse', 'absent'] = 'refuse'
    overlapping: bool = False

    presets = {'naming': {'images': '.', 'masks': '.'}}
    naming_keys = frozenset({'images', 'masks', 'lists', 'group'})
    holds = 'images, each beside its JSON file'

    @functools.cached_property
    def _listing(self) -> '_Listing':
        stated = self._stated('classes')
        return _Listing(
            self._root, **self._names, fractions=self.splits, seed=self.split_seed,
            absent=self.missing_masks == 'absent', labels=None if stated is None else tuple(stated),
            void_labels=tuple(self.void_labels), line_width=self.line_width)

    @functools.cached_property
    def _masks(self) -> DrawnMasks:
        drawings = {(pair.masks[0], pair.image): self._listing.file(pair.masks[0]).drawing
                    for pair in self._all_pairs() if pair.masks[0] is not None}
        return DrawnMasks(self.spec, drawings)

    @functools.cached_property
    def _classes(self) -> Sequence[str]:
        stated = self._stated('classes')
        if stated:
            return stated
        labels = {shape.label for pair in self._all_pairs() if pair.masks[0] is not None
                  for shape in self._listing.file(pair.masks[0]).drawing.shapes}
        background = LABELME_BACKGROUND if LABELME_BACKGROUND in labels else BACKGROUND
        named = sorted(labels - {None, background})
        if not named:
            raise InputError(f'{self._root}: no JSON file with a labelled shape; check data.root, '
                             f'or state data.classes')
        return tuple(named if self.overlapping else [background, *named])


@dataclasses.dataclass(frozen=True)
class _Listing(Listing):
    """Images and JSON files. Files with faults are problems of a split, and in none of its pairs.

    Attributes:
      labels: those that are known, None for all.
      void_labels, line_width: see `LabelMe`.
    """

    labels: tuple[str, ...] | None = None
    void_labels: tuple[str, ...] = ()
    line_width: float | None = None

    remedy = ("add or remove the files (stems must be equal), or set data.missing_masks='absent' "
              "if no JSON file means that there is no object")

    def split(self, split: str) -> Listed:
        """See `Listing.split`."""
        if split not in self._checked:
            self._checked[split] = self._check(super().split(split))
        return self._checked[split]

    def file(self, path: pathlib.Path) -> LabelMeFile:
        """What a JSON file holds; each is parsed once."""
        if path not in self._parsed:
            self._parsed[path] = read_labelme(path, self.void_labels, self.line_width)
        return self._parsed[path]

    @functools.cached_property
    def _checked(self) -> dict[str, Listed]:
        return {}

    @functools.cached_property
    def _parsed(self) -> dict[pathlib.Path, LabelMeFile]:
        return {}

    def _check(self, listed: Listed) -> Listed:
        pairs, problems, skipped = [], list(listed.problems), collections.Counter(listed.skipped)
        for pair in listed.pairs:
            path = pair.masks[0]
            faults = self._faults(path) if path is not None else []
            problems += faults
            if not faults:
                pairs.append(pair)
                skipped += self.file(path).skipped if path is not None else {}
        return Listed(tuple(pairs), tuple(problems), skipped)

    def _faults(self, path: pathlib.Path) -> list[str]:
        try:
            file = self.file(path)
        except InputError as error:
            return [str(error)]
        found = {shape.label for shape in file.drawing.shapes if shape.label is not None}
        unknown = sorted(found - set(self.labels)) if self.labels is not None else []
        faults = [f'{path}: label {label!r} is no class; {nearest(label, self.labels)}; add it to '
                  f'data.classes or data.void_labels' for label in unknown]
        return [*file.problems, *faults]

    def _masks(self, place: pathlib.Path, images: Mapping[str, pathlib.Path]
               ) -> tuple[dict[str, tuple[pathlib.Path | None, ...]], list[str],
                          collections.Counter]:
        """The JSON file of every stem."""
        paths = [path for path in sorted(place.glob('*.json'))
                 if not is_system(path.name) and path.name != 'dataset.json']
        files = by_stem(paths, collections.Counter())
        stems = files.by_stem.keys() | set(images if self.absent else ())
        masks = {stem: (files.by_stem.get(stem),) for stem in stems}
        # The listing of images counts them as left out where both are in one folder.
        together = self.images == self.masks
        return masks, files.problems, collections.Counter({'.json': -len(paths) * together})
