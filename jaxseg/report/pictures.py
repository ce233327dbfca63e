"""Images and the layers over them as data addresses, small enough for a page."""

import base64
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

LARGEST_SIDE = 1024  # pixels of an image in a page
IMAGE_BYTES = 240_000  # of an image at most; it is made smaller until it fits
LAYER_BYTES = 80_000  # of a layer
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
    image = Image.fromarray(rgb)
    if rgb.shape[0] * rgb.shape[1] <= LOSSLESS:
        return _address(_encoded(image, 'PNG'), 'png')
    return _address(_bounded(IMAGE_BYTES, lambda side: _encoded(
        image.resize(fitted(image.size, side), Image.Resampling.BOX), 'JPEG', quality=85)), 'jpeg')


def class_layer(mask: np.ndarray, colors: Sequence[Sequence[int]]) -> str:
    """Class indices (H, W) as a transparent PNG with opaque borders; other values stay clear."""
    return _address(_bounded(LAYER_BYTES, lambda side: _class_png(_nearest(mask, side), colors)),
                    'png')


def _class_png(mask: np.ndarray, colors: Sequence[Sequence[int]]) -> bytes:
    """Two entries of a palette a class, inside and border, and a clear one; without, of many."""
    border = np.zeros(mask.shape, bool)
    border[1:] |= mask[1:] != mask[:-1]
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    clear = 2 * len(colors)
    index = np.where(mask < len(colors), 2 * mask.astype(np.int32) + border, clear)
    palette = np.array([*np.repeat(np.array(colors, np.uint8), 2, 0), (0, 0, 0)], np.uint8)
    alpha = np.array([SHADE, 255] * len(colors) + [0], np.uint8)
    if clear > 255:
        layer = np.concatenate([palette, alpha[:, None]], -1)[index]
        return _encoded(Image.fromarray(layer), 'PNG')
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(palette.tobytes())
    return _encoded(image, 'PNG', transparency=alpha.tobytes())


def error_layer(wrong: np.ndarray) -> str:
    """(H, W) bool as a transparent PNG; the opacity is the share of wrong pixels it stands for."""
    return marked_layer([(wrong, WRONG)])


def marked_layer(marks: Sequence[tuple[np.ndarray, Sequence[int]]]) -> str:
    """Masks (H, W) bool, each in a color, as one transparent PNG; the last one lies on top."""
    return _address(_bounded(LAYER_BYTES, lambda side: _marked_png(marks, side)), 'png')


def _marked_png(marks: Sequence[tuple[np.ndarray, Sequence[int]]], side: int) -> bytes:
    width, height = fitted(marks[0][0].shape[::-1], side)
    layer = np.zeros((height, width, 4), np.uint8)
    for mask, color in marks:
        share = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(
            (width, height), Image.Resampling.BOX))
        marked = share > 0
        layer[marked, :3] = color
        # A single pixel of many must stay visible; few steps compress well.
        layer[marked, 3] = np.maximum(share[marked] // 51 * 51, 102)
    return _encoded(Image.fromarray(layer), 'PNG')


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
    return _address(_encoded(Image.fromarray(layer), 'PNG'), 'png')


def heat_colors() -> np.ndarray:
    """(256, 3) uint8, interpolated between the colors of `HEAT`."""
    places = np.linspace(0, 255, len(HEAT))
    return np.stack([np.interp(np.arange(256), places, channel)
                     for channel in zip(*HEAT, strict=True)], -1).round().astype(np.uint8)


def fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) of the same form whose longer side is at most `side`."""
    scale = min(1, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _nearest(mask: np.ndarray, side: int) -> np.ndarray:
    """The mask in the size of a page: every pixel is one of its own."""
    width, height = fitted(mask.shape[::-1], side)
    rows, columns = ((np.arange(count) + 0.5) * total / count
                     for count, total in zip((height, width), mask.shape, strict=True))
    return mask[rows.astype(int)[:, None], columns.astype(int)]


def _bounded(limit: int, encoded: Callable[[int], bytes]) -> bytes:
    """What a longest side gives, for the largest side whose result has at most `limit` bytes."""
    side = LARGEST_SIDE
    while len(data := encoded(side)) > limit and side > 128:
        # The bytes grow with the area; a little less, so that the second try fits as a rule.
        side = max(128, min(side * 3 // 4, int(0.95 * side * (limit / len(data)) ** 0.5)))
    return data


def _encoded(image: Image.Image, form: str, **options: int | bool | bytes) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _address(data: bytes, kind: str) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
