"""Images that stay on disk: only the part that is asked for is read.

`.npy` files and TIFF without compression are mapped into memory for the time of one access; of
other TIFF the tiles or strips that touch the part are decoded. The pixels are those of
`decode.read_image`.
"""

import dataclasses
import functools
import math
import pathlib

import numpy as np

from jaxseg.data.damage import damaged
from jaxseg.data.decode import check_image, convert_samples
from jaxseg.data.file_info import FileInfo, file_info
from jaxseg.errors import InputError

LAZY_SUFFIXES = frozenset({'.npy', '.tif', '.tiff'})
_COLORS = ('grey', 'white-is-zero grey', 'RGB', 'bands')
# A tile or strip is decoded as one: as many bytes are held for each, besides the part asked for.
_MAX_SEGMENT = 2 ** 28


@dataclasses.dataclass(frozen=True)
class LazyImage:
    """`image[top:bottom, left:right]` is that part, (rows, columns, channels), as `read_image`.

    Args:
      path: a `.npy` or TIFF file, BigTIFF too.
      channels, value_range: as in `read_image`.

    Raises:
      InputError: another format; a TIFF that is turned, has fewer than 8 bits, a palette or tiles
        of more than 256 MiB; what `read_image` refuses (damaged pixels when they are read).
    """

    path: pathlib.Path
    channels: int
    value_range: tuple[float, float] = (0, 255)

    def __post_init__(self):
        check_image(self.info, self.channels, self.value_range, str(self.path))
        info, remedy = self.info, 'save it as tiled TIFF or .npy'
        if info.format not in ('NPY', 'TIFF'):
            raise InputError(f'{self.path}: {info.format} cannot be read piece by piece; {remedy}')
        if info.orientation != 1:
            raise InputError(f'{self.path}: orientation {info.orientation}, and pieces are not '
                             f'turned; save it upright')
        if info.color not in _COLORS or info.bits < 8 and info.format == 'TIFF':
            raise InputError(f'{self.path}: {info.depth} {info.color} cannot be read piece by '
                             f'piece; save it as 8-bit grey or RGB')
        if info.format == 'TIFF':
            _check_segments(self.path)

    @functools.cached_property
    def info(self) -> FileInfo:
        """The header."""
        return file_info(self.path, max_pixels=2 ** 62)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (*self.info.size, self.channels)

    @functools.cached_property
    def dtype(self) -> np.dtype:
        """Of the parts."""
        return self[:1, :1].dtype

    def __getitem__(self, key: slice | tuple[slice, slice]) -> np.ndarray:
        key = key if isinstance(key, tuple) else (key, slice(None))
        if len(key) != 2 or any(not isinstance(part, slice) or part.step not in (None, 1)
                                for part in key):
            raise TypeError(f'{self.path}: take image[top:bottom, left:right]')
        spans = [slice(*part.indices(side)[:2])
                 for part, side in zip(key, self.info.size, strict=True)]
        lengths = [max(0, span.stop - span.start) for span in spans]
        if not all(lengths):
            return np.zeros((*lengths, self.channels), self.dtype)
        try:
            array = self._samples(*spans)
        except (InputError, MemoryError):
            raise
        except OSError as error:
            raise InputError(f'{self.path}: cannot be read ({error.strerror or error}); give a '
                             f'readable file') from None
        except Exception as error:  # Decoders raise dozens of kinds for damaged files.
            raise InputError(f'{self.path}: {damaged(error)}') from None
        if self.info.color == 'white-is-zero grey':
            array = 2 ** self.info.bits - 1 - array
        return convert_samples(array, self.info, self.channels, self.value_range, str(self.path))

    def _samples(self, rows: slice, columns: slice) -> np.ndarray:
        """As stored, in the byte order of this machine."""
        if self.info.format == 'NPY':
            # Mapped for this access alone: pages that stay mapped count as memory of the process.
            array = np.load(self.path, mmap_mode='r')
            array = array if array.ndim == 3 else array[..., None]
            part = np.array(array[rows, columns])
        else:
            part = _tiff_samples(self.path, rows, columns)
        return part.astype(part.dtype.newbyteorder('='), copy=False)


def _check_segments(path: pathlib.Path):
    with _opened(path) as file:
        page = file.pages[0]
        size = math.prod(page.chunks) * page.dtype.itemsize
        if not page.is_contiguous and size > _MAX_SEGMENT:
            raise InputError(f'{path}: compressed in pieces of {size / 2 ** 20:.0f} MiB, each of '
                             f'which is decoded as one; save it in tiles')


def _tiff_samples(path: pathlib.Path, rows: slice, columns: slice) -> np.ndarray:
    with _opened(path) as file:
        page = file.pages[0]
        if page.is_contiguous:
            dtype = page.dtype.newbyteorder(file.byteorder)
            array = np.memmap(path, dtype, 'r', page.dataoffsets[0], page.shape)
            array = np.moveaxis(array, page.axes.index('S'), -1) if 'S' in page.axes else (
                array[..., None])
            return np.array(array[rows, columns])
        return _decoded(page, rows, columns)


def _decoded(page, rows: slice, columns: slice) -> np.ndarray:
    """The part of a page that is stored in tiles or strips, from those that touch it."""
    part = np.zeros((rows.stop - rows.start, columns.stop - columns.start, page.samplesperpixel),
                    page.dtype)
    touched = [slice(None)] * len(page.axes)
    # Separate planes are an axis of `axes` and `chunked`, and none of `chunks`.
    for axis, span, length in zip('YX', (rows, columns), page.chunks[:2], strict=True):
        touched[page.axes.index(axis)] = slice(span.start // length, -(-span.stop // length))
    numbers = np.arange(math.prod(page.chunked)).reshape(page.chunked)[tuple(touched)]
    for number in numbers.ravel().tolist():
        page.parent.filehandle.seek(page.dataoffsets[number])
        data = page.parent.filehandle.read(page.databytecounts[number])
        segment, place, _ = page.decode(data, number, jpegtables=page.jpegtables)
        if segment is not None:  # stored without bytes: zeros
            _copy(segment[0], place, part, rows, columns)
    return part


def _copy(segment: np.ndarray, place: tuple[int, ...], part: np.ndarray, rows: slice,
          columns: slice):
    """Copies what both have; segment (h, w, samples) at `place`: plane, depth, row, column, 0."""
    plane, _, top, left, _ = place
    bottom, right = min(top + segment.shape[0], rows.stop), min(left + segment.shape[1],
                                                               columns.stop)
    first, start = max(top, rows.start), max(left, columns.start)
    if first < bottom and start < right:
        part[first - rows.start:bottom - rows.start, start - columns.start:right - columns.start,
             plane:plane + segment.shape[2]] = segment[first - top:bottom - top,
                                                       start - left:right - left]


def _opened(path: pathlib.Path):
    try:
        import tifffile  # an extra: only who has such files needs it
    except ImportError:
        raise InputError(f"{path}: TIFF is read piece by piece with tifffile; pip install "
                         f"'jaxseg[tiff]', or save the file as .npy") from None
    return tifffile.TiffFile(path)
