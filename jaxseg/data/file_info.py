"""What an image file holds, from its header: the pixels are not decoded."""

import dataclasses
import io
import pathlib
import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, JpegImagePlugin

from jaxseg.data.bmp import bmp_header
from jaxseg.data.tiff import tiff_header, truncated
from jaxseg.errors import InputError

# Larger files are refused before memory is reserved for them: 16384 x 16384 pixels, 0.8 GB of 8-bit RGB.
MAX_PIXELS = 2 ** 28
LOSSLESS = frozenset({
    'none', 'deflate', 'LZW', 'PackBits', 'LZMA', 'Zstandard', 'CCITT RLE', 'CCITT Group 3', 'CCITT Group 4', 'RLE',
    'WebP lossless'})


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """What the header of a file states.

    Attributes:
      format: PNG, JPEG, TIFF, BMP, WebP or NPY.
      codec: compression of the pixels; `lossless` says whether it keeps every value.
      color: 'grey', 'white-is-zero grey', 'palette', 'RGB', 'CMYK', 'YCbCr', 'CIELab', 'premultiplied RGB', or 'bands'
        without a stated meaning.
      bits: of each sample as stored; sample_format: 'uint', 'int', 'float' or 'bool'.
      samples: values stored for each pixel, alpha included; 1 for a palette.
      alpha: one of the samples, or a color of the palette, is transparency.
      palette: the RGB colors of the palette, in the order of their indices.
      pages: pictures in the file; previews and reduced copies do not count.
      orientation: EXIF orientation, 1 to 8; 1 where the file states a value that does not exist.
      height, width: after the picture was turned as `orientation` states.
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
    def lossless(self) -> bool:
        """Whether the codec keeps every value."""
        return self.codec in LOSSLESS

    @property
    def bands(self) -> int:
        """Channels of the picture without alpha, a palette counted as the RGB that it stands for."""
        if self.color == 'bands':
            return self.samples
        return 1 if self.color in ('grey', 'white-is-zero grey') else 3

    @property
    def depth(self) -> str:
        """Number format of the samples as text: `16-bit`, `float32`, `int32`."""
        return f'{self.bits}-bit' if self.sample_format in ('uint', 'bool') else f'{self.sample_format}{self.bits}'


def file_info(file: pathlib.Path | bytes, name: str = '') -> FileInfo:
    """Reads the header of a PNG, JPEG, TIFF, BMP, WebP or NumPy file, recognised by its content.

    Args:
      file: a path, or the encoded bytes (then `name` is what errors call it).

    Raises:
      InputError: the file is missing, empty, truncated, damaged, larger than `MAX_PIXELS`, or of another format.
    """
    shown = name if isinstance(file, bytes) else str(file)
    try:
        with io.BytesIO(file) if isinstance(file, bytes) else open(file, 'rb') as stream:
            values = _header(stream)
    except InputError as problem:
        raise InputError(f'{shown}: {problem}') from None
    except OSError as error:
        raise InputError(f'{shown}: cannot be read ({error.strerror or first_line(error)}); give a readable '
                         f'file') from None
    if values['orientation'] not in range(1, 9):
        values['orientation'] = 1
    if values['orientation'] >= 5:
        values['height'], values['width'] = values['width'], values['height']
    info = FileInfo(**values)
    if not info.height or not info.width:
        raise InputError(f'{shown}: {info.width}x{info.height} pixels; the file is empty, remove or replace it')
    if info.height * info.width > MAX_PIXELS:
        raise InputError(f'{shown}: {info.width}x{info.height} pixels, more than the {MAX_PIXELS} that are decoded at '
                         f'once; cut the picture into tiles')
    return info


def first_line(error: Exception) -> str:
    """The message of an exception, or its name where it has none."""
    return str(error).splitlines()[0] if str(error).strip() else type(error).__name__


def _header(stream: BinaryIO) -> dict:
    start = stream.read(32)
    stream.seek(0)
    for signature, read in _READERS.items():
        if start.startswith(signature) and (signature != b'RIFF' or start[8:12] == b'WEBP'):
            try:
                return {'alpha': False, 'palette': None, 'pages': 1, 'orientation': 1, 'sample_format': 'uint',
                        **read(stream)}
            except InputError:
                raise
            except struct.error:
                raise truncated('its header is incomplete') from None
            except (SyntaxError, ValueError, KeyError, TypeError, EOFError) as error:
                raise InputError(f'cannot be decoded ({first_line(error)}); the file is damaged, replace or remove '
                                  f'it') from None
    if not start:
        raise InputError('cannot be decoded: the file is empty; replace or remove it')
    kind = next((kind for place, signature, kind in _OTHER if start[place:].startswith(signature)), 'an unknown kind')
    raise InputError(f'cannot be decoded: {kind} of file is not read; save it as PNG, TIFF or .npy, or remove it')


# Formats that are recognised in order to name them: offset, first bytes, name.
_OTHER = (
    (0, b'GIF8', 'the GIF kind'), (0, b'\0\0\0\x0cjP  ', 'the JPEG 2000 kind'),
    (0, b'\xff\x4f\xff\x51', 'the JPEG 2000 kind'), (4, b'ftypavif', 'the AVIF kind'), (4, b'ftypavis', 'the AVIF kind'),
    (4, b'ftyphei', 'the HEIF kind'), (4, b'ftypmif1', 'the HEIF kind'), (4, b'ftypmsf1', 'the HEIF kind'),
    (0, b'\xff\x0a', 'the JPEG XL kind'), (0, b'\0\0\0\x0cJXL ', 'the JPEG XL kind'), (0, b'8BPS', 'the Photoshop kind'),
    (0, b'%PDF', 'the PDF kind'), (0, b'v/1\x01', 'the OpenEXR kind'), (0, b'#?', 'the Radiance HDR kind'),
    (0, b'\x89HDF', 'the HDF5 kind'), (0, b'PK\x03\x04', 'the ZIP or .npz kind'), (0, b'\x1f\x8b', 'the gzip kind'),
    (0, b'DDS ', 'the DDS kind'), (0, b'qoif', 'the QOI kind'), (0, b'version https://git-lfs', 'the Git LFS pointer kind'),
    (0, b'<!', 'the HTML kind'), (0, b'<html', 'the HTML kind'), (0, b'<svg', 'the SVG kind'), (0, b'<?xml', 'the XML kind'),
    *((0, f'P{digit}'.encode(), 'the PBM, PGM or PPM kind') for digit in range(1, 8)),
)


def _png(stream: BinaryIO) -> dict:
    """PNG (ISO 15948). Chunks after the pixels are searched too, for EXIF may stand there."""
    chunks = {}
    stream.seek(8)
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
    if kind not in (0, 2, 3, 4, 6) or bits not in (1, 2, 4, 8, 16):
        raise ValueError(f'PNG of color type {kind} with {bits} bits')
    table = np.frombuffer(chunks.get(b'PLTE', b''), np.uint8).reshape(-1, 3) if kind == 3 else None
    frames = struct.unpack('>I', chunks[b'acTL'][:4])[0] if b'acTL' in chunks else 1
    # A single transparent color of a 16-bit file is not applied: all its values are meant.
    transparent = b'tRNS' in chunks and bits <= 8
    return {'format': 'PNG', 'codec': 'deflate', 'color': {0: 'grey', 3: 'palette', 4: 'grey'}.get(kind, 'RGB'),
            'bits': bits, 'samples': {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind], 'alpha': kind in (4, 6) or transparent,
            'palette': None if table is None else tuple(map(tuple, table.tolist())), 'pages': frames,
            'orientation': _orientation(chunks.get(b'eXIf', b'')), 'height': height, 'width': width}


def _jpeg(stream: BinaryIO) -> dict:
    """JPEG. Of several pictures in one file (MPO) the first is the picture; the rest are previews and gain maps."""
    image = JpegImagePlugin.JpegImageFile(stream)
    orientation = _safely(lambda: image.getexif().get(0x0112, 1))
    color = {'L': 'grey', 'CMYK': 'CMYK'}.get(image.mode, 'RGB')
    return {'format': 'JPEG', 'codec': 'JPEG', 'color': color, 'bits': 8, 'samples': len(image.getbands()),
            'orientation': orientation, 'height': image.height, 'width': image.width}


def _webp(stream: BinaryIO) -> dict:
    """WebP (RFC 9649): chunks in a RIFF container."""
    total = struct.unpack('<4xI', stream.read(8))[0] + 8
    end = stream.seek(0, io.SEEK_END)
    if total > end:
        raise truncated(f'{total - end} bytes are missing')
    stream.seek(12)
    frames, lossy, alpha, size, exif = 0, False, False, None, b''
    while stream.tell() + 8 <= total:
        kind, length = struct.unpack('<4sI', stream.read(8))
        after = stream.tell() + length + length % 2
        data = stream.read(length if kind == b'EXIF' else min(length, 32))
        if kind == b'VP8X':
            alpha |= bool(data[0] & 16)
            size = [1 + int.from_bytes(data[place:place + 3], 'little') for place in (7, 4)]
        elif kind == b'EXIF':
            exif = data
        frames += kind in (b'ANMF', b'VP8 ', b'VP8L')
        lossy |= kind == b'VP8 '
        if kind == b'VP8 ' and not size:
            size = [value & 0x3fff for value in struct.unpack('<HH', data[6:10])[::-1]]
        if kind == b'VP8L' and not size:
            packed, = struct.unpack('<I', data[1:5])
            size, alpha = [1 + (packed >> 14 & 0x3fff), 1 + (packed & 0x3fff)], bool(packed >> 28 & 1)
        stream.seek(after)
    if not size:
        raise truncated('it holds no picture')
    return {'format': 'WebP', 'codec': 'WebP lossy' if lossy else 'WebP lossless', 'color': 'RGB', 'bits': 8,
            'samples': 4 if alpha else 3, 'alpha': alpha, 'pages': frames, 'orientation': _orientation(exif),
            'height': size[0], 'width': size[1]}


def _npy(stream: BinaryIO) -> dict:
    """NumPy array of shape (H, W) or (H, W, bands)."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f'.npy of version {version}')
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    kinds = {'u': 'uint', 'i': 'int', 'f': 'float', 'b': 'bool'}
    if dtype.kind not in kinds or len(shape) not in (2, 3):
        raise InputError(f'an array of {dtype} of shape {shape}; save real numbers of shape (height, width) or '
                          f'(height, width, channels)')
    start = stream.tell()
    lacking = int(np.prod(shape)) * dtype.itemsize - (stream.seek(0, io.SEEK_END) - start)
    if lacking > 0:
        raise truncated(f'{lacking} bytes are missing')
    samples = shape[2] if len(shape) == 3 else 1
    return {'format': 'NPY', 'codec': 'none', 'color': 'grey' if samples == 1 else 'bands', 'samples': samples,
            'bits': 1 if dtype.kind == 'b' else 8 * dtype.itemsize, 'sample_format': kinds[dtype.kind],
            'height': shape[0], 'width': shape[1]}


_READERS: dict[bytes, Callable[[BinaryIO], dict]] = {
    b'\x89PNG\r\n\x1a\n': _png, b'\xff\xd8\xff': _jpeg, b'BM': bmp_header, b'RIFF': _webp, b'\x93NUMPY': _npy,
    b'II*\0': tiff_header, b'MM\0*': tiff_header, b'II+\0': tiff_header, b'MM\0+': tiff_header}


def _orientation(exif: bytes) -> int:
    """Orientation in an EXIF block; 1 where there is none, or none that can be read."""
    if not exif:
        return 1
    tags = Image.Exif()
    return _safely(lambda: (tags.load(exif), tags.get(0x0112, 1))[1])


def _safely(read: Callable[[], int]) -> int:
    # Cameras and editors write EXIF blocks of every kind of damage; they must not cost a picture.
    try:
        return read()
    except Exception:
        return 1
