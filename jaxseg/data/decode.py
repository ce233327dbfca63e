"""The pixels of image files: exactly as stored, or refused by name.

Pillow decodes what it reads without changing a value; OpenCV 16-bit PNG with several channels, of
which Pillow drops the low byte; tifffile all other TIFF; NumPy .npy files.
"""

import contextlib
import io
import pathlib
import threading

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from jaxseg.data.bmp import read_indices
from jaxseg.data.damage import damaged, truncated
from jaxseg.data.file_info import FileInfo, file_info
from jaxseg.data.tiff import read_with_tifffile
from jaxseg.errors import InputError

IMAGE_SUFFIXES = frozenset({'.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.tif', '.tiff', '.webp',
                            '.bmp', '.npy'})
# Not Image.open, which limits the size by warnings: `file_info` has checked size and format.
_PILLOW = {
    'PNG': PngImagePlugin.PngImageFile, 'JPEG': JpegImagePlugin.JpegImageFile,
    'BMP': BmpImagePlugin.BmpImageFile, 'WebP': WebPImagePlugin.WebPImageFile,
    'TIFF': TiffImagePlugin.TiffImageFile}
_GREY = ('grey', 'white-is-zero grey')
# Compression in TIFF that every build of Pillow decodes; the rest needs imagecodecs.
_IN_PILLOW = ('none', 'deflate', 'LZW', 'PackBits', 'JPEG', 'CCITT RLE', 'CCITT Group 3',
              'CCITT Group 4')
# Steps along rows and columns that show a stored image, which 5 to 8 have transposed before.
_ORIENTATIONS = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1),
                 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
# Decoding takes some GB for each: threads wait for each other.
_LARGE_PIXELS, _LARGE_LOCK = 2 ** 25, threading.Lock()
_DEFLATE_RATIO = 1032  # bytes for each compressed one, at most: RFC 1951 copies 258 for 2 bits
# ITU-R BT.601 luminance in 16-bit fixed point, as Pillow computes it.
_LUMINANCE = (19595, 38470, 7471)


def read_image(file: pathlib.Path | bytes, channels: int,
               value_range: tuple[float, float] = (0, 255), name: str = '') -> np.ndarray:
    """An image as (H, W, channels), turned as its EXIF orientation states.

    A file must have as many bands as `channels`, except that grey is repeated for 3 channels, RGB
    becomes luminance for 1, and alpha is dropped unless there is a channel for it. Palettes stand
    for their colors. Values of fewer than 8 bits are scaled to 0-255.

    Args:
      file: a path, or the encoded bytes (then `name` is what errors call it).
      value_range: values of black and white in the data set. Pixels keep the values of the file,
        with one exception: those of 8-bit files are multiplied by 257 for the range (0, 65535).

    Returns:
      uint8 for 8-bit files, uint16 for deeper integers if the range is one of integers from 0 to at
      most 65535, float32 for the rest.

    Raises:
      InputError: the file cannot be decoded, does not fit `channels` or `value_range`, or holds NaN
        or infinite values.
    """
    info, shown = file_info(file, name), name if isinstance(file, bytes) else str(file)
    check_image(info, channels, value_range, shown)
    array = read_samples(file, info, shown, expand=True)
    return convert_samples(array, info, channels, value_range, shown)


def convert_samples(array: np.ndarray, info: FileInfo, channels: int,
                    value_range: tuple[float, float], name: str) -> np.ndarray:
    """Samples (H, W, samples) of a file that `check_image` let pass, as `read_image` returns them.

    Raises:
      InputError: values outside of uint16 where the range is one of integers, NaN or infinite ones.
    """
    array = _convert(_select_channels(array, info, channels), info, value_range, name)
    return np.ascontiguousarray(array)


def check_image(info: FileInfo, channels: int, value_range: tuple[float, float], name: str):
    """Raises InputError where `read_image` cannot read a file with this header."""
    problem = _unreadable(info) or _unfit_range(info, value_range)
    if problem:
        raise InputError(f'{name}: {problem}')
    fitting = {info.bands, info.bands + info.alpha}
    if info.color in _GREY:
        fitting |= {3, 3 + info.alpha}
    elif info.color != 'bands':
        fitting.add(1)
    if channels not in fitting:
        kind = info.color + ' and alpha' * info.alpha
        raise InputError(f'{name}: {info.bands} channels ({kind}), but data.channels is '
                         f'{channels}; set data.channels={info.bands}, or save images with '
                         f'{channels} channels')


def read_samples(file: pathlib.Path | bytes, info: FileInfo, name: str, *, expand: bool
                 ) -> np.ndarray:
    """The samples of a file, (H, W, samples), turned as its orientation states.

    With `expand` palettes are replaced by their colors, and values of fewer than 8 bits scaled to
    0-255. Without it, indices and values are those that the file stores.

    Raises:
      InputError: the pixels are truncated or damaged, or a package that reads them is missing.
    """
    try:
        data = file if isinstance(file, bytes) else file.read_bytes()
        _check_length(data, info)
        large = info.height * info.width > _LARGE_PIXELS
        with _LARGE_LOCK if large else contextlib.nullcontext():
            array = _decode(data, info, expand=expand)
    except InputError as error:
        raise InputError(f'{name}: {error}') from None
    except MemoryError:
        raise InputError(f'{name}: {info.width}x{info.height} pixels do not fit into memory; cut '
                         f'the image into tiles') from None
    except Exception as error:  # Decoders raise dozens of kinds for damaged files.
        raise InputError(f'{name}: {damaged(error)}') from None
    # Pillow turns TIFF while it decodes, and no other format.
    if info.format != 'TIFF' or not _exact_in_pillow(info, data):
        array = orient(array, info.orientation)
    if array.shape[:2] != info.size:
        raise InputError(f'{name}: cannot be decoded: {array.shape[1]}x{array.shape[0]} pixels, '
                         f'but the header states {info.width}x{info.height}; save the file again')
    return array.astype(array.dtype.newbyteorder('='), copy=False)


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors a stored image (H, W, ...) as EXIF orientation 1 to 8 states."""
    rows, columns = _ORIENTATIONS[orientation]
    return (array.swapaxes(0, 1) if orientation >= 5 else array)[::rows, ::columns]


def page_problem(info: FileInfo) -> str:
    """What is wrong where a file holds several images, or an empty text."""
    if info.pages == 1:
        return ''
    return f'{info.pages} pages; a file must hold one image, save each page as a file'


def _unreadable(info: FileInfo) -> str:
    """Why an image of this kind is not read, or an empty text."""
    kind = f'{info.color} of {info.depth}'
    readable = (*_GREY, 'palette', 'RGB', 'premultiplied RGB', 'CMYK', 'bands')
    if (info.color not in readable
            or info.color in ('premultiplied RGB', 'CMYK') and info.bits != 8
            or info.color == 'palette' and info.bits > 8
            or info.color == 'white-is-zero grey' and info.sample_format != 'uint'
            or info.samples > 1 and info.bits < 8):
        return f'images of {info.samples} channels ({kind}) are not read; save as RGB, grey or .npy'
    return page_problem(info)


def _unfit_range(info: FileInfo, value_range: tuple[float, float]) -> str:
    """Why the values of a file cannot be those of a data set with this range, or an empty text."""
    low, high = value_range
    stated = f'but data.value_range is [{low:g}, {high:g}]'
    if info.eight_bit:
        fits = (low, high) == (0, 65535) or low >= 0 and 1 < high <= 255
        return '' if fits else (f'8-bit pixels, {stated}; save all images with one number format, '
                                f'or set data.value_range=[0, 255]')
    if (low, high) == (0, 255):
        implied = info.sample_format == 'uint' and info.bits <= 16
        remedy = (f'data.value_range=[0, {2 ** info.bits - 1}]' if implied else
                  'data.value_range=[LOW, HIGH], the values that stand for black and white')
        return f'{info.depth} pixels, {stated}; set {remedy}'
    if info.sample_format != 'float' and high - low <= 1:
        return f'{info.depth} integers, {stated}; state the values that stand for black and white'
    return ''


def _exact_in_pillow(info: FileInfo, data: bytes) -> bool:
    """Whether Pillow returns the samples of a file unchanged (those below 8 bits scaled)."""
    if info.format == 'PNG':
        return info.bits <= 8 or info.samples == 1
    if info.format != 'TIFF':
        return True
    # Pillow swaps the bytes of compressed big-endian samples twice, but for uint16.
    swapped = (data.startswith(b'MM') and info.codec != 'none' and info.bits > 8
               and info.sample_format != 'uint')
    if info.codec not in _IN_PILLOW or swapped:
        return False
    if info.sample_format == 'uint' and info.bits <= 8:
        return info.color in ('RGB', 'premultiplied RGB', 'CMYK', 'palette', *_GREY)
    return info.color == 'grey' and info.samples == 1 and (info.sample_format, info.bits) in {
        ('uint', 16), ('int', 16), ('int', 32), ('float', 32)}


def _check_length(data: bytes, info: FileInfo):
    """Raises InputError before memory is reserved for pixels that so few bytes cannot hold."""
    stated = info.height * info.width * info.samples * info.bits // 8
    if info.codec == 'deflate' and stated > _DEFLATE_RATIO * len(data):
        raise truncated(f'{len(data)} bytes for {info.width}x{info.height} pixels')


def _decode(data: bytes, info: FileInfo, *, expand: bool) -> np.ndarray:
    """The samples of a file as it stores them, (H, W, samples), not turned."""
    if info.format == 'NPY':
        array = np.load(io.BytesIO(data), allow_pickle=False)
        return array if array.ndim == 3 else array[..., None]
    if info.format == 'BMP' and info.samples == 1:
        indices = read_indices(data)
        if expand and info.palette:
            return np.array(info.palette, np.uint8)[indices]
        return (indices * np.uint8(255 // (2 ** info.bits - 1) if expand else 1))[..., None]
    if _exact_in_pillow(info, data):
        return _with_pillow(data, info, expand=expand)
    if info.format == 'PNG':
        return _with_opencv(data, info)
    array = read_with_tifffile(data)
    return 2 ** info.bits - 1 - array if info.color == 'white-is-zero grey' else array


def _with_pillow(data: bytes, info: FileInfo, *, expand: bool) -> np.ndarray:
    image = _PILLOW[info.format](io.BytesIO(data))
    mode = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}.get(info.bands + info.alpha)
    if expand and info.bits <= 8 and image.mode != mode:  # a copy otherwise
        image = image.convert(mode)
    array = np.array(image)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif not expand and info.color in _GREY and info.bits < 8:
        array = array // (255 // (2 ** info.bits - 1))
    return array if array.ndim == 3 else array[..., None]


def _with_opencv(data: bytes, info: FileInfo) -> np.ndarray:
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError('the compressed pixels are invalid')
    # Blue, green, red, alpha; grey is repeated in front of its alpha.
    return array[..., [0, 3] if info.samples == 2 else [2, 1, 0, 3][:info.samples]]


def _select_channels(array: np.ndarray, info: FileInfo, channels: int) -> np.ndarray:
    """The channels that the data set has; `check_image` has checked that they can be made."""
    if channels == array.shape[-1]:
        return array
    color = array[..., :info.bands]
    if info.color in _GREY and channels >= 3:
        return np.concatenate([color] * 3 + [array[..., 1:]] * (channels == 4), -1)
    if channels == info.bands:
        return color
    if color.dtype.kind == 'f':
        return color @ (np.array(_LUMINANCE, color.dtype)[:, None] / 65536)
    red, green, blue = (color[..., i].astype(np.int64) * _LUMINANCE[i] for i in range(3))
    return ((red + green + blue + 32768) >> 16).astype(color.dtype)[..., None]


def _convert(array: np.ndarray, info: FileInfo, value_range: tuple[float, float], name: str
             ) -> np.ndarray:
    """The samples in the number format of the data set; `check_image` has checked the range."""
    low, high = value_range
    if info.eight_bit:
        array = array * np.uint8(255) if array.dtype == bool else array.astype(np.uint8, copy=False)
        return array.astype(np.uint16) * np.uint16(257) if high == 65535 else array
    whole = float(low).is_integer() and float(high).is_integer()
    if info.sample_format != 'float' and whole and low >= 0 and high <= 65535:
        least, largest = array.min(), array.max()
        if least < 0 or largest > 65535:
            raise InputError(f'{name}: {info.depth} values {least} to {largest}, but '
                             f'data.value_range is [{low:g}, {high:g}]; state a range that holds '
                             f'them')
        return array.astype(np.uint16)
    with np.errstate(over='ignore'):
        array = array.astype(np.float32)
    invalid = int((~np.isfinite(array)).sum())
    if invalid:
        raise InputError(f'{name}: {invalid} values of {info.depth} are NaN or infinite; replace '
                         f'them by the mean, or by a value within data.value_range')
    return array
