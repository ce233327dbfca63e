"""Masks that are written from top to bottom, a few rows in memory at a time."""

import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from jaxseg.errors import InputError
from jaxseg.files import replacing

TILE = 256  # pixels, the side of a tile
_CLASSIC = 2 ** 31  # bytes; above it a BigTIFF, for offsets of classic TIFF end at 2 ** 32


def write_mask(path: pathlib.Path, pieces: Iterable[np.ndarray], size: tuple[int, int],
               colors: Sequence[Sequence[int]]):
    """Writes successive rows of a mask to a tiled TIFF or a `.npy` file, whole or not at all.

    Args:
      path: ends with .npy, or is written as a TIFF with deflate.
      pieces: (rows, width) class indices, or (rows, width, classes) 0/1 masks, together `size`.
      size: (height, width) of the mask.
      colors: of the classes, the palette of a TIFF of 8-bit indices.

    Raises:
      InputError: a TIFF without the package tifffile.
    """
    if path.suffix == '.npy':
        with replacing(path, durable=False) as partial:
            _write_npy(partial, pieces, size)
        return
    check_writer(path)
    with replacing(path, durable=False) as partial:
        _write_tiff(partial, pieces, size, colors)


def check_writer(path: pathlib.Path):
    """Raises InputError if the package that writes a file of this name is missing."""
    if path.suffix == '.npy':
        return
    try:
        import tifffile  # noqa: F401  an extra: only who has such files needs it
    except ImportError:
        raise InputError(f"{path}: TIFF is written with tifffile; pip install 'jaxseg[tiff]', or "
                         f"save the image as .npy, whose mask is .npy, too") from None


def regroup(pieces: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """The same rows in pieces of `rows` each; the last one has what is left."""
    waiting: list[np.ndarray] = []
    count = 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count < rows:
            continue
        joined = np.concatenate(waiting)
        whole = count - count % rows
        yield from np.split(joined[:whole], whole // rows)
        waiting, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(waiting)


def _write_npy(path: pathlib.Path, pieces: Iterable[np.ndarray], size: tuple[int, int]):
    first, pieces = _peek(pieces)
    header = {'descr': np.lib.format.dtype_to_descr(first.dtype), 'fortran_order': False,
              'shape': (*size, *first.shape[2:])}
    with path.open('wb') as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece).data)


def _write_tiff(path: pathlib.Path, pieces: Iterable[np.ndarray], size: tuple[int, int],
                colors: Sequence[Sequence[int]]):
    import tifffile  # `check_writer` has explained it where it is missing

    first, pieces = _peek(pieces)
    channels = first.shape[2:]
    options = {'photometric': 'minisblack'}
    if channels:
        options |= {'planarconfig': 'contig'}
    elif first.dtype == np.uint8:
        palette = np.zeros((3, 256), np.uint16)
        palette[:, :len(colors)] = 257 * np.array(colors, np.uint16).T
        options = {'photometric': 'palette', 'colormap': palette}
    bytes_of_mask = size[0] * size[1] * first.dtype.itemsize * max(1, *channels, 1)
    tifffile.imwrite(path, _tiles(pieces), shape=(*size, *channels), dtype=first.dtype,
                     tile=(TILE, TILE), compression='deflate', maxworkers=1, metadata=None,
                     bigtiff=bytes_of_mask > _CLASSIC, **options)


def _tiles(pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Tiles from left to right, row by row, those at the border filled with zeros."""
    for strip in regroup(pieces, TILE):
        margins = [(0, -side % TILE) for side in strip.shape[:2]] + [(0, 0)] * (strip.ndim - 2)
        strip = np.pad(strip, margins)
        for left in range(0, strip.shape[1], TILE):
            yield np.ascontiguousarray(strip[:, left:left + TILE])


def _peek(pieces: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first piece, and all of them."""
    pieces = iter(pieces)
    first = next(pieces)
    return first, itertools.chain([first], pieces)
