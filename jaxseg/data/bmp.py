"""BMP files with palettes. Pillow misreads some: it takes the indices of greys for other depths."""

import struct
from typing import Any, BinaryIO

import numpy as np

from jaxseg.data.damage import truncated
from jaxseg.errors import InputError

_COMPRESSIONS = {0: 'none', 1: 'RLE', 2: 'RLE', 3: 'none', 4: 'JPEG', 5: 'PNG', 6: 'none'}
# File header, largest image header, palette of 256 colors.
_LONGEST_HEADER = 14 + 124 + 4 * 256


def bmp_header(stream: BinaryIO) -> dict[str, Any]:
    """The fields of `file_info.FileInfo` for a BMP.

    Raises:
      InputError: the file is truncated, or stores pixels in a way that is not read.
      struct.error: the header ends too early.
    """
    header = _parse(stream.read(_LONGEST_HEADER))
    if header['codec'] != 'none':
        raise InputError(f'{header["codec"]} compression in BMP is not read; save it without '
                         f'compression, or as PNG')
    end = header['offset'] + abs(header['height']) * _row_bytes(header)
    lacking = end - stream.seek(0, 2)
    if lacking > 0:
        raise truncated(f'{lacking} bytes are missing')
    bits, palette, alpha = header['bits'], header['palette'], header['alpha']
    if palette and palette == _greys(bits):
        color, palette = 'grey', None
    else:
        color = 'palette' if palette else 'RGB'
    return {'format': 'BMP', 'codec': 'none', 'color': color, 'bits': min(bits, 8),
            'samples': 1 if bits <= 8 else 3 + alpha, 'alpha': alpha, 'palette': palette,
            'height': abs(header['height']), 'width': header['width']}


def read_indices(data: bytes) -> np.ndarray:
    """The indices of a BMP with a palette, (H, W) uint8."""
    header = _parse(data)
    height, width, bits = header['height'], header['width'], header['bits']
    size = abs(height) * _row_bytes(header)
    rows = np.frombuffer(data, np.uint8, size, header['offset']).reshape(abs(height), -1)
    if bits < 8:
        ones = np.unpackbits(rows, axis=1).reshape(len(rows), -1, bits)
        rows = (ones << np.arange(bits, dtype=np.uint8)[::-1]).sum(-1, dtype=np.uint8)
    # Rows are stored from the bottom to the top, unless the height is negative.
    return rows[:, :width][::-1 if height > 0 else 1]


def _parse(data: bytes) -> dict[str, Any]:
    offset, size = struct.unpack('<10xII', data[:18])
    os2 = size == 12  # 16-bit sizes, 3 bytes a color
    width, height, bits = struct.unpack('<HH2xH' if os2 else '<ii2xH', data[18:26 if os2 else 30])
    compression, colors = (0, 0) if os2 else struct.unpack('<I12xI', data[30:50])
    masked = size >= 56 and compression in (3, 6)
    palette = None
    if bits in (1, 4, 8):
        count, stride = min(colors or 2 ** bits, 2 ** bits), 3 if os2 else 4
        table = np.frombuffer(data, np.uint8, count * stride, 14 + size).reshape(count, stride)
        palette = tuple(map(tuple, table[:, 2::-1].tolist()))
    elif bits not in (16, 24, 32):
        raise InputError(f'BMP of {bits} bits is not read; save it as PNG')
    return {'offset': offset, 'width': width, 'height': height, 'bits': bits, 'palette': palette,
            'codec': _COMPRESSIONS.get(compression, f'compression {compression}'),
            'alpha': masked and struct.unpack('<I', data[66:70]) != (0,)}


def _greys(bits: int) -> tuple[tuple[int, int, int], ...]:
    """The palette of evenly spaced greys from black to white, which makes indices values."""
    return tuple((255 * value // (2 ** bits - 1),) * 3 for value in range(2 ** bits))


def _row_bytes(header: dict[str, Any]) -> int:
    return (header['width'] * header['bits'] + 31) // 32 * 4  # filled up to 4 bytes
