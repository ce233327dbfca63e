"""From the values in a mask file to class indices."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Labels:
    """How the masks of a data set are written.

    Raw masks are (H, W) indices or (H, W, 3) colours of the palette. `label_map` sends raw values to class indices (or to
    the void label; what it does not name stays as it is); `reduce_zero_label` makes 0 void and every other value one less.
    With two classes, a mask that holds nothing but 0 and 255 is a binary mask and 255 is class 1; beside a 1, 255 is void.
    """

    spec: DatasetSpec
    label_map: Mapping[int, int] = dataclasses.field(default_factory=dict)
    reduce_zero_label: bool = False
    ignore_color: tuple[int, int, int] | None = None

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
            table = self._table(table, values)
        wrong = [value for value in values if not 0 <= table[value] < classes and table[value] != void]
        if wrong:
            raise InputError(self._outside(indices, wrong, file))
        return table.astype(np.uint8 if largest < 256 else np.uint16)[indices]

    def _table(self, table: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What every raw value means."""
        void = self.spec.ignore_index
        if self.label_map:
            table = table.copy()
            for raw, label in self.label_map.items():
                if int(raw) < len(table):
                    table[int(raw)] = label
            return table
        if self.reduce_zero_label:
            return np.where(table == 0, void, np.where(table == void, void, table - 1))
        if len(self.spec.classes) == 2 and values[-1] == 255 and set(values.tolist()) <= {0, 255}:
            return np.where(table == 255, 1, table)
        return table

    def _outside(self, indices: np.ndarray, wrong: list, file: str) -> str:
        lossy = file.lower().endswith(('.jpg', '.jpeg'))
        shown = ', '.join(f'{value} ({int((indices == value).sum())} px)' for value in wrong[:3])
        more = f' and {len(wrong) - 3} more values' if len(wrong) > 3 else ''
        if lossy:
            return (f'{file}: JPEG mask with the labels {shown}{more}: JPEG blends the labels along every edge '
                    f'(anti-aliasing); export the masks as PNG')
        names = len(self.spec.classes)
        return (f'{file}: label {shown}{more} outside the {names} classes 0..{names - 1}, void {self.spec.ignore_index}; '
                f'set data.ignore_index, data.label_map or data.reduce_zero_label, or add the class')

    def _from_colors(self, raw: np.ndarray, file: str) -> np.ndarray:
        code = raw[..., 0].astype(np.uint32) << 16 | raw[..., 1].astype(np.uint32) << 8 | raw[..., 2]
        palette = {_code(color): index for index, color in enumerate(self.spec.colors)}
        if self.ignore_color is not None:
            palette.setdefault(_code(self.ignore_color), self.spec.ignore_index)
        found, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
        if (raw[..., 0] == raw[..., 1]).all() and (raw[..., 0] == raw[..., 2]).all() and not set(
                found.tolist()) <= palette.keys():
            return self.decode(raw[..., 0], file)  # Grey saved as RGB: indices, or a binary mask.
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
        if file.lower().endswith(('.jpg', '.jpeg')) or len(unknown) > 20:
            return (f'{file}: {len(unknown)} colours that are not in the palette, such as {shown}: the mask is '
                    f'anti-aliased or a JPEG, its edges are blends; export the masks as PNG without anti-aliasing')
        return (f'{file}: colour {shown}{more}, not in the palette of {len(self.spec.colors)} colours; '
                f'add it to data.colors, or to dataset.json')


def _code(color: tuple[int, int, int]) -> int:
    return int(color[0]) << 16 | int(color[1]) << 8 | int(color[2])
