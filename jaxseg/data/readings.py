"""What the stored values of a mask look like in a viewer, and which masks they may have been made from."""

import numpy as np

from jaxseg.data.masks import RawMask


def count_values(stored: np.ndarray, file: str) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur in a mask, in order, and how often."""
    least, largest = int(stored.min()), int(stored.max())
    if stored.dtype.kind not in 'iu' or least < 0 or largest > 65535:
        raise InputError(f'{file}: mask values {least} to {largest} ({stored.dtype}); masks hold integers 0 to 65535')
    counts = np.bincount(stored.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def readings(raw: RawMask, values: np.ndarray) -> list[np.ndarray]:
    """What the stored values of a palette file, or one with fewer than 8 bits, may have been before: itself first.

    The greys that it shows are those of the 8-bit mask; and of a mask with 1, 2 or 4 bits they are multiples of 255, 85
    or 17.
    """
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
    """The colors (values, 3) that a viewer shows for stored values; -1 for indices that have none of their own."""
    if not raw.palette:
        grey = np.where(values * raw.scale < 256, values * raw.scale, -1)
        return np.repeat(grey[:, None], 3, -1)
    first = {color: index for index, color in reversed(list(enumerate(raw.palette)))}
    return np.array([raw.palette[value] if value < len(raw.palette) and first[raw.palette[value]] == value else (-1,) * 3
                     for value in values.tolist()])


def encode_colors(colors: np.ndarray) -> np.ndarray:
    """RGB as one integer, red in the highest byte."""
    red, green, blue = (colors[..., i].astype(np.int32) for i in range(3))
    return red << 16 | green << 8 | blue


def add_palette(palette: dict[int, tuple[int, int, int]], raw: RawMask) -> str:
    """Adds the colors of the indices that a palette file uses; returns what is wrong if one has another color already."""
    values = np.unique(raw.values).tolist() if raw.palette else []
    for value, color in [(value, raw.palette[value]) for value in values if value < len(raw.palette)]:
        if palette.setdefault(value, color) != color:
            return (f"index {value} has the color {palette[value]} in the palette of one mask and {color} in that of "
                    f"another; state data.colors for masks that are read by color, or data.labels.encoding='indices'")
    return ''
