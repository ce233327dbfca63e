"""Masks and predictions as images."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from jaxseg.data.spec import DatasetSpec
from jaxseg.files import replacing

STRIP = 2 ** 20  # pixels
OPACITY = 0.5  # of the colors, but for the borders
SHOWN_SIDE = 2048  # pixels


def overlay(image: np.ndarray, mask: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """The image under the colors of the classes, with thin borders: (H, W, 3) uint8.

    Images are of any number of channels: one is grey, more than three show the first three. Void is
    left as it is. Masks are (H, W) indices, or (H, W, classes) 0/1 masks, of which the last one of
    a pixel is shown.
    """
    mask = class_indices(mask, spec)
    border = np.zeros(mask.shape, bool)
    border[1:] |= mask[1:] != mask[:-1]
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    result = np.empty((*mask.shape, 3), np.uint8)
    # By strips: a pixel takes fifty bytes meanwhile.
    rows = max(1, STRIP // mask.shape[1])
    for strip in (slice(top, top + rows) for top in range(0, len(mask), rows)):
        rgb = as_rgb(image[strip], spec.value_range).astype(np.float32)
        known = mask[strip] < len(spec.classes)
        colors = np.array(spec.colors, np.float32)[np.where(known, mask[strip], 0)]
        weight = np.where(known, np.where(border[strip], 1.0, OPACITY), 0.0)[..., None]
        result[strip] = np.rint(rgb * (1 - weight) + colors * weight)
    return result


def class_indices(mask: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """(H, W) class indices of either kind of mask; void where no overlapping class is."""
    if mask.ndim == 2:
        return mask
    present = mask == 1
    last = len(spec.classes) - 1 - present[..., ::-1].argmax(-1)
    return np.where(present.any(-1), last, spec.ignore_index)


def as_rgb(image: np.ndarray, value_range: tuple[float, float] = (0.0, 255.0)) -> np.ndarray:
    """(H, W, C) of any channels and value range as (H, W, 3) uint8."""
    low, high = value_range
    if image.dtype != np.uint8 or (low, high) != (0, 255):
        share = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
        image = np.rint(share * 255).astype(np.uint8)
    return image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, -1)


def reduced(array: np.ndarray) -> np.ndarray:
    """Every n-th row and column of a large image, so that no side is above `SHOWN_SIDE`."""
    step = -(-max(array.shape[:2]) // SHOWN_SIDE)
    return array[::step, ::step]


def save_index_png(path: pathlib.Path, mask: np.ndarray, spec: DatasetSpec):
    """Writes class indices: an 8-bit PNG with a palette, or a 16-bit one if a value needs it."""
    if len(spec.classes) > 256 or mask.max(initial=0) > 255:
        save_image(path, Image.fromarray(mask.astype(np.uint16)))
        return
    palette = np.zeros((256, 3), np.uint8)
    palette[:len(spec.colors)] = spec.colors
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(palette.tobytes())
    save_image(path, image)


def save_image(path: pathlib.Path, image: Image.Image):
    """Writes an image file, whole or not at all."""
    with replacing(path, durable=False) as partial:
        image.save(partial)


def contact_sheet(images: Sequence[np.ndarray], captions: Sequence[str], spec: DatasetSpec,
                  columns: int = 4) -> Image.Image:
    """Images (H, W, 3) of any sizes in a grid with captions, and the legend of the classes."""
    width = max(image.shape[1] for image in images)
    height = max(image.shape[0] for image in images) + 14
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    names = [(spec.classes[i], spec.colors[i]) for i in range(len(spec.classes))]
    across = max(1, columns * width // 110)
    sheet = Image.new('RGB', (columns * width, rows * height + 16 * -(-len(names) // across) + 6),
                      'white')
    draw = ImageDraw.Draw(sheet)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = i % columns * width, i // columns * height
        sheet.paste(Image.fromarray(image), (x, y))
        draw.text((x + 2, y + height - 13), caption[:max(4, width // 6)], fill='black')
    for i, (name, color) in enumerate(names):
        x, y = i % across * 110 + 4, rows * height + 4 + i // across * 16
        draw.rectangle((x, y, x + 11, y + 11), fill=tuple(color), outline='black')
        draw.text((x + 16, y), name, fill='black')
    return sheet
