"""The values of mask files; `jaxseg.data.labels` decides what values and colors mean."""

import dataclasses
import pathlib

import numpy as np

from jaxseg.data.decode import page_problem, read_samples
from jaxseg.data.file_info import FileInfo, file_info
from jaxseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class RawMask:
    """What a mask file stores.

    Attributes:
      values: (H, W) integers, or (H, W, 3) uint8 colors.
      palette: of a palette file, the RGB colors of its indices.
      scale: of grey with fewer than 8 bits, the factor from stored values to the 8-bit greys that
        a viewer shows: 255 for 1 bit, 85 for 2 and 17 for 4; otherwise 1.
    """

    values: np.ndarray
    palette: tuple[tuple[int, int, int], ...] | None = None
    scale: int = 1


def read_mask(file: pathlib.Path | bytes, name: str = '') -> RawMask:
    """The values of a mask, turned as its EXIF orientation states, like those of an image.

    Masks are turned too, because annotators draw on what a viewer shows. Where a mask was drawn on
    the stored pixels of a turned image, the sizes differ, unless the image is square or upright.

    Raises:
      InputError: the file cannot be decoded, is transparent or is no mask; see `check_mask`.
    """
    info, shown = file_info(file, name), name if isinstance(file, bytes) else str(file)
    check_mask(info, shown)
    array = read_samples(file, info, shown, expand=False)
    if info.alpha and info.samples in (2, 4):
        transparent = int((array[..., -1] != np.iinfo(array.dtype).max).sum())
        if transparent:
            raise InputError(f'{shown}: {transparent} pixels of the mask are transparent, and what '
                             f'that means is not stated; save the mask without alpha')
        array = array[..., :-1]
    if array.dtype == bool:
        array = array.astype(np.uint8)
    scaled = info.palette is None and array.shape[-1] == 1 and info.bits < 8
    return RawMask(array if array.shape[-1] == 3 else array[..., 0], info.palette,
                   255 // (2 ** info.bits - 1) if scaled else 1)


def check_mask(info: FileInfo, name: str):
    """Raises InputError, naming the reason, where a file with this header cannot be a mask."""
    problem = _problem(info)
    if problem:
        raise InputError(f'{name}: {problem}')


def _problem(info: FileInfo) -> str:
    remedy = 'save masks as PNG: 8-bit indices, a palette, or RGB colors'
    if not info.lossless:
        codec = f'{info.codec} in TIFF' if info.format == 'TIFF' else info.codec
        return (f'a mask must not be lossy: {codec}; it changes labels, above all along edges; '
                f'{remedy}, made from the original annotation')
    if info.sample_format == 'float':
        return f'a mask holds integers: {info.depth}; {remedy}'
    if info.color == 'white-is-zero grey' and info.bits > 1:
        return (f'a mask of {info.depth} white-is-zero grey (photometric 0), whose values may be '
                f'meant inverted or not; {remedy}')
    understood = ('grey', 'white-is-zero grey', 'palette', 'RGB')
    if info.color not in understood or info.bits > 8 and (info.samples > 1 or info.palette):
        return (f'a mask of {info.samples} {info.depth} channels ({info.color}) is not understood; '
                f'{remedy}')
    return page_problem(info)
