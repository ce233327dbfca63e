"""What a data set is to the rest of the house: its description, and random access to its samples."""

import dataclasses
import json
import numbers
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxseg.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Source(Protocol):
    """Random access to the samples of one split.

    `source[i]` is `{'image': uint8 or uint16 (H, W, C), 'mask': uint8 or uint16 (H, W), 'name': str}`; the mask holds
    class indices, or the `ignore_index` of the data set's `DatasetSpec` where nothing is known.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping: ...


class Fill(NamedTuple):
    """What a transform writes where the picture ends: one value a channel, and the void label."""

    image: tuple[float, ...]
    mask: int


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """Class names, palette (RGB, 0-255), void label, channel mean and standard deviation (of values in 0-1), splits.

    Raises:
      InputError: a field of another kind or out of range, as a hand-written dataset.json may hold it.
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = 255
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    splits: tuple[str, ...] = ('train', 'val', 'test')

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise InputError(f'data set {self.name!r}: the name is no string; mend it in dataset.json')
        for key, names in (('classes', self.classes), ('splits', self.splits)):
            if not _is_list(names) or not all(isinstance(name, str) for name in names):
                raise InputError(f'data set {self.name!r}: {key} {names!r} is no list of names; give one, such as '
                                 f"['background', 'cell'] for data.classes")
            object.__setattr__(self, key, tuple(names))
        if not self.classes:
            raise InputError(f'data set {self.name!r} names no classes; give `classes`, or a dataset.json with them')
        if not _is_integer(self.ignore_index):
            raise InputError(f'data set {self.name!r}: ignore_index {self.ignore_index!r} is no integer; give the void label '
                             f'of the masks, such as 255')
        if 0 <= self.ignore_index < len(self.classes):
            raise InputError(f'data set {self.name!r}: ignore_index {self.ignore_index} is also the class '
                             f'{self.classes[self.ignore_index]!r}; give a value outside 0..{len(self.classes) - 1}')
        if not 0 <= self.ignore_index <= 65535:
            raise InputError(f'data set {self.name!r}: ignore_index {self.ignore_index} fits into no mask file; '
                             f'give a value between {len(self.classes)} and 255, or 65535 for masks of 16 bits')
        for key, values in (('mean', self.mean), ('std', self.std)):
            if not _is_list(values) or not all(_is_share(value) and (value > 0 or key == 'mean') for value in values):
                raise InputError(f'data set {self.name!r}: {key} {values!r} is no list of numbers from 0 to 1 (std above 0), '
                                 f'one a channel; divide those of images of 0-255 by 255')
            object.__setattr__(self, key, tuple(values))
        if len(self.mean) != len(self.std):
            raise InputError(f'data set {self.name!r}: {len(self.mean)} means but {len(self.std)} standard deviations; '
                             f'give one of each for every image channel')
        if not _is_list(self.colors):
            raise InputError(f'data set {self.name!r}: colors {self.colors!r} is no list; give one [red, green, blue] a class')
        colors = tuple(as_color(color, f'data set {self.name!r}: colors') for color in self.colors)
        object.__setattr__(self, 'colors', colors or distinct_colors(len(self.classes)))
        if len(self.colors) != len(self.classes):
            raise InputError(f'data set {self.name!r}: {len(self.colors)} colours for {len(self.classes)} classes; '
                             f'give one for each')

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return len(self.mean)

    def fill(self, largest: int) -> Fill:
        """The mean colour (images whose largest value is `largest`) and the void label."""
        return Fill(tuple(largest * value for value in self.mean), self.ignore_index)

    def save(self, path: pathlib.Path):
        """Writes the description as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + '\n')

    @classmethod
    def load(cls, path: pathlib.Path) -> 'DatasetSpec':
        """Reads what `save` wrote.

        Raises:
          InputError: the file is missing or damaged.
        """
        values = read_json(path)
        fields = {field.name for field in dataclasses.fields(cls)}
        if values.keys() != fields:
            raise InputError(f'{path}: holds {", ".join(values) or "nothing"}, expected {", ".join(sorted(fields))}; mend or '
                             f'restore it')
        return cls(**values)


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
      InputError: the file is missing, no JSON, or no object.
    """
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror}); restore it') from None
    except ValueError as error:
        raise InputError(f'{path}: not JSON ({error}); mend or restore it') from None
    if not isinstance(values, dict):
        raise InputError(f'{path}: holds a {type(values).__name__}, expected names and values in braces; mend or restore it')
    return values


def as_color(value: Any, where: str) -> tuple[int, int, int]:
    """Red, green and blue, three integers of 0 to 255.

    Raises:
      InputError: it is something else.
    """
    if not _is_list(value) or len(value) != 3 or not all(_is_integer(part) and 0 <= part <= 255 for part in value):
        raise InputError(f'{where}: {value!r} is no colour; give [red, green, blue], integers 0 to 255')
    return tuple(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_share(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= value <= 1


def distinct_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """The palette of PASCAL VOC: the bits of the index spread over the high bits of red, green and blue."""
    index = np.arange(count)
    color = np.zeros((count, 3), int)
    for place in range(8):
        for channel in range(3):
            color[:, channel] |= ((index >> (3 * place + channel)) & 1) << (7 - place)
    return tuple(tuple(int(value) for value in row) for row in color)
