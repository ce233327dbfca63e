"""Truncated, damaged and oversized image files: one line with the name, and no memory spent."""

import struct

import numpy as np
import pytest

from jaxseg.data.decode import read_image
from jaxseg.data.file_info import file_info
from jaxseg.errors import InputError
from tests import encodings
from tests.encodings import npy, pillow, png, tiff, webp

RNG = np.random.default_rng(0)
GREY8, RGB8, BANDS = (RNG.integers(0, 256, (20, 18, bands)).astype(np.uint8) for bands in (1, 3, 5))
GREY8, DEEP, REAL = GREY8[..., 0], RGB8.astype(np.uint16) * 200, RNG.random((20, 18))
ALL_FORMATS = {
    'PNG': png(RGB8), 'PNG 16-bit': png(DEEP, 16), 'WebP': webp(RGB8),
    'WebP lossy': pillow(RGB8, 'WEBP'), 'JPEG': pillow(RGB8, 'JPEG'), 'BMP': pillow(RGB8, 'BMP'),
    'BMP palette': pillow(encodings.palette_image(GREY8, RGB8.reshape(-1, 3)[:256]), 'BMP'),
    'TIFF': tiff(RGB8), 'TIFF LZW': tiff(RGB8, compression='lzw'),
    'TIFF bands': tiff(BANDS), 'NPY': npy(RGB8),
    'TIFF float': tiff(REAL, compression='zlib')}


def fitting(file: bytes) -> tuple[int, tuple[float, float]]:
    """Channels and value range with which a file can be read."""
    info = file_info(file)
    value_range = {8: (0, 255), 16: (0, 65535), 64: (0, 1)}[info.bits]
    return 3 if info.palette else info.samples, value_range


@pytest.mark.parametrize('name', ALL_FORMATS)
def test_a_truncated_file_is_called_truncated_wherever_it_ends(name):
    file = ALL_FORMATS[name]
    channels, value_range = fitting(file)
    read_image(file, channels, value_range)
    for length in (len(file) - 3, len(file) // 2, 24):
        with pytest.raises(InputError, match='x.png: cannot be decoded: the file is truncated'):
            read_image(file[:length], channels, value_range, 'x.png')


@pytest.mark.parametrize('name', ALL_FORMATS)
def test_a_damaged_file_gives_pixels_or_one_line(name):
    rng = np.random.default_rng(1)
    for _ in range(60):
        file = bytearray(ALL_FORMATS[name])
        for place in rng.integers(0, min(len(file), rng.choice([60, len(file)])), 3):
            file[place] = rng.integers(0, 256)
        try:
            read_image(bytes(file), *fitting(ALL_FORMATS[name]), 'x.png')
        except InputError as error:
            assert str(error).startswith('x.png: ') and '\n' not in str(error)


def test_the_header_alone_gives_the_size_and_the_pixels_are_not_decoded(tmp_path):
    for name, file in ALL_FORMATS.items():
        damaged = bytearray(file)
        damaged[-len(file) // 3:-12] = bytes(len(damaged[-len(file) // 3:-12]))
        if name.startswith(('PNG', 'JPEG', 'BMP', 'NPY')):
            (tmp_path / 'a').write_bytes(damaged)
            assert file_info(tmp_path / 'a').size == (20, 18), name


def test_a_picture_that_is_too_large_is_refused_before_memory_is_reserved():
    header = struct.pack('>IIBBBBB', 60000, 50000, 8, 2, 0, 0, 0)
    file = png(RGB8)
    with pytest.raises(InputError, match='a.png: 60000x50000 pixels, .*; cut .* into tiles'):
        file_info(file[:16] + header + file[16 + len(header):], 'a.png')


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / 'none.png', tmp_path):
        with pytest.raises(InputError, match=f'{path}: cannot be read'):
            read_image(path, 3)
