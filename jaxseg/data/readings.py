"""How stored values of a mask look in a viewer, and which masks they may have been made of."""

import numpy as np

from jaxseg.data.masks import RawMask
from jaxseg.errors import InputError

Color = tuple[int, int, int]


class ColorTable:
    """The class or void label of each known color. Colors are integers, see `encode_colors`."""

    def __init__(self, classes: dict[Color, int]):
        codes = encode_colors(np.array(list(classes)))
        order = np.argsort(codes)
        self._codes, self._classes = codes[order], np.array(list(classes.values()))[order]

    def look_up(self, codes: np.ndarray) -> np.ndarray:
        """Class or void label of each color, -1 for unknown ones."""
        place = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        return np.where(self._codes[place] == codes, self._classes[place], -1)


def encode_colors(colors: np.ndarray) -> np.ndarray:
    """RGB (..., 3) as one integer, red in the highest byte."""
    red, green, blue = (colors[..., i].astype(np.int32) for i in range(3))
    return red << 16 | green << 8 | blue


def count_values(stored: np.ndarray, file: str) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur in a mask, in order, and how often.

    Raises:
      InputError: values below 0 or above 65535.
    """
    least, largest = int(stored.min()), int(stored.max())
    if least < 0 or largest > 65535:
        raise InputError(f'{file}: mask values {least} to {largest} ({stored.dtype}); masks hold '
                         f'integers 0 to 65535')
    counts = np.bincount(stored.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def readings(raw: RawMask, values: np.ndarray, *, deep: bool) -> list[np.ndarray]:
    """What stored values may have been in the original mask: themselves first.

    Programs that make files smaller keep what is shown and change what is stored. A palette of
    greys, or grey with fewer than 8 bits, may come from an 8-bit mask of these greys; or from one
    with 1, 2 or 4 bits, whose values are shown as multiples of 255, 85 and 17. In 16 bits 8-bit
    greys are multiples of 257, unless the labels of the data set are `deep`: need 16 bits.
    """
    if raw.values.dtype == np.uint16 and not deep and not (values % 257).any():
        return [values, values // 257]
    if not raw.palette and raw.scale == 1:
        return [values]
    shown = shown_colors(raw, values)
    if (shown < 0).any() or (shown != shown[:, :1]).any():
        return [values]
    grey = shown[:, 0]
    if (grey == values).all():
        return [values]
    return [values, grey, *(grey // step for step in (255, 85, 17) if not (grey % step).any())]


def shown_colors(raw: RawMask, values: np.ndarray) -> np.ndarray:
    """The RGB colors (values, 3) of stored values; -1 where they have none of their own."""
    if not raw.palette:
        grey = np.where(values * raw.scale < 256, values * raw.scale, -1)
        return np.repeat(grey[:, None], 3, -1)
    own = palette_colors(raw, values)
    return np.array([own.get(value, (-1, -1, -1)) for value in values.tolist()])


def palette_colors(raw: RawMask, values: np.ndarray) -> dict[int, Color]:
    """The colors of a palette file by index, without padding: entries that repeat a color."""
    first = {color: index for index, color in reversed(list(enumerate(raw.palette or ())))}
    used = set(values.tolist())
    return {index: color for color, index in first.items() if index in used}


def palette_conflict(palette: dict[int, Color], raw: RawMask) -> str:
    """Adds the colors of the indices that a palette file uses; the text of a conflict, or ''."""
    own = palette_colors(raw, np.unique(raw.values)) if raw.palette else {}
    for value, color in sorted(own.items()):
        if palette.setdefault(value, color) != color:
            return (f'index {value} has the color {palette[value]} in the palette of one mask and '
                    f'{color} in that of another; state data.colors if masks are to be read by '
                    f"color, or data.labels.encoding='indices'")
    return ''


def unknown_colors(codes: np.ndarray, counts: np.ndarray, known: int, file: str) -> str:
    """The message for colors of a mask that are not among the `known` ones of the data set."""
    most = np.argsort(-counts, kind='stable')[:3]
    shown = ', '.join(f'{_color_text(int(codes[i]))} in {counts[i]} px' for i in most)
    # Blending makes many rare colors; a class missing from the palette makes one common color.
    if len(codes) > 20:
        return (f'{file}: {len(codes)} colors that are not in the palette, such as {shown}: the '
                f'mask is anti-aliased, its edges are blends; save masks without anti-aliasing')
    more = f' and {len(codes) - 3} more colors' if len(codes) > 3 else ''
    return (f'{file}: color {shown}{more}, not in the palette of {known} colors; add it to '
            f'data.colors, or set data.labels.ignore_color for void, or '
            f"data.labels.encoding='indices' where masks store indices")


def _color_text(code: int) -> str:
    return str((code >> 16, code >> 8 & 255, code & 255)) if code >= 0 else 'of no palette entry'
