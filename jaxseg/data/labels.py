"""What the values and colors of masks mean: class indices and void."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from jaxseg.data.masks import RawMask
from jaxseg.data.readings import (
    ColorTable,
    count_values,
    encode_colors,
    palette_colors,
    palette_conflict,
    readings,
    shown_colors,
    unknown_colors,
)
from jaxseg.data.spec import Color, DatasetSpec, as_color
from jaxseg.errors import InputError
from jaxseg.fields import check_fields

Encoding = Literal['indices', 'colors']
# The options of `data.labels` in a config.
OPTIONS = ('label_map', 'reduce_zero_label', 'binary', 'ignore_color', 'encoding')


@dataclasses.dataclass(frozen=True)
class Labels:
    """How the masks of a data set store classes.

    Masks store indices or colors, decided once for the whole data set (`encoding`, or else
    `survey`). 'indices' are the stored values of grey and palette files, and the value of grey
    pixels in RGB files. 'colors' are those that a viewer shows, whatever kind of file stores them.

    One image can be stored in several ways that give different indices: 1-bit white is 1 or 255,
    and programs that make files smaller reorder palettes. Where two of them give different classes,
    a mask is refused; `encoding='indices'` states that the stored values are meant.

    Attributes:
      spec: classes, colors and void label.
      label_map: raw index -> class or void; what it does not name stays as it is.
      reduce_zero_label: 0 is void, every other index is one less. The void label stays void, unless
        it is an index: with 150 classes and void 150 the value 150 is the last class.
      binary: True: 255 is class 1 of two. False: it is not. None: unspecified; a mask of two
        classes that holds only 0 and 255 is refused, as it may be a binary mask or show void.
      ignore_color: the color of void in masks of colors.
      encoding: how all masks of the data set store classes; by default decided by `survey`.
      stated_colors: `spec.colors` were stated by the user, so masks may be read by color.
      unnamed_is_void: what `label_map` does not name is void instead.
      surveyed, palette: the answer of `survey`, and the colors of indices in palette files.

    Raises:
      InputError: an option has a wrong type, contradicts another, or does not fit the classes.
    """

    spec: DatasetSpec
    label_map: Mapping[int, int] = dataclasses.field(default_factory=dict)
    reduce_zero_label: bool = False
    binary: bool | None = None
    ignore_color: Sequence[int] | None = None
    encoding: Encoding | None = None
    stated_colors: bool = True
    unnamed_is_void: bool = False
    surveyed: Encoding | None = None
    palette: Mapping[int, Color] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.ignore_color is not None:
            color = as_color(self.ignore_color, 'ignore_color')
            object.__setattr__(self, 'ignore_color', color)
        check_fields(self, 'data.labels')
        label_map = {int(raw): label for raw, label in self.label_map.items()}
        object.__setattr__(self, 'label_map', label_map)
        classes, void = len(self.spec.classes), self.spec.ignore_index
        for raw, label in label_map.items():
            if raw < 0 or not 0 <= label < classes and label != void:
                raise InputError(
                    f'label_map: {raw} becomes {label}; it maps values from 0 on to the {classes} '
                    f'classes 0..{classes - 1} or void {void}, correct it or add the class')
        if len(self._options) > 1:
            raise InputError(f'data.labels: {" and ".join(self._options)} contradict each other; '
                             f'give one of them')
        if self.binary and classes != 2 and not self.spec.overlapping:
            raise InputError(f'data.labels.binary: true with {classes} classes; binary masks have '
                             f'two, remove it or give two class names')
        if self.encoding == 'colors' and (self._options or not self.stated_colors):
            remedy = (f'remove {self._options[0]}' if self._options
                      else 'give the color of each class in data.colors')
            raise InputError(f"data.labels.encoding: 'colors' cannot be used here; {remedy}")

    def survey(self, raws: Iterable[RawMask]) -> 'Labels':
        """Decides from some masks of the data set, always the same ones, what all of them store.

        The encoding under which more masks are valid is taken. Palette files that are valid under
        both are read by color where the two disagree: their palette has another order.

        Raises:
          InputError: other masks are valid under both, which disagree; or two palettes disagree.
        """
        if self.encoding or self.surveyed:
            return self
        votes, palette, conflict = collections.Counter(), {}, ''
        for raw in raws:
            conflict = conflict or palette_conflict(palette, raw)
            votes[self._vote(raw)] += 1
        if votes['either'] and votes['indices'] == votes['colors']:
            raise InputError(
                f'data.labels.encoding: {votes["either"]} masks are valid as indices and colors, '
                f"but mean different classes; state 'indices' or 'colors'")
        if votes['colors'] + votes['palette'] > votes['indices']:
            return dataclasses.replace(self, surveyed='colors')
        if conflict:
            raise InputError(conflict)
        return dataclasses.replace(self, surveyed='indices', palette=palette)

    def decode(self, raw: RawMask, file: str) -> np.ndarray:
        """Class indices or the void label, (H, W) uint8 (uint16 if the labels need it).

        Without `encoding` and `survey` this mask alone decides what it stores.

        Raises:
          InputError: a value or color that is neither class nor void, with its count; or the mask
            may be meant in two ways that give different classes.
        """
        encoding = self.encoding or self.surveyed
        if encoding is None:
            return self.survey([raw]).decode(raw, file)
        if encoding == 'indices':
            return self._by_index(raw, self._classes_of, file)
        if raw.values.ndim == 2:
            values, counts = count_values(raw.values, file)
            codes = self._shown_codes(raw, values)
            return self._apply(raw.values, values, self._by_color(codes, file, counts))
        return self._by_color(encode_colors(raw.values), file).astype(self._dtype)

    def decode_binary(self, raw: RawMask, file: str) -> np.ndarray:
        """The mask of one class that may overlap others: (H, W) of 0, 1 and the void label, uint8.

        1 and 255 both mean that the class is there, but not in one mask. With `binary=False` the
        void label 255 is void.

        Raises:
          InputError: other values; or 1-bit white where 255 is void.
        """
        return self._by_index(raw, self._presence_of, file)

    @property
    def _options(self) -> list[str]:
        """The options in use that state what indices mean."""
        names = ('label_map', 'reduce_zero_label', 'binary')
        return [name for name in names if getattr(self, name)]

    @functools.cached_property
    def _table(self) -> ColorTable:
        void = {} if self.ignore_color is None else {self.ignore_color: self.spec.ignore_index}
        return ColorTable(void | {color: i for i, color in enumerate(self.spec.colors)})

    @property
    def _dtype(self) -> type:
        largest = max(self.spec.ignore_index, len(self.spec.classes) - 1)
        return np.uint8 if largest < 256 else np.uint16

    def _vote(self, raw: RawMask) -> str:
        """The encoding under which a mask is valid.

        Of those valid under both: 'same' if they agree, 'palette' or 'either' if they do not.
        """
        if self._options or not self.stated_colors:
            return 'indices'
        by_index, by_color = self._attempt(raw, 'indices'), self._attempt(raw, 'colors')
        if by_index is None:
            return 'colors'
        if by_color is None:
            return 'indices'
        if (by_index == by_color).all():
            return 'same'
        return 'palette' if raw.palette else 'either'

    def _attempt(self, raw: RawMask, encoding: Encoding) -> np.ndarray | None:
        try:
            return dataclasses.replace(self, encoding=encoding).decode(raw, '')
        except InputError:
            return None

    def _classes_of(self, values: np.ndarray) -> np.ndarray:
        """Class or void label of each value of a mask; -1 for what is neither."""
        void, classes = self.spec.ignore_index, len(self.spec.classes)
        if self.label_map:
            found = np.array([self.label_map.get(value, void if self.unnamed_is_void else value)
                              for value in values.tolist()])
        elif self.reduce_zero_label:
            is_void = (values == 0) | (values == void) & (void > classes)
            found = np.where(is_void, void, values - 1)
        elif self.binary:
            found = np.where(values == 255, 1, values)
        elif self._undecided(values):
            found = np.full_like(values, -1)
        else:
            found = values
        return np.where((found >= 0) & (found < classes) | (found == void), found, -1)

    def _presence_of(self, values: np.ndarray) -> np.ndarray:
        """0, 1 or void for each value of the mask of one class; -1 for anything else."""
        void = self.spec.ignore_index
        found = np.where((values <= 1) | (values == void), values, -1)
        if self.binary is False and void == 255:
            return found
        both = {1, 255} <= set(values.tolist())
        return np.full_like(values, -1) if both else np.where(values == 255, 1, found)

    def _undecided(self, values: np.ndarray) -> bool:
        """Whether 255 may be class 1 or void, and nobody has stated which."""
        return (self.binary is None and not self.label_map and len(self.spec.classes) == 2
                and 255 in values and set(values.tolist()) <= {0, 255})

    def _by_index(self, raw: RawMask, meaning: Callable[[np.ndarray], np.ndarray], file: str
                  ) -> np.ndarray:
        stored = raw.values
        if stored.ndim == 3:
            if (stored != stored[..., :1]).any():
                raise InputError(f'{file}: a mask of colors, {self._why_no_colors()}')
            stored = stored[..., 0]  # indices saved as RGB
        values, counts = count_values(stored, file)
        sure, deep = self.encoding == 'indices', self._dtype == np.uint16
        possible = [values] if sure else readings(raw, values, deep=deep)
        found = [meaning(each) for each in possible]
        valid = [classes for classes in found if (classes >= 0).all()]
        if not valid:
            raise InputError(self._invalid(values, counts, found[0], file))
        ambiguous = any((classes != valid[0]).any() for classes in valid)
        if ambiguous or self._contradicts_palette(raw, values, valid[0]):
            raise InputError(
                f'{file}: the stored values of this mask and what it shows mean different '
                f'classes; save it as 8-bit grey that holds the class indices, or set '
                f"data.labels.encoding='indices' if the stored values are right in all masks")
        return self._apply(stored, values, valid[0])

    def _by_color(self, codes: np.ndarray, file: str, counts: np.ndarray | None = None
                  ) -> np.ndarray:
        """Class or void of each color; `counts` says how often each of `codes` occurs."""
        found = self._table.look_up(codes)
        wrong = found < 0
        if wrong.any():
            unknown, counts = ((codes[wrong], counts[wrong]) if counts is not None
                               else np.unique(codes[wrong], return_counts=True))
            raise InputError(unknown_colors(unknown, counts, len(self.spec.colors), file))
        return found

    def _shown_codes(self, raw: RawMask, values: np.ndarray) -> np.ndarray:
        shown = shown_colors(raw, values)
        return np.where((shown >= 0).all(-1), encode_colors(shown), -1)

    def _contradicts_palette(self, raw: RawMask, values: np.ndarray, classes: np.ndarray) -> bool:
        """Whether the palette of a file gives an index another color than the data set does."""
        if not raw.palette or self.encoding:
            return False
        if self.spec.overlapping:  # Black is the absence of a class.
            return bool(((shown_colors(raw, values) == 0).all(-1) & (values != 0)).any())
        own = palette_colors(raw, values)
        owners = {color: value for value, color in self.palette.items()}
        if any(self.palette.get(value, color) != color or owners.get(color, value) != value
               for value, color in own.items()):
            return True
        by_color = self._table.look_up(self._shown_codes(raw, values))
        return self.stated_colors and bool(((by_color >= 0) & (by_color != classes)).any())

    def _apply(self, stored: np.ndarray, values: np.ndarray, classes: np.ndarray) -> np.ndarray:
        table = np.zeros(int(values[-1]) + 1, self._dtype)
        table[values] = classes
        return table[stored]

    def _why_no_colors(self) -> str:
        if self._options:
            return (f'which data.labels.{self._options[0]} does not apply to; remove it and give '
                    f'the colors of the classes in data.colors, or save indices')
        if not self.stated_colors:
            return 'but data.colors does not state the colors of the classes; give them'
        return ('but other masks of this data set store indices; save all in one way, or set '
                'data.labels.encoding')

    def _invalid(self, values: np.ndarray, counts: np.ndarray, classes: np.ndarray, file: str
                 ) -> str:
        void, names = self.spec.ignore_index, len(self.spec.classes)
        if self.spec.overlapping:
            return (f'{file}: values {", ".join(map(str, values[:5]))}; a mask of one class holds '
                    f'0 and 1, or 0 and 255; state data.ignore_index if {void} is void')
        if self._undecided(values):
            return (f'{file}: holds only 0 and 255, and 255 may be class 1 or void; set '
                    f'data.labels.binary=true for class 1 (data.label_map={{0: 0, 255: 1}} with '
                    f'tfds.Tfds), or data.ignore_index=255 for void')
        wrong = np.flatnonzero(classes < 0)
        shown = ', '.join(f'{values[i]} ({counts[i]} px)' for i in wrong[:3])
        more = f' and {len(wrong) - 3} more values' if len(wrong) > 3 else ''
        return (f'{file}: label {shown}{more} outside the {names} classes 0..{names - 1}, void '
                f'{void}; set data.ignore_index, or label_map, reduce_zero_label or binary in '
                f'data.labels, or add the class')
