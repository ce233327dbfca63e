"""The description of a data set, and the interface of random access to its samples."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import Probability, Range, check_fields, check_value
from jaxseg.records import read_fields, write_record

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Byte = Annotated[int, Range(0, 255)]
Color = tuple[Byte, Byte, Byte]
VoidLabel = Annotated[int, Range(0, 65535)]
Deviation = Annotated[float, Range(above=0, high=1)]


class Source(Protocol):
    """Random access to the samples of one split.

    `source[i]` is a mapping: `image` (H, W, C) uint8, uint16 or float32, `mask` (H, W) integer, and
    `name`, a string. The mask holds class indices, or the `ignore_index` of the `DatasetSpec` for
    void. Of a data set with overlapping masks it is (H, W, classes) and holds 0, 1 or the
    `ignore_index`.

    A source may also have `names`, the name of every sample in order (otherwise samples are decoded
    to learn them); `check_files()`, which raises InputError where a file cannot be used;
    `check(i)`, all problems of sample i; `mask(i)`, its mask alone; `sizes()`, the set
    of (height, width) of its images; and `file_size(i)`, the bytes of the files of sample i.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping: ...


class Fill(NamedTuple):
    """What transforms need of a data set: the values of new pixels, of void, black and white."""

    image: tuple[float, ...]
    mask: int
    value_range: tuple[float, float] = (0.0, 255.0)


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """Description of a data set, saved as dataset.json.

    Attributes:
      name: of the data set, used in messages.
      classes: class names in the order of their indices.
      colors: red, green and blue (0 to 255) of each class; by default the palette of PASCAL VOC.
      ignore_index: the void label of the masks.
      mean, std: channel means and standard deviations of pixel values after `value_range` was
        mapped to 0-1.
      splits: names of the splits.
      value_range: the pixel values that become 0 and 1 before `mean` and `std` are applied, one
        pair for the whole data set: (0, 255) for 8-bit images, (0, 65535) for 16-bit ones.
      overlapping: each class has a 0/1 mask of its own, and these may overlap (multilabel
        segmentation).

    Raises:
      InputError: a field has a wrong type or is out of range, or two fields contradict each other.
    """

    name: str
    classes: tuple[str, ...]
    colors: Sequence[Color] = ()
    ignore_index: VoidLabel = 255
    mean: tuple[Probability, ...] = IMAGENET_MEAN
    std: tuple[Deviation, ...] = IMAGENET_STD
    splits: tuple[str, ...] = ('train', 'val', 'test')
    value_range: tuple[float, float] = (0.0, 255.0)
    overlapping: bool = False

    def __post_init__(self):
        where = f'data set {self.name!r}'
        if isinstance(self.colors, (list, tuple)):
            colors = tuple(as_color(color, f'{where}.colors') for color in self.colors)
            object.__setattr__(self, 'colors', colors)
        check_fields(self, where)
        for field in dataclasses.fields(self):
            if isinstance(getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        _check_unique(f'{where}: classes', self.classes)
        if not self.classes:
            raise InputError(f'{where} names no classes; give `classes`, or a dataset.json with '
                             f'them')
        object.__setattr__(self, 'colors', self.colors or distinct_colors(len(self.classes)))
        object.__setattr__(self, 'value_range', tuple(map(float, self.value_range)))
        if len(self.colors) != len(self.classes):
            raise InputError(f'{where}: {len(self.colors)} colors for {len(self.classes)} '
                             f'classes; give one for each')
        _check_unique(f'{where}: colors', self.colors)
        labels = 2 if self.overlapping else len(self.classes)
        if self.ignore_index < labels:
            meaning = ('a value of the 0/1 masks' if self.overlapping
                       else f'the class {self.classes[self.ignore_index]!r}')
            raise InputError(f'{where}: ignore_index {self.ignore_index} is also {meaning}; give a '
                             f'value of at least {labels}')
        if not self.mean or len(self.mean) != len(self.std):
            raise InputError(f'{where}: {len(self.mean)} means but {len(self.std)} standard '
                             f'deviations; give one of each for every image channel')
        if self.value_range[0] >= self.value_range[1]:
            raise InputError(f'{where}: value_range {list(self.value_range)} is empty; give [low, '
                             f'high] with low below high')

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return len(self.mean)

    @property
    def fill(self) -> Fill:
        """The mean color in pixel values, the void label and the value range."""
        low, high = self.value_range
        color = tuple(low + (high - low) * value for value in self.mean)
        return Fill(color, self.ignore_index, self.value_range)

    def save(self, path: pathlib.Path):
        """Writes the description as JSON, atomically and with its digest."""
        write_record(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: pathlib.Path) -> 'DatasetSpec':
        """Reads what `save` wrote.

        Raises:
          InputError: the file is missing or damaged.
        """
        return read_fields(cls, path)


def as_color(value: Any, where: str) -> Color:
    """Red, green and blue, three integers of 0 to 255.

    Raises:
      InputError: it is something else.
    """
    try:
        check_value(where, value, Color)
    except InputError:
        raise InputError(f'{where}: {value!r} is no color; give [red, green, blue], integers 0 to '
                         f'255') from None
    return tuple(value)


def _check_unique(where: str, values: Sequence):
    twice = [value for value, count in collections.Counter(values).items() if count > 1]
    if twice:
        raise InputError(f'{where}: {twice[0]!r} occurs twice; give each class one of its own')


def nothing_labelled(spec: DatasetSpec, samples: int) -> str:
    """The message for samples of which every pixel is void."""
    return (f'data set {spec.name!r}: no pixel of {samples} masks is labelled, all are void '
            f'({spec.ignore_index}); there is nothing to learn or to score, check '
            f'data.ignore_index and data.labels')


def distinct_colors(count: int) -> tuple[Color, ...]:
    """The palette of PASCAL VOC: bits of the index become high bits of red, green and blue."""
    index = np.arange(count)
    color = np.zeros((count, 3), int)
    for place in range(8):
        for channel in range(3):
            color[:, channel] |= ((index >> (3 * place + channel)) & 1) << (7 - place)
    return tuple(tuple(int(value) for value in row) for row in color)
