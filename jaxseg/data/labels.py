"""What the values and colors of masks mean: class indices and void."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from jaxseg.data.masks import RawMask
from jaxseg.data.readings import add_palette, count_values, encode_colors, readings, shown_colors
from jaxseg.data.spec import Color, DatasetSpec, as_color
from jaxseg.errors import InputError
from jaxseg.fields import check_fields

Encoding = Literal['indices', 'colors']
# The options of `data.labels` in a config.
OPTIONS = ('label_map', 'reduce_zero_label', 'binary', 'ignore_color', 'encoding')


@dataclasses.dataclass(frozen=True)
class Labels:
    """How the masks of a data set store classes.

    Masks store indices or colors, decided once for the whole data set (`encoding`, or else `survey`). Of palette files
    'indices' means the stored indices, of RGB files the value of a grey pixel; 'colors' means the RGB color that a viewer
    shows, whatever kind of file stores it.

    One picture can be stored in several ways that give different indices: 1-bit white is 1 or 255, and programs that make
    files smaller reorder palettes. Where two of these ways give different classes, a mask is refused; `encoding='indices'`
    states that the stored indices are meant.

    Attributes:
      spec: classes, colors and void label.
      label_map: raw index -> class or void; what it does not name stays as it is.
      reduce_zero_label: 0 is void, every other index is one less; the void label itself stays void where it is no index.
      binary: True: 255 is class 1 of two. False: it is not. None: unspecified; a mask of two classes with no other values
        than 0 and 255 is then refused, for it may be a binary mask or one with void.
      ignore_color: the color of void in masks of colors.
      encoding: how all masks of the data set store classes.
      stated_colors: `spec.colors` were stated by the user, so that masks may be read by color.
      unnamed_is_void: what `label_map` does not name is void instead.
      surveyed, palette: the answer of `survey`, and the colors that indices have in palette files.

    Raises:
      InputError: an option has a wrong type, two contradict each other, or one does not fit the classes.
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
            object.__setattr__(self, 'ignore_color', as_color(self.ignore_color, 'ignore_color'))
        check_fields(self, 'data.labels')
        object.__setattr__(self, 'label_map', {int(raw): label for raw, label in self.label_map.items()})
        classes, void = len(self.spec.classes), self.spec.ignore_index
        for raw, label in self.label_map.items():
            if raw < 0 or not 0 <= label < classes and label != void:
                raise InputError(f'label_map: {raw} becomes {label}; it maps values from 0 on to the {classes} classes '
                                 f'0..{classes - 1} or void {void}, correct it or add the class')
        if len(self._options) > 1:
            raise InputError(f'data.labels: {" and ".join(self._options)} contradict each other; give one of them')
        if self.binary and classes != 2 and not self.spec.overlapping:
            raise InputError(f'data.labels.binary: true with {classes} classes; binary masks have two, remove it or give '
                             f'two class names')
        if self.encoding == 'colors' and (self._options or not self.stated_colors):
            remedy = f'remove {self._options[0]}' if self._options else 'give the color of each class in data.colors'
            raise InputError(f"data.labels.encoding: 'colors' cannot be used here; {remedy}")

    def survey(self, raws: Iterable[RawMask]) -> 'Labels':
        """These labels with the encoding decided from some masks of the data set; give the same ones each time.

        The encoding under which more of them are valid is taken. If all are valid under both, palette files in which the
        two disagree are read by color, as their palette holds the colors in another order.

        Raises:
          InputError: other masks are valid under both, which disagree; or palettes disagree about an index.
        """
        if self.encoding or self.surveyed:
            return self
        votes, palette, conflict = collections.Counter(), {}, ''
        for raw in raws:
            conflict = conflict or add_palette(palette, raw)
            votes[self._vote(raw)] += 1
        if votes['either'] and votes['indices'] == votes['colors']:
            raise InputError(f'data.labels.encoding: {votes["either"]} masks are valid as indices and as colors, but mean '
                             f"other classes; state 'indices' or 'colors'")
        if votes['colors'] + votes['palette'] > votes['indices']:
            return dataclasses.replace(self, surveyed='colors')
        if conflict:
            raise InputError(conflict)
        return dataclasses.replace(self, surveyed='indices', palette=palette)

    def _vote(self, raw: RawMask) -> str:
        """The encoding under which a mask is valid: indices, colors, palette (both, in another order), either, or same."""
        if self._options or not self.stated_colors:
            return 'indices'
        by_index, by_color = (self._attempt(raw, encoding) for encoding in ('indices', 'colors'))
        if by_index is None or by_color is None:
            return 'indices' if by_color is None and by_index is not None else 'colors' if by_index is None else 'same'
        if (by_index == by_color).all():
            return 'same'
        return 'palette' if raw.palette else 'either'

    def decode(self, raw: RawMask, file: str) -> np.ndarray:
        """Class indices or the void label, (H, W) uint8 (uint16 if the labels need it).

        Without `encoding` and `survey` this mask alone decides.

        Raises:
          InputError: a value or color that is no class and not void, with its count; two meanings that differ.
        """
        encoding = self.encoding or self.surveyed
        if encoding is None:
            return self.survey([raw]).decode(raw, file)
        if encoding == 'indices':
            return self._by_index(raw, self._classes_of, file)
        if raw.values.ndim == 3:
            return self._by_color(raw.values, file)
        values, counts = count_values(raw.values, file)
        classes, codes = self._colors_of(raw, values)
        if (classes < 0).any():
            raise InputError(self._unknown_colors(codes[classes < 0], counts[classes < 0], file))
        return self._apply(raw.values, values, classes)

    def decode_binary(self, raw: RawMask, file: str) -> np.ndarray:
        """The mask of one class that may overlap others: (H, W) uint8 of 0, 1 and the void label.

        1 and 255 both mean that the class is there, but not in one mask; with `binary=False`, or a void label other than
        255, the void label is void.

        Raises:
          InputError: other values; or 1-bit white where 255 is void.
        """
        return self._by_index(raw, self._presence_of, file)

    @property
    def _options(self) -> list[str]:
        """The options in use that state what indices mean."""
        return [name for name in ('label_map', 'reduce_zero_label', 'binary') if getattr(self, name)]

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
            # Void that is a valid index after all, as 150 of 150 classes, is a class.
            void_too = (values == 0) | (values == void) & (void > classes)
            found = np.where(void_too, void, values - 1)
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
        found = np.where((values == 0) | (values == 1) | (values == void), values, -1)
        if self.binary is False:
            return found
        found = np.where(values == 255, 1, found)
        return np.full_like(values, -1) if {1, 255} <= set(values.tolist()) else found

    def _undecided(self, values: np.ndarray) -> bool:
        return (self.binary is None and not self.label_map and len(self.spec.classes) == 2
                and 255 in values and set(values.tolist()) <= {0, 255})

    def _by_index(self, raw: RawMask, meaning: Callable[[np.ndarray], np.ndarray], file: str) -> np.ndarray:
        stored = raw.values
        if stored.ndim == 3:
            if (stored != stored[..., :1]).any():
                raise InputError(f'{file}: a mask of colors, {self._no_colors()}')
            stored = stored[..., 0]  # Indices saved as RGB.
        values, counts = count_values(stored, file)
        found = [meaning(each) for each in ([values] if self.encoding == 'indices' else readings(raw, values))]
        valid = [classes for classes in found if (classes >= 0).all()]
        if not valid:
            raise InputError(self._invalid(values, counts, found[0], file))
        if any((classes != valid[0]).any() for classes in valid) or self._contradicts_palette(raw, values, valid[0]):
            kind = 'palette' if raw.palette else f'{ {255: 1, 85: 2, 17: 4}[raw.scale]}-bit'
            other = 'indices or the colors' if raw.palette else 'values or the greys'
            raise InputError(f'{file}: the {other} of this {kind} mask may be meant, and they give different classes; save '
                             f"it as 8-bit grey, or set data.labels.encoding to 'indices' for the stored ones")
        return self._apply(stored, values, valid[0])

    def _by_color(self, colors: np.ndarray, file: str) -> np.ndarray:
        codes = encode_colors(colors)
        known, classes = self._table()
        place = np.searchsorted(known, codes).clip(max=len(known) - 1)
        wrong = known[place] != codes
        if wrong.any():
            raise InputError(self._unknown_colors(*np.unique(codes[wrong], return_counts=True), file))
        return classes.astype(self._dtype)[place]

    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes of the known colors in order, and the class or void label of each."""
        table = {} if self.ignore_color is None else {self.ignore_color: self.spec.ignore_index}
        table |= {color: index for index, color in enumerate(self.spec.colors)}
        codes, classes = encode_colors(np.array(list(table))), np.array(list(table.values()))
        order = np.argsort(codes)
        return codes[order], classes[order]

    def _colors_of(self, raw: RawMask, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class or void of each stored value by the color that a viewer shows, -1 for unknown ones; and these colors.

        Entries of a palette that repeat an earlier color are padding, and no colors.
        """
        shown = shown_colors(raw, values)
        codes = np.where((shown >= 0).all(-1), encode_colors(shown), -1)
        known, classes = self._table()
        place = np.searchsorted(known, codes).clip(max=len(known) - 1)
        return np.where(known[place] == codes, classes[place], -1), codes

    def _contradicts_palette(self, raw: RawMask, values: np.ndarray, classes: np.ndarray) -> bool:
        """Whether the palette of a file gives an index another color than the data set gives its class."""
        if not raw.palette or self.encoding:
            return False
        if self.spec.overlapping:  # Black is the absence of a class.
            return bool(((shown_colors(raw, values) == 0).all(-1) & (values != 0)).any())
        own = {value: raw.palette[value] for value in values.tolist() if value < len(raw.palette)}
        owners = {color: value for value, color in self.palette.items()}
        if any(self.palette.get(value, color) != color or owners.get(color, value) != value for value, color in own.items()):
            return True
        by_color, _ = self._colors_of(raw, values)
        return self.stated_colors and bool(((by_color >= 0) & (by_color != classes)).any())

    @property
    def _dtype(self) -> type:
        return np.uint8 if max(self.spec.ignore_index, len(self.spec.classes) - 1) < 256 else np.uint16

    def _apply(self, stored: np.ndarray, values: np.ndarray, classes: np.ndarray) -> np.ndarray:
        table = np.zeros(int(values[-1]) + 1, self._dtype)
        table[values] = classes
        return table[stored]

    def _no_colors(self) -> str:
        if self._options:
            return (f'which data.labels.{self._options[0]} does not apply to; remove it and give the colors of the classes '
                    f'in data.colors, or save indices')
        if not self.stated_colors:
            return 'but data.colors does not state the color of each class; give it, or save indices'
        return 'but the masks of this data set store indices; save all in one way, or set data.labels.encoding'

    def _invalid(self, values: np.ndarray, counts: np.ndarray, classes: np.ndarray, file: str) -> str:
        if self.spec.overlapping:
            return (f'{file}: values {", ".join(map(str, values[:5]))}; the mask of one class holds 0 and 1, or 0 and 255, '
                    f'and void where data.ignore_index is stated ({self.spec.ignore_index} is void with '
                    f'data.labels.binary=false)')
        if self._undecided(values):
            return (f'{file}: holds only 0 and 255, and 255 may be class 1 or void; set data.labels.binary=true for class 1 '
                    f'(data.label_map={{0: 0, 255: 1}} with tfds.Tfds), or data.ignore_index=255 for void')
        wrong = np.flatnonzero(classes < 0)
        shown = ', '.join(f'{values[i]} ({counts[i]} px)' for i in wrong[:3])
        more = f' and {len(wrong) - 3} more values' if len(wrong) > 3 else ''
        names = len(self.spec.classes)
        return (f'{file}: label {shown}{more} outside the {names} classes 0..{names - 1}, void {self.spec.ignore_index}; '
                f'set data.ignore_index, or label_map, reduce_zero_label or binary in data.labels, or add the class')

    def _unknown_colors(self, codes: np.ndarray, counts: np.ndarray, file: str) -> str:
        most = np.argsort(-counts, kind='stable')[:3]
        shown = ', '.join(f'({codes[i] >> 16}, {codes[i] >> 8 & 255}, {codes[i] & 255}) in {counts[i]} px'
                          if codes[i] >= 0 else f'of an index without a color of its own in {counts[i]} px' for i in most)
        more = f' and {len(codes) - 3} more colors' if len(codes) > 3 else ''
        # Blending makes many rare colors; a class that is not in the palette makes one common color.
        if len(codes) > 20:
            return (f'{file}: {len(codes)} colors that are not in the palette, such as {shown}: the mask is anti-aliased, '
                    f'its edges are blends; save masks as PNG without anti-aliasing')
        return (f'{file}: color {shown}{more}, not in the palette of {len(self.spec.colors)} colors; add it to data.colors, '
                f"or set data.labels.ignore_color for void, or data.labels.encoding='indices' where masks store indices")
