"""Images and the layers over them as data addresses, small enough for a page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

LARGEST_SIDE = 1024  # pixels of an image in a page
IMAGE_BYTES = 240_000  # of an image at most; it is made smaller until it fits
LOSSLESS = 256 * 256  # pixels: a page enlarges smaller images, and would show the blocks of JPEG
HEAT_SIDE = 512
SHADE = 165  # opacity of the inside of a region; borders are opaque
WRONG = (213, 94, 0)  # vermilion, which color-blind readers see on grey, blue and green
RIGHT = (0, 114, 178)  # blue
# From certain to uncertain: the color map inferno of matplotlib at eight places.
HEAT = ((0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21),
        (250, 193, 39), (252, 255, 164))


def photograph(rgb: np.ndarray) -> str:
    """(H, W, 3) uint8 as the address of a JPEG of at most `IMAGE_BYTES`, a PNG if it is small."""
    image, side = Image.fromarray(rgb), LARGEST_SIDE
    if rgb.shape[0] * rgb.shape[1] <= LOSSLESS:
        return _address(_encoded(image, 'PNG', optimize=True), 'png')
    while True:
        small = image.resize(fitted(image.size, side), Image.Resampling.BOX)
        data = _encoded(small, 'JPEG', quality=85)
        if len(data) <= IMAGE_BYTES or side <= 128:
            return _address(data, 'jpeg')
        side = side * 3 // 4


def class_layer(mask: np.ndarray, colors: Sequence[Sequence[int]]) -> str:
    """Class indices (H, W) as a transparent PNG with opaque borders; other values stay clear."""
    mask = np.asarray(_nearest(mask))
    border = np.zeros(mask.shape, bool)
    border[1:] |= mask[1:] != mask[:-1]
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    known = mask < len(colors)
    layer = np.zeros((*mask.shape, 4), np.uint8)
    layer[..., :3] = np.array(colors, np.uint8)[np.where(known, mask, 0)]
    layer[..., 3] = np.where(known, np.where(border, 255, SHADE), 0)
    layer[~known] = 0
    return _address(_encoded(Image.fromarray(layer), 'PNG', optimize=True), 'png')


def error_layer(wrong: np.ndarray) -> str:
    """(H, W) bool as a transparent PNG; the opacity is the share of wrong pixels it stands for."""
    return marked_layer([(wrong, WRONG)])


def marked_layer(marks: Sequence[tuple[np.ndarray, Sequence[int]]]) -> str:
    """Masks (H, W) bool, each in a color, as one transparent PNG; the last one lies on top."""
    width, height = fitted(marks[0][0].shape[::-1], LARGEST_SIDE)
    layer = np.zeros((height, width, 4), np.uint8)
    for mask, color in marks:
        share = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(
            (width, height), Image.Resampling.BOX))
        marked = share > 0
        layer[marked, :3] = color
        # A single pixel of many must stay visible; sixteen steps compress well.
        layer[marked, 3] = np.maximum(share[marked] // 17 * 17, 85)
    return _address(_encoded(Image.fromarray(layer), 'PNG', optimize=True), 'png')


def heat_layer(values: np.ndarray) -> str:
    """(H, W) from 0 to 1 as an opaque JPEG in the colors of `HEAT`."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(levels).resize(
        fitted(levels.shape[::-1], HEAT_SIDE), Image.Resampling.BOX))
    return _address(_encoded(Image.fromarray(heat_colors()[small]), 'JPEG', quality=80), 'jpeg')


def matrix_image(shares: np.ndarray) -> str:
    """(K, K) from 0 to 1, one pixel a cell: blue on the diagonal, vermilion beside it, as PNG."""
    layer = np.zeros((*shares.shape, 4), np.uint8)
    layer[..., :3] = WRONG
    layer[np.arange(len(shares)), np.arange(len(shares)), :3] = RIGHT
    # The root shows one per cent, too.
    layer[..., 3] = np.rint(255 * np.sqrt(np.nan_to_num(shares))).astype(np.uint8)
    return _address(_encoded(Image.fromarray(layer), 'PNG', optimize=True), 'png')


def heat_colors() -> np.ndarray:
    """(256, 3) uint8, interpolated between the colors of `HEAT`."""
    places = np.linspace(0, 255, len(HEAT))
    return np.stack([np.interp(np.arange(256), places, channel)
                     for channel in zip(*HEAT, strict=True)], -1).round().astype(np.uint8)


def fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) of the same form whose longer side is at most `side`."""
    scale = min(1, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _nearest(mask: np.ndarray) -> np.ndarray:
    """The mask at the size of a page: every pixel is one of its own."""
    width, height = fitted(mask.shape[::-1], LARGEST_SIDE)
    rows, columns = ((np.arange(count) + 0.5) * total / count
                     for count, total in zip((height, width), mask.shape, strict=True))
    return mask[rows.astype(int)[:, None], columns.astype(int)]


def _encoded(image: Image.Image, form: str, **options: int | bool) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _address(data: bytes, kind: str) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
