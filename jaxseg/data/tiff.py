"""TIFF files: their headers, and the pixels of those that Pillow does not read exactly."""

import io
import math
import re
import struct
from typing import Any, BinaryIO

import numpy as np

from jaxseg.data.damage import truncated
from jaxseg.errors import InputError

CODECS = {
    1: 'none', 2: 'CCITT RLE', 3: 'CCITT Group 3', 4: 'CCITT Group 4', 5: 'LZW',
    6: 'old-style JPEG', 7: 'JPEG', 8: 'deflate', 32946: 'deflate', 32773: 'PackBits',
    34661: 'JBIG', 34712: 'JPEG 2000', 33003: 'JPEG 2000', 33005: 'JPEG 2000', 34887: 'LERC',
    34892: 'lossy JPEG', 34925: 'LZMA', 50000: 'Zstandard', 50001: 'WebP', 50002: 'JPEG XL',
    52546: 'JPEG XL'}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _COLOR_MAP, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _ORIENTATION = 277, 320, 338, 339, 274
_SUBFILE, _DESCRIPTION, _DEPTH = 254, 270, 32997
# Offsets and lengths of strips, and of tiles.
_SEGMENTS = ((273, 279), (324, 325))
_READ = {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _COLOR_MAP, _EXTRA_SAMPLES,
         _SAMPLE_FORMAT, _ORIENTATION, _SUBFILE, _DESCRIPTION, _DEPTH, *sum(_SEGMENTS, ())}
# Letter in `struct` of each field type: ASCII, SHORT, LONG, ..., and the 64-bit types of BigTIFF.
_TYPES = {1: 'B', 2: 'B', 3: 'H', 4: 'I', 6: 'b', 7: 'B', 8: 'h', 9: 'i', 11: 'f', 12: 'd',
          13: 'I', 16: 'Q', 17: 'q', 18: 'Q'}


def tiff_header(stream: BinaryIO) -> dict[str, Any]:
    """The fields of `file_info.FileInfo` for a TIFF or BigTIFF.

    Raises:
      InputError: the file is truncated, or describes pixels that are not understood.
      struct.error: the header ends too early.
    """
    directories = _directories(stream)
    # Reduced copies (1) and transparency masks (4) are no pages of their own.
    pages = [tags for tags in directories if not tags.get(_SUBFILE, (0,))[0] & 5] or directories
    tags = directories[0]
    end = stream.seek(0, io.SEEK_END)
    for offsets, lengths in _SEGMENTS:
        places = zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)
        lacking = max((offset + length for offset, length in places), default=0) - end
        if lacking > 0:
            raise truncated(f'{lacking} bytes are missing')
    bits = set(tags.get(_BITS, (1,)))
    formats = {{1: 'uint', 2: 'int', 3: 'float', 4: 'uint'}.get(value, f'format {value}')
               for value in tags.get(_SAMPLE_FORMAT, (1,))}
    if len(bits) > 1 or len(formats) > 1 or not formats <= {'uint', 'int', 'float'}:
        raise InputError(f'samples of {"/".join(map(str, sorted(bits)))} bits '
                         f'({"/".join(sorted(formats))}) are not read; save all bands with one '
                         f'number format')
    samples = tags.get(_SAMPLES, (1,))[0]
    codec = tags.get(_COMPRESSION, (1,))[0]
    color, alpha = _color(tags, samples)
    depth = bits.pop()
    return {
        'format': 'TIFF', 'codec': CODECS.get(codec, f'compression {codec}'), 'color': color,
        'bits': depth, 'sample_format': formats.pop(), 'samples': samples, 'alpha': alpha,
        'palette': _palette(tags.get(_COLOR_MAP, ()), depth) if color == 'palette' else None,
        'pages': len(pages) * _stacked(tags), 'orientation': tags.get(_ORIENTATION, (1,))[0],
        'height': tags[_HEIGHT][0], 'width': tags[_WIDTH][0]}


def read_with_tifffile(data: bytes) -> np.ndarray:
    """The samples of the first page as stored, (H, W, samples).

    Raises:
      InputError: the package tifffile, or the codec in imagecodecs, is not installed.
    """
    try:
        import tifffile  # an extra: only who has such files needs it
    except ImportError:
        raise InputError("this kind of TIFF is read with tifffile; pip install 'jaxseg[tiff]', or "
                         "save the file as .npy") from None
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        try:
            array = page.asarray()
        except ValueError as error:
            if 'imagecodecs' not in str(error):
                raise
            raise InputError(f"{error}; pip install 'jaxseg[tiff]', or save the file without "
                             f"compression") from None
        axes = page.axes
    array = np.moveaxis(array, axes.index('S'), -1) if 'S' in axes else array[..., None]
    return array.reshape(*array.shape[-3:])


def _directories(stream: BinaryIO) -> list[dict[int, tuple]]:
    """The tags of every page of a file: {tag: values}.

    Tags can lie over each other, so that a small file states values without end; they may not take
    more bytes than the file has.
    """
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    order = '<' if stream.read(2) == b'II' else '>'
    big = struct.unpack(f'{order}H', stream.read(2))[0] == 43
    count_of, entry_of, offset_of = ('Q', 'HHQ8s', 'Q') if big else ('H', 'HHI4s', 'I')
    stream.seek(8 if big else 4)

    def read(layout: str) -> tuple:
        return struct.unpack(order + layout, stream.read(struct.calcsize(order + layout)))

    offset, = read(offset_of)
    directories, seen, stated = [], set(), 0
    while offset and offset not in seen:
        seen.add(offset)
        stream.seek(offset)
        entries = [read(entry_of) for _ in range(read(count_of)[0])]
        offset, = read(offset_of)
        known = {tag: entry for tag, *entry in entries if tag in _READ and entry[0] in _TYPES}
        stated += sum(count * struct.calcsize(_TYPES[kind]) for kind, count, _ in known.values())
        if stated > end:
            raise truncated(f'its tags state {stated} bytes of values')
        directories.append({tag: _values(stream, order, entry, offset_of)
                            for tag, entry in known.items()})
    if not directories:
        raise struct.error('no directory')
    return directories


def _values(stream: BinaryIO, order: str, entry: list, offset_of: str) -> tuple:
    """The values of a tag, which stand in its entry or at the offset that the entry holds."""
    kind, count, inline = entry
    layout = f'{order}{count}{_TYPES[kind]}'
    size = struct.calcsize(layout)
    if size > len(inline):
        stream.seek(struct.unpack(order + offset_of, inline)[0])
        inline = stream.read(size)
    return struct.unpack(layout, inline[:size])


def _color(tags: dict[int, tuple], samples: int) -> tuple[str, bool]:
    """The color model as `FileInfo.color` names it, and whether one of the samples is alpha."""
    photometric = tags.get(_PHOTOMETRIC, (1,))[0]
    extra = tags.get(_EXTRA_SAMPLES, ())
    # 1: premultiplied alpha, 2: alpha; 0: a further band without a meaning.
    alpha = len(extra) == 1 and extra[0] in (1, 2)
    if photometric == 2 and samples == 3 + alpha:
        return 'premultiplied RGB' if alpha and extra[0] == 1 else 'RGB', alpha
    if photometric in (0, 1) and samples == 1 + alpha:
        return 'grey' if photometric else 'white-is-zero grey', alpha
    if photometric == 3 and samples == 1:
        return 'palette', False
    if photometric == 5 and samples == 4:
        return 'CMYK', False
    if photometric == 6 and samples == 3:
        # Decoders of JPEG return RGB.
        return 'RGB' if tags.get(_COMPRESSION, (1,))[0] == 7 else 'YCbCr', False
    if photometric in (1, 2):
        return 'bands', False
    return {0: 'white-is-zero bands', 8: 'CIELab', 9: 'ICCLab', 32803: 'raw sensor'}.get(
        photometric, f'photometric {photometric}'), False


def _palette(values: tuple, bits: int) -> tuple[tuple[int, int, int], ...]:
    """RGB colors; the file holds all reds, then all greens, then all blues, each with 16 bits."""
    if len(values) != 3 * 2 ** bits:
        raise InputError(f'a palette of {len(values)} values for {bits} bits; the file is damaged, '
                         f'save it again')
    table = np.array(values).reshape(3, -1) // 256
    return tuple(map(tuple, table.T.tolist()))


def _stacked(tags: dict[int, tuple]) -> int:
    """Pictures that one directory holds: planes of a volume, or a stack of ImageJ."""
    text = ''.join(map(chr, tags.get(_DESCRIPTION, ())))
    images = re.search(r'^images=([0-9]{1,9})', text, re.MULTILINE)
    count = int(images[1]) if text.startswith('ImageJ=') and images else 1
    return math.prod(tags.get(_DEPTH, (1,))) * count
