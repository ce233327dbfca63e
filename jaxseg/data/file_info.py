"""What an image file holds, from its header: the pixels are not decoded."""

import dataclasses
import io
import math
import pathlib
import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, JpegImagePlugin

from jaxseg.data.bmp import bmp_header
from jaxseg.data.damage import damaged, first_line, truncated
from jaxseg.data.tiff import tiff_header
from jaxseg.errors import InputError

# Larger files are refused before memory is reserved: 16384 x 16384 pixels, 0.8 GB of 8-bit RGB.
MAX_PIXELS = 2 ** 28
LOSSLESS = frozenset({'none', 'deflate', 'LZW', 'PackBits', 'LZMA', 'Zstandard', 'CCITT RLE',
                      'CCITT Group 3', 'CCITT Group 4', 'WebP lossless'})
_ORIENTATION_TAG = 0x0112
# Color model and samples of each color type.
_PNG_COLORS = {0: ('grey', 1), 2: ('RGB', 3), 3: ('palette', 1), 4: ('grey', 2), 6: ('RGB', 4)}
# Formats that are recognised in order to name them: offset, first bytes, name.
_NOT_READ = (
    (0, b'GIF8', 'GIF'), (0, b'\0\0\0\x0cjP  ', 'JPEG 2000'), (0, b'\xff\x4f\xff\x51', 'JPEG 2000'),
    (4, b'ftypavi', 'AVIF'), (4, b'ftyphei', 'HEIF'), (4, b'ftypmif1', 'HEIF'),
    (4, b'ftypmsf1', 'HEIF'), (0, b'\xff\x0a', 'JPEG XL'), (0, b'\0\0\0\x0cJXL ', 'JPEG XL'),
    (0, b'8BPS', 'Photoshop'), (0, b'%PDF', 'PDF'), (0, b'v/1\x01', 'OpenEXR'),
    (0, b'#?', 'Radiance HDR'), (0, b'\x89HDF', 'HDF5'), (0, b'PK\x03\x04', 'ZIP or .npz'),
    (0, b'\x1f\x8b', 'gzip'), (0, b'DDS ', 'DDS'), (0, b'qoif', 'QOI'),
    (0, b'version https://git-lfs', 'Git LFS pointer'), (0, b'<!', 'HTML'), (0, b'<html', 'HTML'),
    (0, b'<svg', 'SVG'), (0, b'<?xml', 'XML'), (128, b'DICM', 'DICOM'),
    *((0, f'P{digit}'.encode(), 'PBM, PGM or PPM') for digit in range(1, 8)))


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """What the header of a file states.

    Attributes:
      format: PNG, JPEG, TIFF, BMP, WebP or NPY.
      codec: compression of the pixels; `lossless` says whether it keeps every value.
      color: 'grey', 'white-is-zero grey', 'palette', 'RGB', 'CMYK', 'YCbCr', 'CIELab',
        'premultiplied RGB', or 'bands' without a stated meaning.
      bits: of each sample as stored; sample_format: 'uint', 'int', 'float' or 'bool'.
      samples: values stored for each pixel, alpha included; 1 for a palette.
      alpha: one of the samples, or a color of the palette, is transparency.
      palette: the RGB colors of the palette, in the order of their indices.
      pages: images in the file; previews and reduced copies do not count.
      orientation: EXIF orientation, 1 to 8; 1 where the file states a value that does not exist.
      height, width: after the image was turned as `orientation` states.
    """

    format: str
    codec: str
    color: str
    bits: int
    sample_format: str
    samples: int
    alpha: bool
    palette: tuple[tuple[int, int, int], ...] | None
    pages: int
    orientation: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def eight_bit(self) -> bool:
        """Whether unsigned integers of at most 8 bits are stored."""
        return self.bits <= 8 and self.sample_format in ('uint', 'bool')

    @property
    def lossless(self) -> bool:
        """Whether the codec keeps every value."""
        return self.codec in LOSSLESS

    @property
    def bands(self) -> int:
        """Channels of the image without alpha; 3 for a palette, which stands for RGB."""
        if self.color == 'bands':
            return self.samples
        return 1 if self.color in ('grey', 'white-is-zero grey') else 3

    @property
    def depth(self) -> str:
        """Number format of the samples as text: `16-bit`, `float32`, `int32`."""
        if self.sample_format in ('uint', 'bool'):
            return f'{self.bits}-bit'
        return f'{self.sample_format}{self.bits}'


def file_info(file: pathlib.Path | bytes, name: str = '', max_pixels: int = MAX_PIXELS
              ) -> FileInfo:
    """Reads the header of a PNG, JPEG, TIFF, BMP, WebP or .npy file, recognised by its content.

    Args:
      file: a path, or the encoded bytes (then `name` is what errors call it).
      max_pixels: more are refused.

    Raises:
      InputError: the file is missing, empty, truncated, damaged, larger than `max_pixels`, or of
        another format.
    """
    shown = name if isinstance(file, bytes) else str(file)
    try:
        with io.BytesIO(file) if isinstance(file, bytes) else open(file, 'rb') as stream:
            values = _header(stream)
    except InputError as problem:
        raise InputError(f'{shown}: {problem}') from None
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise InputError(f'{shown}: cannot be read ({reason}); give a readable file') from None
    if values['orientation'] not in range(1, 9):
        values['orientation'] = 1
    if values['orientation'] >= 5:
        values['height'], values['width'] = values['width'], values['height']
    info = FileInfo(**values)
    if info.height <= 0 or info.width <= 0:
        raise InputError(f'{shown}: {info.width}x{info.height} pixels; the image is empty, '
                         f'remove or replace it')
    if info.height * info.width > max_pixels:
        raise InputError(f'{shown}: {info.width}x{info.height} pixels, more than the {max_pixels} '
                         f'that are decoded at once; cut the image into tiles')
    return info


def _header(stream: BinaryIO) -> dict:
    start = stream.read(132)
    stream.seek(0)
    if not start:
        raise InputError('cannot be decoded: the file is empty; replace or remove it')
    read = next((read for signature, read in _READERS.items() if start.startswith(signature)), None)
    if read is None or start[:4] == b'RIFF' and start[8:12] != b'WEBP':
        kind = next((kind for place, signature, kind in _NOT_READ
                     if start[place:].startswith(signature)), 'unknown')
        raise InputError(f'cannot be decoded: {kind} format is not read; save it as PNG, TIFF or '
                         f'.npy, or remove it')
    try:
        return {'alpha': False, 'palette': None, 'pages': 1, 'orientation': 1,
                'sample_format': 'uint', **read(stream)}
    except InputError:
        raise
    except struct.error:
        raise truncated('its header is incomplete') from None
    except Exception as error:  # Pillow and NumPy raise many kinds for damaged headers.
        raise damaged(error) from None


def _png(stream: BinaryIO) -> dict:
    """PNG (ISO 15948). Chunks after the pixels are searched too, for EXIF may stand there."""
    chunks = {}
    end = stream.seek(0, io.SEEK_END)
    stream.seek(8)
    kind = b''
    while kind != b'IEND':
        length, kind = struct.unpack('>I4s', stream.read(8))
        after = stream.tell() + length + 4
        if after > end:
            raise truncated(f'{after - end} bytes are missing')
        if kind in (b'IHDR', b'PLTE', b'tRNS', b'eXIf', b'acTL'):
            chunks[kind] = stream.read(length)
        stream.seek(after)
    width, height, bits, kind, *_ = struct.unpack('>IIBBBBB', chunks[b'IHDR'])
    if kind not in _PNG_COLORS or bits not in (1, 2, 4, 8, 16):
        raise ValueError(f'PNG of color type {kind} with {bits} bits')
    color, samples = _PNG_COLORS[kind]
    palette = None
    if color == 'palette':
        table = np.frombuffer(chunks[b'PLTE'], np.uint8).reshape(-1, 3)
        palette = tuple(map(tuple, table.tolist()))
    frames = struct.unpack('>I', chunks[b'acTL'][:4])[0] if b'acTL' in chunks else 1
    # A single transparent color of a 16-bit file is not applied: all its values are meant.
    alpha = kind in (4, 6) or b'tRNS' in chunks and bits <= 8
    return {'format': 'PNG', 'codec': 'deflate', 'color': color, 'bits': bits, 'samples': samples,
            'alpha': alpha, 'palette': palette, 'pages': frames,
            'orientation': _orientation(chunks.get(b'eXIf', b'')), 'height': height, 'width': width}


def _jpeg(stream: BinaryIO) -> dict:
    """JPEG. The first image of an MPO is shown; the rest are previews and gain maps."""
    image = JpegImagePlugin.JpegImageFile(stream)
    color = {'L': 'grey', 'CMYK': 'CMYK'}.get(image.mode, 'RGB')
    return {'format': 'JPEG', 'codec': 'JPEG', 'color': color, 'bits': 8,
            'samples': len(image.getbands()), 'height': image.height, 'width': image.width,
            'orientation': _safely(lambda: image.getexif().get(_ORIENTATION_TAG, 1))}


def _webp(stream: BinaryIO) -> dict:
    """WebP (RFC 9649): chunks in a RIFF container."""
    total = struct.unpack('<4xI', stream.read(8))[0] + 8
    lacking = total - stream.seek(0, io.SEEK_END)
    if lacking > 0:
        raise truncated(f'{lacking} bytes are missing')
    stream.seek(12)
    frames, lossy, alpha, size, exif = 0, False, False, None, b''
    while stream.tell() + 8 <= total:
        kind, length = struct.unpack('<4sI', stream.read(8))
        after = stream.tell() + length + length % 2
        data = stream.read(length if kind == b'EXIF' else min(length, 32))
        if kind == b'VP8X':
            alpha = bool(data[0] & 16)
            size = [1 + int.from_bytes(data[place:place + 3], 'little') for place in (7, 4)]
        elif kind == b'EXIF':
            exif = data
        elif kind == b'VP8 ' and not size:
            size = [value & 0x3fff for value in struct.unpack('<HH', data[6:10])[::-1]]
        elif kind == b'VP8L' and not size:
            packed, = struct.unpack('<I', data[1:5])
            size = [1 + (packed >> 14 & 0x3fff), 1 + (packed & 0x3fff)]
            alpha = bool(packed >> 28 & 1)
        frames += kind in (b'ANMF', b'VP8 ', b'VP8L')
        # A frame of an animation holds its own chunk behind 16 bytes.
        lossy |= kind == b'VP8 ' or kind == b'ANMF' and data[16:20] != b'VP8L'
        stream.seek(after)
    if not size:
        raise truncated('it holds no image')
    return {'format': 'WebP', 'codec': 'WebP lossy' if lossy else 'WebP lossless', 'color': 'RGB',
            'bits': 8, 'samples': 3 + alpha, 'alpha': alpha, 'pages': frames,
            'orientation': _orientation(exif), 'height': size[0], 'width': size[1]}


def _npy(stream: BinaryIO) -> dict:
    """NumPy array of shape (H, W) or (H, W, bands)."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f'.npy of version {version}')
    kinds = {'u': 'uint', 'i': 'int', 'f': 'float', 'b': 'bool'}
    if dtype.kind not in kinds or len(shape) not in (2, 3):
        raise InputError(f'an array of {dtype} of shape {shape}; save real numbers of shape '
                         f'(height, width) or (height, width, channels)')
    start = stream.tell()
    lacking = math.prod(shape) * dtype.itemsize - (stream.seek(0, io.SEEK_END) - start)
    if lacking > 0:
        raise truncated(f'{lacking} bytes are missing')
    samples = shape[2] if len(shape) == 3 else 1
    return {'format': 'NPY', 'codec': 'none', 'color': 'grey' if samples == 1 else 'bands',
            'bits': 1 if dtype.kind == 'b' else 8 * dtype.itemsize, 'samples': samples,
            'sample_format': kinds[dtype.kind], 'height': shape[0], 'width': shape[1]}


_READERS: dict[bytes, Callable[[BinaryIO], dict]] = {
    b'\x89PNG\r\n\x1a\n': _png, b'\xff\xd8\xff': _jpeg, b'BM': bmp_header, b'RIFF': _webp,
    b'\x93NUMPY': _npy, b'II*\0': tiff_header, b'MM\0*': tiff_header, b'II+\0': tiff_header,
    b'MM\0+': tiff_header}


def _orientation(exif: bytes) -> int:
    """Orientation in an EXIF block; 1 where there is none, or none that can be read."""
    tags = Image.Exif()
    return _safely(lambda: (tags.load(exif), tags.get(_ORIENTATION_TAG, 1))[1]) if exif else 1


def _safely(read: Callable[[], int]) -> int:
    # Cameras and editors write damaged EXIF blocks of every kind; they must not cost an image.
    try:
        return read()
    except Exception:
        return 1
