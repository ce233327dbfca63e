"""BMP files with palettes. Pillow misreads those of greys, taking indices for other bit depths."""

import struct
from typing import Any, BinaryIO

import numpy as np

from jaxseg.data.tiff import truncated
from jaxseg.errors import InputError

_COMPRESSIONS = {0: 'none', 1: 'RLE', 2: 'RLE', 3: 'none', 4: 'JPEG', 5: 'PNG', 6: 'none'}


def bmp_header(stream: BinaryIO) -> dict[str, Any]:
    """The fields of `file_info.FileInfo` for a BMP.

    Raises:
      InputError: the file is truncated, or stores pixels in a way that is not read.
      struct.error: the header ends too early.
    """
    data = stream.read(14 + 124 + 4 * 256)
    end = stream.seek(0, 2)
    header = _parse(data)
    if header['codec'] != 'none':
        raise InputError(f'{header["codec"]} compression in BMP is not read; save it without compression, or as PNG')
    lacking = header['offset'] + abs(header['height']) * _row_bytes(header) - end
    if lacking > 0:
        raise truncated(f'{lacking} bytes are missing')
    bits, palette = header['bits'], header['palette']
    grey = palette == tuple((value,) * 3 for value in np.linspace(0, 255, 2 ** bits).astype(int).tolist()) if palette else False
    return {'format': 'BMP', 'codec': 'none', 'color': 'grey' if grey else 'palette' if palette else 'RGB',
            'bits': bits if palette else 8, 'samples': 1 if palette else 4 if header['alpha'] else 3,
            'alpha': header['alpha'], 'palette': None if grey else palette, 'height': abs(header['height']),
            'width': header['width']}


def read_indices(data: bytes) -> np.ndarray:
    """The indices of a BMP with a palette, (H, W) uint8."""
    header = _parse(data)
    height, width, bits = header['height'], header['width'], header['bits']
    rows = np.frombuffer(data, np.uint8, abs(height) * _row_bytes(header), header['offset']).reshape(abs(height), -1)
    if bits < 8:
        ones = np.unpackbits(rows, axis=1).reshape(len(rows), -1, bits)
        rows = (ones << np.arange(bits, dtype=np.uint8)[::-1]).sum(-1, dtype=np.uint8)
    # Rows stand from the bottom to the top, unless the height is negative.
    return rows[:, :width][::-1 if height > 0 else 1]


def _parse(data: bytes) -> dict[str, Any]:
    offset, size = struct.unpack('<10xII', data[:18])
    old = size == 12  # OS/2: 16-bit sizes, 3 bytes a color
    width, height, bits = struct.unpack('<HH2xH' if old else '<ii2xH', data[18:26 if old else 30])
    compression, colors = (0, 0) if old else struct.unpack('<I12xI', data[30:50])
    alpha_mask = struct.unpack('<I', data[66:70])[0] if size >= 56 and compression in (3, 6) else 0
    palette = None
    if bits in (1, 4, 8):
        width_of_color = 3 if old else 4
        count = min(colors or 2 ** bits, 2 ** bits)
        table = np.frombuffer(data, np.uint8, count * width_of_color, 14 + size).reshape(count, -1)
        palette = tuple(map(tuple, table[:, 2::-1].tolist()))
    elif bits not in (16, 24, 32):
        raise InputError(f'BMP of {bits} bits is not read; save it as PNG')
    return {'offset': offset, 'width': width, 'height': height, 'bits': bits, 'palette': palette,
            'codec': _COMPRESSIONS.get(compression, f'compression {compression}'), 'alpha': bool(alpha_mask)}


def _row_bytes(header: dict[str, Any]) -> int:
    # Rows are filled up to 4 bytes.
    return (header['width'] * header['bits'] + 31) // 32 * 4
