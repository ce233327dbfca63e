"""From the values in a mask file to class indices."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxseg.data.spec import DatasetSpec, as_color
from jaxseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Labels:
    """How the masks of a data set are written.

    Raw masks are (H, W) indices or (H, W, 3) colours of the palette. Of indices, one option may say what they mean:
    `label_map` sends raw values to class indices (or to the void label; what it does not name stays as it is);
    `reduce_zero_label` makes 0 void and every other value one less; `binary`, for two classes, makes 255 class 1.
    `binary=False` says that 255 is no class. With None nobody said so, and a mask of two classes that holds nothing but 0
    and 255 is refused: it may be a binary mask, or one with void.

    Raises:
      InputError: an option of another kind, two that contradict each other, `binary` with more classes.
    """

    spec: DatasetSpec
    label_map: Mapping[int, int] = dataclasses.field(default_factory=dict)
    reduce_zero_label: bool = False
    binary: bool | None = None
    ignore_color: Sequence[int] | None = None

    def __post_init__(self):
        if self.ignore_color is not None:
            object.__setattr__(self, 'ignore_color', as_color(self.ignore_color, 'ignore_color'))
        object.__setattr__(self, 'label_map', _integers(self.label_map))
        classes, void = len(self.spec.classes), self.spec.ignore_index
        for raw, label in self.label_map.items():
            if raw < 0 or not 0 <= label < classes and label != void:
                raise InputError(f'label_map: {raw} becomes {label}; it sends values from 0 on to the {classes} classes '
                                 f'0..{classes - 1} or void {void}, mend it or add the class')
        for name in ('reduce_zero_label', 'binary'):
            if getattr(self, name) not in (True, False, None):
                raise InputError(f'data.labels.{name}: {getattr(self, name)!r} is neither true nor false; give one of them')
        if len(self._options()) > 1:
            raise InputError(f'data.labels: {" and ".join(self._options())} contradict each other; give one of them')
        if self.binary and classes != 2:
            raise InputError(f'data.labels.binary: true with {classes} classes; binary masks have two, remove it or give two '
                             f'class names')

    def decode(self, raw: np.ndarray, file: str) -> np.ndarray:
        """Class indices or the void label, (H, W) uint8 (uint16 if the labels need it).

        Raises:
          InputError: a value outside the classes, or a colour outside the palette; names the value and counts the pixels.
        """
        indices = self._from_colors(raw, file) if raw.ndim == 3 else raw
        void, classes = self.spec.ignore_index, len(self.spec.classes)
        largest = max(void, classes - 1)
        values = np.unique(indices)
        if values[0] < 0 or values[-1] > 65535 or indices.dtype.kind not in 'iu':
            raise InputError(f'{file}: mask values {values[0]} to {values[-1]} ({indices.dtype}); masks hold integers 0 '
                             f'to 65535')
        table = np.arange(int(values[-1]) + 1)
        if raw.ndim == 2:
            table = self._table(table, values, file)
        wrong = [value for value in values if not 0 <= table[value] < classes and table[value] != void]
        if wrong:
            raise InputError(self._outside(indices, wrong, file))
        return table.astype(np.uint8 if largest < 256 else np.uint16)[indices]

    def _options(self) -> list[str]:
        """The options in use that say what indices mean."""
        return [name for name in ('label_map', 'reduce_zero_label', 'binary') if getattr(self, name)]

    def _table(self, table: np.ndarray, values: np.ndarray, file: str) -> np.ndarray:
        """What every raw value means."""
        void = self.spec.ignore_index
        if self.label_map:
            table = table.copy()
            for raw, label in self.label_map.items():
                if raw < len(table):
                    table[raw] = label
            return table
        if self.reduce_zero_label:
            return np.where(table == 0, void, np.where(table == void, void, table - 1))
        if self.binary:
            return np.where(table == 255, 1, table)
        if self.binary is None and len(self.spec.classes) == 2 and values[-1] == 255 and set(values.tolist()) <= {0, 255}:
            raise InputError(f'{file}: holds only 0 and 255, and 255 may be class 1 or void; set data.labels.binary=true for '
                             f'class 1 (data.label_map={{0: 0, 255: 1}} with tfds.Tfds), or data.ignore_index=255 for void')
        return table

    def _outside(self, indices: np.ndarray, wrong: list, file: str) -> str:
        shown = ', '.join(f'{value} ({int((indices == value).sum())} px)' for value in wrong[:3])
        more = f' and {len(wrong) - 3} more values' if len(wrong) > 3 else ''
        names = len(self.spec.classes)
        return (f'{file}: label {shown}{more} outside the {names} classes 0..{names - 1}, void {self.spec.ignore_index}; '
                f'set data.ignore_index, or label_map, reduce_zero_label or binary in data.labels, or add the class')

    def _from_colors(self, raw: np.ndarray, file: str) -> np.ndarray:
        code = raw[..., 0].astype(np.uint32) << 16 | raw[..., 1].astype(np.uint32) << 8 | raw[..., 2]
        palette = {_code(color): index for index, color in enumerate(self.spec.colors)}
        if self.ignore_color is not None:
            palette.setdefault(_code(self.ignore_color), self.spec.ignore_index)
        found, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
        grey = (raw[..., 0] == raw[..., 1]).all() and (raw[..., 0] == raw[..., 2]).all()
        if grey and (self._options() or not set(found.tolist()) <= palette.keys()):
            return self.decode(raw[..., 0], file)  # Grey saved as RGB: indices.
        if self._options():
            raise InputError(f'{file}: a mask of colours, which data.labels.{self._options()[0]} does not apply to; remove '
                             f'the option and give the colours of the classes in data.colors, or export indices')
        unknown = [i for i, value in enumerate(found) if int(value) not in palette]
        if unknown:
            raise InputError(self._unknown(found, counts, unknown, file))
        labels = np.array([palette[int(value)] for value in found], np.uint16)
        return labels[inverse.reshape(code.shape)]

    def _unknown(self, found: np.ndarray, counts: np.ndarray, unknown: list[int], file: str) -> str:
        most = sorted(unknown, key=lambda i: -counts[i])
        shown = ', '.join(f'({found[i] >> 16}, {found[i] >> 8 & 255}, {found[i] & 255}) in {counts[i]} px'
                          for i in most[:3])
        more = f' and {len(unknown) - 3} more colours' if len(unknown) > 3 else ''
        # Blending makes many rare colours; a class forgotten in the palette makes one common colour.
        if len(unknown) > 20:
            return (f'{file}: {len(unknown)} colours that are not in the palette, such as {shown}: the mask is '
                    f'anti-aliased, its edges are blends; export the masks as PNG without anti-aliasing')
        return (f'{file}: colour {shown}{more}, not in the palette of {len(self.spec.colors)} colours; '
                f'add it to data.colors, or to dataset.json')


def _integers(label_map: Mapping) -> dict[int, int]:
    """With integers for what may be their text: the keys of JSON are strings."""
    try:
        return {int(str(raw)): int(str(label)) for raw, label in label_map.items()}
    except (AttributeError, ValueError):
        raise InputError(f'label_map: {label_map!r} does not send integers to integers; give raw values and classes, such '
                         f'as {{0: 0, 255: 1}}') from None


def _code(color: Sequence[int]) -> int:
    return int(color[0]) << 16 | int(color[1]) << 8 | int(color[2])
