"""The pixels of image files, exactly as stored or refused by name.

Which library decodes what: Pillow whatever it reads without changing a value, OpenCV 16-bit PNG with several channels
(Pillow drops their low byte), tifffile all other TIFF, NumPy .npy. OpenCV is kept away from palettes, which it expands.
"""

import io
import pathlib

import cv2
import numpy as np
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from jaxseg.data.bmp import read_indices
from jaxseg.data.file_info import FileInfo, file_info, first_line
from jaxseg.data.tiff import read_with_tifffile
from jaxseg.errors import InputError

IMAGE_SUFFIXES = frozenset({'.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.tif', '.tiff', '.webp', '.bmp', '.npy'})
# Not Image.open: it tries other formats too, and limits the size by warnings; `file_info` did both.
_PILLOW = {'PNG': PngImagePlugin.PngImageFile, 'JPEG': JpegImagePlugin.JpegImageFile, 'BMP': BmpImagePlugin.BmpImageFile,
           'WebP': WebPImagePlugin.WebPImageFile, 'TIFF': TiffImagePlugin.TiffImageFile}
_GREY = ('grey', 'white-is-zero grey')
# ITU-R BT.601 luminance in 16-bit fixed point, as Pillow computes it.
_LUMINANCE = (19595, 38470, 7471)


def read_image(file: pathlib.Path | bytes, channels: int, value_range: tuple[float, float] = (0, 255), name: str = ''
               ) -> np.ndarray:
    """An image as (H, W, channels), turned as its EXIF orientation states.

    Its bands must be as many as `channels`, except: grey is repeated for 3 channels, RGB becomes luminance for 1, alpha
    is dropped unless there is a channel for it. Palettes stand for their colors, bits below 8 are scaled to 0-255.

    Args:
      file: a path, or the encoded bytes (then `name` is what errors call it).
      value_range: the values of black and white of the data set. Values are returned as stored, with one exception:
        8-bit files in a data set of range (0, 65535) are multiplied by 257.

    Returns:
      uint8 for 8-bit files, uint16 for deeper integers in a range within 0 to 65535, float32 for the rest.

    Raises:
      InputError: the file cannot be decoded, or does not fit `channels` or `value_range`; NaN or infinite values.
    """
    info, shown = file_info(file, name), name if isinstance(file, bytes) else str(file)
    check_image(info, channels, value_range, shown)
    array = read_samples(file, info, shown, expand=True)
    return _convert(_select_channels(array, info, channels), info, value_range, shown)


def check_image(info: FileInfo, channels: int, value_range: tuple[float, float], name: str):
    """Raises InputError, naming the reason, where `read_image` cannot read a file with this header."""
    problem = _unreadable(info) or _unfit_range(info, value_range)
    if problem:
        raise InputError(f'{name}: {problem}')
    fitting = {info.bands, info.bands + info.alpha}
    if info.color in _GREY:
        fitting |= {3, 3 + info.alpha}
    elif info.color != 'bands':
        fitting.add(1)
    if channels not in fitting:
        raise InputError(f'{name}: {info.bands} channels ({info.color}{" and alpha" * info.alpha}), but data.channels is '
                         f'{channels}; set data.channels={info.bands}, or save the images with {channels} channels')


def read_samples(file: pathlib.Path | bytes, info: FileInfo, name: str, *, expand: bool) -> np.ndarray:
    """The samples of a file, (H, W, samples), turned as its orientation states.

    With `expand` a palette is replaced by its colors and bits below 8 are scaled to 0-255; without, indices and
    values are those that the file stores.

    Raises:
      InputError: the pixels are truncated or damaged, or a package that reads them is not installed.
    """
    try:
        data = file if isinstance(file, bytes) else file.read_bytes()
        if info.format == 'NPY':
            array = np.load(io.BytesIO(data), allow_pickle=False).reshape(*_stored_size(info), info.samples)
        elif info.format == 'BMP' and info.samples == 1:
            array = _expand(read_indices(data), info) if expand else read_indices(data)[..., None]
        elif _exact_in_pillow(info):
            array = _with_pillow(data, info, expand=expand)
        elif info.format == 'PNG':
            array = _with_opencv(data, info)
        else:
            array = read_with_tifffile(data)
            array = 2 ** info.bits - 1 - array if info.color == 'white-is-zero grey' else array
    except InputError as error:
        raise InputError(f'{name}: {error}') from None
    except MemoryError:
        raise InputError(f'{name}: {info.width}x{info.height} pixels do not fit into memory; cut the picture into '
                         f'tiles') from None
    except Exception as error:  # Decoders raise dozens of kinds for damaged files.
        reason = first_line(error)
        kind = 'truncated' if 'truncated' in reason or 'incomplete' in reason else 'damaged'
        raise InputError(f'{name}: cannot be decoded: the file is {kind} ({reason}); replace or remove it') from None
    if array.shape[:2] != _stored_size(info) and not _turned_by_pillow(info):
        raise InputError(f'{name}: cannot be decoded: the header states another size than the pixels have; the file is '
                         f'damaged, save it again')
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder('='))
    return np.ascontiguousarray(array if _turned_by_pillow(info) else orient(array, info.orientation))


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors a picture (H, W, ...) as an EXIF orientation of 1 to 8 states."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    rows, columns = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}[
        orientation]
    return array[::rows, ::columns]


def page_problem(info: FileInfo) -> str:
    """What is wrong where a file holds several pictures, else an empty text."""
    return f'{info.pages} pages; only files of one picture are read, save each page as a file' if info.pages != 1 else ''


def _unreadable(info: FileInfo) -> str:
    """Why an image of this kind is not read, or an empty text."""
    remedy = 'save it as RGB or grey, or as .npy'
    if info.color not in (*_GREY, 'palette', 'RGB', 'premultiplied RGB', 'CMYK', 'bands'):
        return f'the color model {info.color} is not read; {remedy}'
    if info.bits != 8 and info.color in ('premultiplied RGB', 'CMYK') or info.bits > 8 and info.color == 'palette':
        return f'{info.color} of {info.depth} is not read; {remedy}'
    if info.color == 'white-is-zero grey' and info.sample_format != 'uint':
        return f'{info.color} (photometric 0) of {info.depth} is not read; {remedy}'
    if info.bits < 8 and info.samples > 1:
        return f'{info.samples} bands of {info.depth} are not read; {remedy}'
    return page_problem(info)


def _unfit_range(info: FileInfo, value_range: tuple[float, float]) -> str:
    """Why the values of a file cannot be those of a data set with this range, or an empty text."""
    low, high = value_range
    stated = f'data.value_range is [{low:g}, {high:g}]'
    if _eight_bits(info):
        fits = (low, high) == (0, 65535) or low >= 0 and 1 < high <= 255
        return '' if fits else (f'8-bit pixels, but {stated}; save all images with one number format, or set '
                                f'data.value_range=[0, 255]')
    if (low, high) == (0, 255):
        known = info.sample_format == 'uint' and info.bits <= 16
        return (f'{info.depth} pixels, but {stated}; set data.value_range='
                f'{[0, 2 ** info.bits - 1] if known else "[LOW, HIGH], the values that stand for black and white"}')
    if info.sample_format != 'float' and high - low <= 1:
        return f'{info.depth} integers, but {stated}; state the values that stand for black and white in data.value_range'
    return ''


def _eight_bits(info: FileInfo) -> bool:
    return info.bits <= 8 and info.sample_format in ('uint', 'bool')


def _exact_in_pillow(info: FileInfo) -> bool:
    """Whether Pillow returns the samples of a file unchanged (those below 8 bits scaled)."""
    if info.format == 'PNG':
        return info.bits <= 8 or info.samples == 1
    if info.format != 'TIFF':
        return True
    if info.codec.startswith('compression') or info.codec in ('JPEG 2000', 'LERC', 'lossy JPEG', 'JPEG XL', 'JBIG'):
        return False
    if info.sample_format == 'uint' and info.bits <= 8:
        return info.color in ('RGB', 'premultiplied RGB', 'CMYK', 'palette', *_GREY)
    return info.color == 'grey' and info.samples == 1 and (info.sample_format, info.bits) in {
        ('uint', 16), ('int', 16), ('int', 32), ('float', 32)}


def _turned_by_pillow(info: FileInfo) -> bool:
    # Pillow turns TIFF while it decodes, and no other format.
    return info.format == 'TIFF' and _exact_in_pillow(info)


def _stored_size(info: FileInfo) -> tuple[int, int]:
    return (info.width, info.height) if info.orientation >= 5 else (info.height, info.width)


def _with_pillow(data: bytes, info: FileInfo, *, expand: bool) -> np.ndarray:
    image = _PILLOW[info.format](io.BytesIO(data))
    if expand and info.bits <= 8:
        image.load()
        image = image.convert({1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}[info.bands + info.alpha])
    array = np.array(image)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif not expand and info.color in _GREY and info.bits < 8:
        array = array // (255 // (2 ** info.bits - 1))
    return array if array.ndim == 3 else array[..., None]


def _expand(indices: np.ndarray, info: FileInfo) -> np.ndarray:
    if info.palette is None:
        return (indices * np.uint8(255 // (2 ** info.bits - 1)))[..., None]
    return np.array(info.palette, np.uint8)[indices]


def _with_opencv(data: bytes, info: FileInfo) -> np.ndarray:
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError('the compressed pixels are invalid')
    # Blue, green, red, alpha; grey is repeated in front of its alpha.
    return array[..., [0, 3] if info.samples == 2 else [2, 1, 0, 3][:info.samples]]


def _select_channels(array: np.ndarray, info: FileInfo, channels: int) -> np.ndarray:
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


def _convert(array: np.ndarray, info: FileInfo, value_range: tuple[float, float], name: str) -> np.ndarray:
    """The samples in the number format of the data set; `_unfit_range` was asked before."""
    low, high = value_range
    if _eight_bits(info):
        array = array * np.uint8(255) if array.dtype == bool else array.astype(np.uint8, copy=False)
        return array.astype(np.uint16) * np.uint16(257) if (low, high) == (0, 65535) else array
    if info.sample_format != 'float' and low >= 0 and high <= 65535 and float(low).is_integer() == float(high).is_integer():
        least, largest = array.min(), array.max()
        if least < 0 or largest > 65535:
            raise InputError(f'{name}: {info.depth} values {least} to {largest}, but data.value_range is [{low:g}, '
                             f'{high:g}]; state a range that holds them')
        return array.astype(np.uint16)
    with np.errstate(over='ignore'):
        array = array.astype(np.float32)
    invalid = int((~np.isfinite(array)).sum())
    if invalid:
        raise InputError(f'{name}: {invalid} values of {info.depth} are NaN or infinite; replace them, by the mean or a '
                         f'value within data.value_range')
    return array

