"""What a data set is to the rest of the house: its description, and random access to its samples."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import NamedTuple, Protocol

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
    """Class names, palette (RGB, 0-255), void label, channel mean and standard deviation (of values in 0-1), splits."""

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = 255
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    splits: tuple[str, ...] = ('train', 'val', 'test')

    def __post_init__(self):
        if not self.classes:
            raise InputError(f'data set {self.name!r} names no classes; give `classes`, or a dataset.json with them')
        if 0 <= self.ignore_index < len(self.classes):
            raise InputError(f'data set {self.name!r}: ignore_index {self.ignore_index} is also the class '
                             f'{self.classes[self.ignore_index]!r}; give a value outside 0..{len(self.classes) - 1}')
        if not 0 <= self.ignore_index <= 65535:
            raise InputError(f'data set {self.name!r}: ignore_index {self.ignore_index} fits into no mask file; '
                             f'give a value between {len(self.classes)} and 255, or 65535 for masks of 16 bits')
        if len(self.mean) != len(self.std):
            raise InputError(f'data set {self.name!r}: {len(self.mean)} means but {len(self.std)} standard deviations; '
                             f'give one of each for every image channel')
        if not self.colors:
            object.__setattr__(self, 'colors', distinct_colors(len(self.classes)))
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
        """Reads what `save` wrote."""
        values = json.loads(path.read_text())
        values['colors'] = tuple(tuple(color) for color in values['colors'])
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def distinct_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """The palette of PASCAL VOC: the bits of the index spread over the high bits of red, green and blue."""
    index = np.arange(count)
    color = np.zeros((count, 3), int)
    for place in range(8):
        for channel in range(3):
            color[:, channel] |= ((index >> (3 * place + channel)) & 1) << (7 - place)
    return tuple(tuple(int(value) for value in row) for row in color)
