"""Contents of files that are no image, or none that can be read."""

import io
import os
import pathlib
import pickle
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

# An image that can be read, of half a megabyte.
VALID = '0.5 GB of 8 bits, grey with alpha'


def _encoded(kind: str, array: np.ndarray | None = None, **options) -> bytes:
    file = io.BytesIO()
    if array is None:
        array = np.zeros((32, 40, 3), np.uint8)
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def _png(width: int, height: int, pixels: bytes, *, bits: int = 8, color: int = 2,
         more: bytes = b'') -> bytes:
    """A PNG of any header and compressed pixels."""
    header = struct.pack('>IIBBBBB', width, height, bits, color, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', header) + more + _chunk(b'IDAT', pixels)
            + _chunk(b'IEND', b''))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def _zeros(count: int) -> bytes:
    """`count` zero bytes, compressed to a thousandth: the same block again and again."""
    packer, size = zlib.compressobj(9, wbits=-15), 2 ** 20
    block = packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compress(bytes(count % size), wbits=-15)
    # The checksum of Adler: the sum of the bytes and 1, and the sum of these sums.
    return b'\x78\xda' + block * (count // size) + rest + struct.pack('>HH', count % 65521, 1)


def _npy(shape: Sequence[int], kind: str = '|u1') -> bytes:
    """The header of an array, and no values."""
    text = str({'descr': kind, 'fortran_order': False, 'shape': tuple(shape)}).encode()
    text += b' ' * (-(len(text) + 11) % 64) + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text


class _Marker:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: pathlib.Path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


def _pickled(marker: pathlib.Path) -> bytes:
    return _npy((), '|O') + pickle.dumps(np.array(_Marker(marker), object))


def _tiff_overlapping() -> bytes:
    """Directories whose tags all hold the same half megabyte: values of gigabytes."""
    used = (254, 256, 257, 258, 259, 262, 270, 273, 274, 277, 279, 320, 338, 339)
    size, count = 174, 3000
    file = bytearray(struct.pack('<2sHI', b'II', 42, 8))
    for index in range(count):
        entries = b''.join(struct.pack('<HHII', tag, 1, 2 ** 19, 0) for tag in used)
        after = 8 + size * (index + 1) if index + 1 < count else 0
        file += struct.pack('<H', len(used)) + entries + struct.pack('<I', after)
    return bytes(file.ljust(2 ** 19 + 8, b'\0'))


def contents(marker: pathlib.Path) -> dict[str, tuple[str, bytes]]:
    """Suffix and bytes of files that are no image, or none that can be read."""
    grey = np.zeros((32, 40), np.uint8)
    jpeg, tiff = _encoded('JPEG'), _encoded('TIFF')
    noise = _encoded('PNG', np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8))
    return {
        'EPS': ('.png', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n/x {(%pipe%touch '
                        b'hostile) (w) file} def x\nshowpage\n'),
        'PDF': ('.jpg', _encoded('PDF')), 'GIF': ('.png', _encoded('GIF', grey)),
        'SVG': ('.png', b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
        'HTML': ('.jpg', b'<!DOCTYPE html><html><body>404</body></html>'),
        'FITS': ('.tif', b'SIMPLE  =                    T'.ljust(2880)),
        'PSD': ('.tif', b'8BPS\0\1' + bytes(6) + struct.pack('>HIIHH', 3, 9, 9, 8, 3) + bytes(99)),
        'ICO': ('.png', _encoded('ICO')), 'ZIP': ('.npy', b'PK\x03\x04' + bytes(99)),
        'a script': ('.png', b'#!/bin/sh\ntouch hostile\n'),
        'nothing': ('.png', b''), 'zeros': ('.jpg', bytes(4096)),
        'half of a PNG': ('.png', noise[:len(noise) // 2]),
        'half of a JPEG': ('.jpg', jpeg[:len(jpeg) // 2]),
        'half of a TIFF': ('.tif', tiff[:len(tiff) // 2]),
        'a header of 60000x60000': ('.png', _png(60000, 60000, zlib.compress(b''))),
        'a header of 2^31-1': ('.png', _png(2 ** 31 - 1, 1, zlib.compress(b''))),
        'a header of 16000x16000 only': ('.png', _png(16000, 16000, zlib.compress(b''))),
        VALID: ('.png', _png(
            16384, 16384, _zeros(16384 * (1 + 2 * 16384)), color=4)),
        '1.6 GB of 16 bits': ('.png', _png(
            16384, 16384, _zeros(16384 * (1 + 6 * 16384)), bits=16)),
        'text of 4 GB in a PNG': ('.png', _png(40, 32, zlib.compress(b''), more=_chunk(
            b'zTXt', b'a\0\0' + _zeros(2 ** 32)))),
        'a profile of 1 GB in a PNG': ('.png', _png(40, 32, zlib.compress(b''), more=_chunk(
            b'iCCP', b'a\0\0' + _zeros(2 ** 30)))),
        'a TIFF of overlapping tags': ('.tif', _tiff_overlapping()),
        'an array of 10^9 x 10^9': ('.npy', _npy((10 ** 9, 10 ** 9, 3))),
        'an array of 0 x 0': ('.npy', _npy((0, 0, 3))),
        'an array of negative size': ('.npy', _npy((-1, -1, 3)) + bytes(9)),
        'an array of text': ('.npy', _npy((32, 40), '<U9') + bytes(32 * 40 * 36)),
        'a header that is code': ('.npy', _npy((1,)).replace(b"'|u1'", b'exec')),
        'a pickle': ('.npy', _pickled(marker)),
        'a bare pickle': ('.npy', pickle.dumps(_Marker(marker)))}
