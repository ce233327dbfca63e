"""One large image with its mask, cut into areas for training, validation and test."""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.data.decode import read_image
from jaxseg.data.file_dataset import check_names
from jaxseg.data.labels import OPTIONS, Labels
from jaxseg.data.masks import read_mask
from jaxseg.data.spec import IMAGENET_MEAN, IMAGENET_STD, Color, DatasetSpec, VoidLabel
from jaxseg.data.splits import split_order
from jaxseg.data.value_range import decide_value_range
from jaxseg.errors import InputError
from jaxseg.fields import NonNegativeInt, PositiveInt, check_fields, nearest

Area = tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt]


@dataclasses.dataclass(frozen=True)
class SingleImage:
    """The samples are areas of one image, such as a slide or a satellite scene.

    Attributes:
      root: the folder of both files.
      image, mask: their names.
      areas: `{split: [[top, left, height, width], ...]}` in pixels, each a sample. Areas of two
        splits share no pixel; leave some between them, on which predictions at borders depend.
      classes, colors: names and RGB colors of the classes in the order of their indices.
      objects: True: the mask holds 0 and the numbers of objects, whose class is the second of two.
        False: it holds class indices or colors.
      ignore_index: the void label of the mask, 255 by default. Unless it is stated, a mask of two
        classes that holds only 0 and 255 is refused, as 255 may be a class.
      labels: options of `jaxseg.data.labels.Labels`.
      channels, value_range: of the image; see `file_dataset.FileDataset`.

    Raises:
      InputError: a field is out of range, areas of two splits overlap, or `objects` without two
        classes or with `labels`; when a source is made: a file is missing or cannot be used, an
        area is not inside of the image.
    """

    root: str
    image: str
    mask: str
    areas: Mapping[str, Sequence[Area]]
    classes: Sequence[str]
    colors: Sequence[Color] = ()
    objects: bool = False
    ignore_index: VoidLabel | None = None
    channels: PositiveInt = 3
    value_range: tuple[float, float] | None = None
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_fields(self, 'data')
        for (split, ours), (other, theirs) in itertools.combinations(self.areas.items(), 2):
            for one, two in itertools.product(ours, theirs):
                if _overlap(one, two):
                    raise InputError(f'data.areas: {list(one)} of {split!r} and {list(two)} of '
                                     f'{other!r} share pixels; cut them apart')
        if self.objects and len(self.classes) != 2:
            raise InputError(f'data.objects: true with the classes {list(self.classes)}; give two '
                             f"names, such as ['background', 'nucleus']")
        check_names('data.labels', self.labels, set(OPTIONS))
        if self.objects and self.labels:
            raise InputError(f'data.labels: {dict(self.labels)} has no effect with data.objects='
                             f'true; remove one of them')

    @functools.cached_property
    def spec(self) -> DatasetSpec:
        """The description, from the fields and the header of the image."""
        value_range = self.value_range
        if value_range is None:
            value_range = decide_value_range([self._file(self.image)], self.root)
        rgb = self.channels == 3
        return DatasetSpec(
            name=pathlib.Path(self.image).stem, classes=self.classes, colors=self.colors,
            ignore_index=255 if self.ignore_index is None else self.ignore_index,
            value_range=value_range,
            mean=IMAGENET_MEAN if rgb else (0.5,) * self.channels,
            std=IMAGENET_STD if rgb else (0.25,) * self.channels,
            splits=tuple(sorted(self.areas, key=split_order)))

    def source(self, split: str) -> 'AreaSource':
        """Random access to the areas of a split."""
        if split not in self.areas:
            raise InputError(f'data.areas: no split {split!r}; {nearest(split, self.areas)}')
        image, mask = self._pixels
        height, width = mask.shape
        for area in self.areas[split]:
            if area[0] + area[2] > height or area[1] + area[3] > width:
                raise InputError(f'data.areas: {list(area)} of {split!r} is not inside of the '
                                 f'image of {height}x{width} (height x width); give [top, left, '
                                 f'height, width]')
        return AreaSource(image, mask, tuple(map(tuple, self.areas[split])), self.spec.name)

    @functools.cached_property
    def _pixels(self) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(self._file(self.image), self.channels, self.spec.value_range)
        file = self._file(self.mask)
        raw = read_mask(file)
        if self.objects:
            if raw.values.ndim > 2:
                raise InputError(f'{file}: a mask of colors, expected numbers of objects; set '
                                 f'data.objects=false')
            mask = (raw.values > 0).astype(np.uint8)
        else:
            options = {'binary': None if self.ignore_index is None else False, **self.labels}
            labels = Labels(self.spec, **options, stated_colors=bool(self.colors))
            mask = labels.decode(raw, str(file))
        if image.shape[:2] != mask.shape:
            raise InputError(f'{file}: {mask.shape[1]}x{mask.shape[0]} pixels for an image of '
                             f'{image.shape[1]}x{image.shape[0]}; give the mask of this image')
        return image, mask

    def _file(self, name: str) -> pathlib.Path:
        path = pathlib.Path(os.path.expanduser(self.root)) / name
        if not os.path.isfile(path):
            raise InputError(f'data.root: there is no file {path}; give the folder that holds '
                             f'{self.image} and {self.mask}')
        return path


@dataclasses.dataclass(frozen=True, eq=False)
class AreaSource:
    """Areas (top, left, height, width) of an image and its mask."""

    image: np.ndarray
    mask_image: np.ndarray
    areas: tuple[tuple[int, int, int, int], ...]
    name: str

    def __len__(self) -> int:
        return len(self.areas)

    def __getitem__(self, index: int) -> dict[str, Any]:
        top, left, height, width = self.areas[index]
        cut = slice(top, top + height), slice(left, left + width)
        return {'image': self.image[cut], 'mask': self.mask_image[cut], 'name': self.names[index]}

    @property
    def names(self) -> tuple[str, ...]:
        """The place of every area."""
        return tuple(f'{self.name}_{top}_{left}' for top, left, *_ in self.areas)

    def sizes(self) -> set[tuple[int, int]]:
        """Every (height, width)."""
        return {area[2:] for area in self.areas}


def _overlap(one: Area, two: Area) -> bool:
    return all(a < b + two[axis + 2] and b < a + one[axis + 2]
               for axis, (a, b) in enumerate(zip(one[:2], two[:2], strict=True)))
