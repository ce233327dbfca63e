"""Prediction from disk to disk, for images that are not held in memory."""

import math
import pathlib
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image

from jaxseg.commands.workdir import Workdir
from jaxseg.data.file_info import MAX_PIXELS, file_info
from jaxseg.data.lazy import LAZY_SUFFIXES, LazyImage
from jaxseg.data.mask_writer import TILE, check_writer, regroup, write_mask
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.visualize import as_rgb, overlay, save_image
from jaxseg.errors import InputError, printable
from jaxseg.inference.postprocess import Postprocess
from jaxseg.memory import available_bytes

# Larger images are read from disk piece by piece: share of the memory that decoded pixels take.
SHARE = 1 / 8
OVERLAY_SIDE = 2048  # pixels, the longer side of an overlay
THROUGH_WINDOWS = (', through overlapping windows, since it is not held in one piece; where the '
                   'model allows, --config.inference.type=exact.Exact gives what one piece would')


def is_large(path: pathlib.Path) -> bool:
    """Whether an image is to be read piece by piece, and is of a format that can be.

    A file that cannot be read is not: reading it names the problem.
    """
    if path.suffix.lower() not in LAZY_SUFFIXES:
        return False
    try:
        info = file_info(path, max_pixels=sys.maxsize)
    except InputError:
        return False
    pixels = info.height * info.width
    return pixels > MAX_PIXELS or (
        pixels * info.samples * info.bits / 8 > SHARE * available_bytes())


def mask_file(path: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    """Where the mask of an image goes: `.npy` for `.npy`, else a tiled TIFF."""
    return place.with_name(f'{place.name}{".npy" if path.suffix.lower() == ".npy" else ".tif"}')


def check_rows(run: Workdir, path: pathlib.Path):
    """Raises InputError if the inference method takes images in memory only, and one is on disk."""
    inference, remedies = run.parts.inference, []
    if hasattr(inference, 'rows'):
        return
    name = type(inference).__name__
    if isinstance(inference, Postprocess) and 'Postprocess' not in run.config.inference['type']:
        remedies, inference = ['leave out --postprocess'], inference.method
    if not hasattr(inference, 'rows'):
        remedies.append(f'instead of {run.config.inference["type"]} give '
                        f'--config.inference=\'{{"type": "sliding.SlidingWindow"}}\'')
    raise InputError(f'{path}: is read piece by piece, and {name} takes images in memory; '
                     f'{", and ".join(remedies)}')


def predict_large(run: Workdir, variables: Any, path: pathlib.Path, place: pathlib.Path, *,
                  overlays: bool) -> str:
    """Writes the mask of an image on disk.

    Args:
      variables: on all devices.
      place: of the results, without suffix.
      overlays: writes an overlay of at most `OVERLAY_SIDE` pixels, too.

    Returns:
      Size, seconds, peak memory, and whether it went through windows instead of in one piece, one
      line.

    Raises:
      InputError: the image cannot be read piece by piece, or a package is missing.
    """
    start, inference = time.monotonic(), run.parts.inference
    windowed, target = len(inference.windowed), mask_file(path, place)
    if target.resolve() == path.resolve():
        raise InputError(f'{path}: its mask {target} would overwrite it; give another --output')
    check_writer(target)
    image = LazyImage(path, run.spec.channels, run.record.value_range)
    height, width, _ = image.shape
    thumbnail = _Thumbnail(image, run.spec)
    place.parent.mkdir(parents=True, exist_ok=True)
    pieces = inference.rows(variables, image)
    write_mask(target, thumbnail.watch(pieces), (height, width), run.spec.colors)
    if overlays:
        save_image(place.with_name(f'{place.name}_overlay.png'), thumbnail.picture())
    seconds = time.monotonic() - start
    return (f'{printable(str(target))}: {height}x{width} in {seconds:.1f} s, '
            f'{height * width / 1e6 / seconds:.2f} megapixels/s, '
            f'peak memory {peak_memory() / 2 ** 30:.2f} GiB'
            f'{THROUGH_WINDOWS if len(inference.windowed) > windowed else ""}')


def peak_memory() -> int:
    """The most bytes that this process had in memory at once."""
    # In KiB, but on macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == 'darwin' else 1024)


class _Thumbnail:
    """A small copy of image and mask, made while the mask passes."""

    def __init__(self, image: LazyImage, spec: DatasetSpec):
        self._image, self._spec = image, spec
        self._step = math.ceil(max(image.shape[:2]) / OVERLAY_SIDE)
        self._pixels: list[np.ndarray] = []
        self._mask: list[np.ndarray] = []

    def watch(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The pieces of the mask, regrouped."""
        step, top = self._step, 0
        for piece in regroup(pieces, TILE):
            taken = np.s_[(step // 2 - top) % step::step, step // 2::step]
            self._mask.append(piece[taken].copy())
            pixels = as_rgb(self._image[top:top + len(piece)], self._spec.value_range)
            # The mean around a pixel, for every sixth pixel of a texture may be any of its values.
            self._pixels.append(cv2.blur(np.ascontiguousarray(pixels), (step, step))[taken].copy())
            top += len(piece)
            yield piece

    def picture(self) -> Image.Image:
        """The overlay."""
        return Image.fromarray(overlay(np.concatenate(self._pixels), np.concatenate(self._mask),
                                       self._spec))
