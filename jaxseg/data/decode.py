"""Image and mask files of every common kind as arrays. Pillow reads them: OpenCV expands palette masks to colours."""

import io
import pathlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxseg.errors import InputError

IMAGE_SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp', '.bmp'})
_MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}
_DEEP = ('I;16', 'I;16B', 'I;16L', 'I', 'F')


def read_image(file: pathlib.Path | bytes, channels: int, name: str = '') -> np.ndarray:
    """An image as uint8 (H, W, channels), whatever it is: grey, RGB, RGBA, palette, 1-bit, 16-bit, rotated by EXIF.

    Args:
      file: a path, or the encoded bytes (then `name` is what errors call it).
      channels: 1 (luminance), 3 (RGB; transparency is dropped) or 4 (RGBA). 16-bit values are divided by 257.

    Raises:
      InputError: the file is missing, truncated or no image.
    """
    if channels not in _MODES:
        raise InputError(f'channels: {channels}; image files are read with 1, 3 or 4 channels')
    with _open(file, name) as image:
        try:
            image = ImageOps.exif_transpose(image)
            if image.mode in _DEEP:
                grey = _to_eight_bits(np.asarray(image), image.mode)
                return np.repeat(grey[..., None], channels, -1) if channels < 4 else np.dstack(
                    [grey, grey, grey, np.full_like(grey, 255)])
            array = np.array(image.convert(_MODES[channels]))
        except (OSError, SyntaxError, ValueError) as error:
            raise _broken(file, name, error) from None
    return array.reshape(*array.shape[:2], channels)


def read_mask(file: pathlib.Path | bytes, name: str = '') -> np.ndarray:
    """A mask's raw values: (H, W) indices (of a grey, 16-bit, 1-bit or palette file) or (H, W, 3) colours of an RGB(A) file.

    Raises:
      InputError: the file is missing, truncated, no image, or a JPEG.
    """
    with _open(file, name) as image:
        _refuse_jpeg(image, file, name)
        try:
            if image.mode in ('RGB', 'RGBA', 'CMYK', 'YCbCr'):
                return np.array(image.convert('RGB'))
            if image.mode == 'LA':
                image = image.getchannel('L')
            # A palette image yields its indices here, which is what a mask means.
            array = np.array(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise _broken(file, name, error) from None
    return array.astype(np.uint8) if array.dtype == bool else array


def size_of(file: pathlib.Path, *, mask: bool = False) -> tuple[int, int]:
    """Height and width from the header, as `read_image` would give them; the pixels are not decoded.

    Raises:
      InputError: the file is missing or no image, or a mask is a JPEG.
    """
    with _open(file, '') as image:
        if mask:
            _refuse_jpeg(image, file, '')
        width, height = image.size
        try:
            # Not image.getexif(): that of a PNG decodes the pixels in search of it. A mask is never turned.
            rotated = not mask and Image.Image.getexif(image).get(0x0112, 1) >= 5
        except (OSError, SyntaxError, ValueError) as error:
            raise _broken(file, '', error) from None
    return (width, height) if rotated else (height, width)


def _open(file: pathlib.Path | bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    except FileNotFoundError:
        raise InputError(f'{file}: no such file') from None
    except Image.DecompressionBombError as error:
        raise InputError(f'{_shown(file, name)}: too large to be decoded at once ({error}); cut it into tiles') from None
    except (UnidentifiedImageError, OSError) as error:
        raise _broken(file, name, error) from None


def _refuse_jpeg(image: Image.Image, file: pathlib.Path | bytes, name: str):
    # By the content, for a JPEG may be called .png: many of its blends are labels, and no later check can tell.
    if image.format in ('JPEG', 'MPO'):
        raise InputError(f'{_shown(file, name)}: a mask must not be a JPEG, which blends the labels along every edge '
                         f'(anti-aliasing); export the masks as PNG')


def _shown(file: pathlib.Path | bytes, name: str) -> str:
    return name if isinstance(file, bytes) else str(file)


def _broken(file: pathlib.Path | bytes, name: str, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f'{_shown(file, name)}: cannot be decoded ({reason}); the file is truncated or no image, replace or '
                      f'remove it')


def _to_eight_bits(array: np.ndarray, mode: str) -> np.ndarray:
    if mode == 'F':
        return np.clip(array * (255 if array.max(initial=0) <= 1 else 1), 0, 255).astype(np.uint8)
    return (np.clip(array.astype(np.int64), 0, 65535) // 257).astype(np.uint8)
