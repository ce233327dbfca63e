"""Image files of every format, depth, number of channels and orientation: exact, or refused."""

import dataclasses
import io
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxseg.data.decode import IMAGE_SUFFIXES, check_image, read_image
from jaxseg.data.file_info import file_info
from jaxseg.errors import InputError
from tests import encodings
from tests.encodings import GREY, RGB, SHOWN, STORED, npy, pillow, png, tiff, webp

RNG = np.random.default_rng(0)
WIDE = (-1000, 70000)


def values(kind: str, bands: int = 0) -> np.ndarray:
    """Random (20, 18) or (20, 18, bands), over the range of the type or, of floats, 0 to 1."""
    shape = (20, 18, bands) if bands else (20, 18)
    if kind.startswith('float'):
        return RNG.random(shape).astype(kind)
    low, high = max(np.iinfo(kind).min, -1000), min(np.iinfo(kind).max, 65535)
    return RNG.integers(low, high, shape, endpoint=True).astype(kind)


def exact_cases():
    """(id, file, value range, the array that it must give)."""
    grey, rgb, rgba = (values('uint8', bands) for bands in (0, 3, 4))
    for name, encode in GREY.items():
        yield f'grey {name}', encode(grey), (0, 255), grey
    for name, encode in RGB.items():
        yield f'RGB {name}', encode(rgb), (0, 255), rgb
    for name, encode in (('PNG', png), ('WebP', webp), ('TIFF', tiff)):
        yield f'RGBA {name}', encode(rgba), (0, 255), rgba
    for bits, step in ((1, 255), (2, 85), (4, 17)):
        low = grey % 2 ** bits
        yield f'PNG {bits}-bit', png(low, bits), (0, 255), low * np.uint8(step)
        yield f'PNG {bits}-bit interlaced', png(low, bits, interlaced=True), (0, 255), low * step
        colors = rgb[0, :2 ** bits]
        yield f'PNG {bits}-bit palette', png(low, bits, colors), (0, 255), colors[low]
    bilevel = Image.fromarray(grey > 99)
    for name, file in (('BMP', pillow(bilevel, 'BMP')), ('TIFF', pillow(bilevel, 'TIFF')),
                       ('fax', pillow(bilevel, 'TIFF', compression='group4')),
                       ('white-is-zero', tiff(grey <= 99, photometric='miniswhite')),
                       ('NPY', npy(grey > 99))):
        yield f'1-bit {name}', file, (0, 255), (grey > 99) * np.uint8(255)
    yield 'white-is-zero', tiff(255 - grey, photometric='miniswhite'), (0, 255), grey
    for kind in ('PNG', 'BMP', 'TIFF'):
        image = encodings.palette_image(grey % 200, rgb.reshape(-1, 3)[:200])
        yield f'palette {kind}', pillow(image, kind), (0, 255), rgb.reshape(-1, 3)[:200][grey % 200]
    yield '8-bit as 16-bit', png(grey), (0, 65535), grey.astype(np.uint16) * 257
    for bands in (0, 2, 3, 4):
        deep = values('uint16', bands)
        yield f'PNG 16-bit {bands}', png(deep, 16), (0, 65535), deep
        yield f'PNG 16-bit {bands} interlaced', png(deep, 16, interlaced=True), (0, 4095), deep
    white = values('uint16')
    yield '16-bit white-is-zero', tiff(65535 - white, photometric='miniswhite'), (0, 65535), white
    for kind in ('uint8', 'uint16', 'uint32', 'uint64', 'int8', 'int16', 'int32', 'int64',
                 'float16', 'float32', 'float64'):
        for bands in (0, 1, 2, 3, 4, 5, 13):
            array = values(kind, bands)
            stated, dtype = {'uint8': ((0, 255), 'uint8'), 'uint16': ((0, 65535), 'uint16')}.get(
                kind, (WIDE, 'float32'))
            yield f'NPY {kind} {bands}', npy(array), stated, array.astype(dtype)
            yield f'NPY {kind} {bands} columns', npy(np.asfortranarray(array)), stated, \
                array.astype(dtype)
            yield f'TIFF {kind} {bands}', tiff(array), stated, array.astype(dtype)
            yield f'TIFF {kind} {bands} big-endian', tiff(array, byteorder='>'), stated, \
                array.astype(dtype)
            file = tiff(array, byteorder='>', compression='zlib')
            yield f'TIFF {kind} {bands} big-endian deflate', file, stated, array.astype(dtype)
            if bands > 1:
                file = tiff(array, planarconfig='separate', compression='zlib')
                yield f'TIFF {kind} {bands} planes', file, stated, array.astype(dtype)
    yield 'BigTIFF', tiff(grey, bigtiff=True), (0, 255), grey


@pytest.mark.parametrize('file, value_range, expected', [
    pytest.param(*case, id=name) for name, *case in exact_cases()])
def test_pixels_are_those_of_the_file(file, value_range, expected):
    expected = expected if expected.ndim == 3 else expected[..., None]
    image = read_image(file, expected.shape[-1], value_range)
    assert image.dtype == expected.dtype or expected.dtype == np.int64
    np.testing.assert_array_equal(image, expected)
    assert file_info(file).size == image.shape[:2] and image.flags.c_contiguous


@pytest.mark.parametrize('orientation', range(1, 9))
def test_images_are_turned_as_their_orientation_states_and_the_header_agrees(orientation):
    shown = values('uint8', 3)
    stored, block = np.ascontiguousarray(STORED[orientation](shown)), encodings.exif(orientation)
    deep = stored.astype(np.uint16) * 257
    files = {'PNG': png(stored, exif=block), 'Pillow PNG': pillow(stored, 'PNG', exif=block),
             'WebP': webp(stored, exif=block), 'TIFF': tiff(stored, orientation),
             'TIFF LZW': tiff(stored, orientation, compression='lzw')}
    for name, file in files.items():
        np.testing.assert_array_equal(read_image(file, 3), shown, name)
        assert file_info(file).size == shown.shape[:2], name
    for file in (png(deep, 16, exif=block), tiff(deep, orientation)):
        image = read_image(file, 3, (0, 65535))
        np.testing.assert_array_equal(image, shown.astype(np.uint16) * 257)
        assert file_info(file).size == shown.shape[:2]
    upright, turned = pillow(shown, 'JPEG'), pillow(shown, 'JPEG', exif=block)
    np.testing.assert_array_equal(read_image(turned, 3), SHOWN[orientation](read_image(upright, 3)))
    assert file_info(turned).size == SHOWN[orientation](shown).shape[:2]


@pytest.mark.parametrize('block', [encodings.exif(0), encodings.exif(9), encodings.exif(65535),
                                   b'Exif\0\0', b'Exif\0\0MM\0*\xff\xff', b'Exif\0\0' + b'x' * 40])
def test_a_senseless_orientation_is_ignored(block):
    picture = values('uint8', 3)
    for file in (png(picture, exif=block), webp(picture, exif=block)):
        np.testing.assert_array_equal(read_image(file, 3), picture)
    expected = read_image(pillow(picture, 'JPEG'), 3)
    np.testing.assert_array_equal(read_image(pillow(picture, 'JPEG', exif=block), 3), expected)
    for orientation in (0, 9, 65535):
        np.testing.assert_array_equal(read_image(tiff(picture, orientation), 3), picture)


def test_channels_are_repeated_weighted_and_dropped_but_never_invented():
    grey, rgb, rgba = (values('uint8', bands) for bands in (0, 3, 4))
    np.testing.assert_array_equal(read_image(png(grey), 3), grey[..., None].repeat(3, -1))
    luminance = np.array(Image.fromarray(rgb).convert('L'))
    np.testing.assert_array_equal(read_image(png(rgb), 1)[..., 0], luminance)
    np.testing.assert_array_equal(read_image(png(rgba), 1), read_image(png(rgba[..., :3]), 1))
    np.testing.assert_array_equal(read_image(png(rgba), 3), rgba[..., :3])
    with_alpha = np.dstack([grey, rgba[..., 3]])
    np.testing.assert_array_equal(read_image(png(with_alpha), 1)[..., 0], grey)
    np.testing.assert_array_equal(read_image(png(with_alpha), 4), with_alpha[..., [0, 0, 0, 1]])
    deep = values('uint16', 3)
    np.testing.assert_allclose(read_image(png(deep, 16), 1, (0, 65535))[..., 0].astype(float),
                               deep @ [0.299, 0.587, 0.114], atol=2)
    real = values('float32', 3)
    np.testing.assert_allclose(read_image(tiff(real), 1, (0, 1))[..., 0],
                               real @ np.float32([0.299, 0.587, 0.114]), atol=1e-4)


def test_cmyk_and_transparent_palettes_stand_for_their_colors():
    rgb, indices = values('uint8', 3), values('uint8') % 3
    cmyk = pillow(Image.fromarray(rgb).convert('CMYK'), 'TIFF')
    np.testing.assert_array_equal(read_image(cmyk, 3), rgb)
    colors, alpha = rgb[0, :3], np.array([0, 99, 255], np.uint8)
    file = png(indices, palette=colors, transparency=alpha.tobytes())
    np.testing.assert_array_equal(read_image(file, 4), np.dstack([colors[indices], alpha[indices]]))
    np.testing.assert_array_equal(read_image(file, 3), colors[indices])


def test_the_first_picture_of_a_camera_file_is_the_picture():
    first, preview = values('uint8', 3), values('uint8', 3)
    file = pillow(first, 'MPO', save_all=True, append_images=[Image.fromarray(preview)])
    assert b'MPF\0' in file
    np.testing.assert_array_equal(read_image(file, 3), read_image(pillow(first, 'JPEG'), 3))


def nan(*places: int, value: float = np.nan) -> bytes:
    array = values('float32')
    array.flat[list(places)] = value
    return npy(array)


def pages(kind: str, **options) -> bytes:
    frames = [Image.fromarray(values('uint8', 3)) for _ in range(3)]
    return pillow(frames[0], kind, save_all=True, append_images=frames[1:], **options)


GREY8, RGB8 = values('uint8'), values('uint8', 3)


@pytest.mark.parametrize('file, channels, value_range, words', [
    (png(values('uint16'), 16), 1, (0, 255), ('16-bit', 'data.value_range=[0, 65535]')),
    (tiff(values('float32')), 1, (0, 255), ('float32', 'data.value_range=[LOW, HIGH]')),
    (tiff(values('float64')), 1, (0, 255), ('float64', 'data.value_range=[LOW, HIGH]')),
    (tiff(values('int64')), 1, (0, 255), ('int64', 'data.value_range=[LOW, HIGH]')),
    (npy(values('int16')), 1, (0, 255), ('int16', 'data.value_range=[LOW, HIGH]')),
    (npy(np.full((4, 4), -3)), 1, (0, 65535), ('int64', '-3', 'data.value_range is [0, 65535]')),
    (npy(np.full((4, 4), 7)), 1, (0, 1), ('int64', 'data.value_range is [0, 1]')),
    (png(GREY8), 1, (0, 4095), ('8-bit', 'data.value_range is [0, 4095]')),
    (png(GREY8), 1, (0, 1), ('8-bit', 'data.value_range is [0, 1]')),
    (nan(5), 1, (0, 1), ('1 values', 'NaN')),
    (nan(5, 6, value=np.inf), 1, (0, 1), ('2 values', 'infinite')),
    (npy(np.full((4, 4), 1e300)), 1, (0, 1), ('16 values', 'float64')),
    (png(RGB8), 4, (0, 255), ('3 channels (RGB)', 'data.channels is 4')),
    (png(GREY8), 2, (0, 255), ('1 channels (grey)', 'data.channels is 2')),
    (png(GREY8), 4, (0, 255), ('1 channels (grey)', 'data.channels is 4')),
    (tiff(values('uint8', 5)), 3, (0, 255), ('5 channels (bands)', 'data.channels=5')),
    (tiff(values('uint8', 4), extrasamples=['unspecified']), 3, (0, 255), ('4 channels (bands)',)),
    (npy(values('uint8', 3)), 1, (0, 255), ('3 channels (bands)', 'data.channels=3')),
    (pillow(Image.fromarray(RGB8).convert('CMYK'), 'JPEG'), 4, (0, 255), ('CMYK',)),
    (pillow(Image.fromarray(RGB8).convert('LAB'), 'TIFF'), 3, (0, 255), ('CIELab',)),
    (tiff(values('uint16', 4), photometric='separated'), 4, (0, 65535), ('CMYK of 16-bit',)),
    (tiff(values('uint16', 4), extrasamples=['assocalpha']), 4, (0, 65535), ('premultiplied',)),
    (tiff(values('float32'), photometric='miniswhite'), 1, (0, 1), ('white-is-zero', 'float32')),
    (pages('TIFF'), 3, (0, 255), ('3 pages',)), (pages('WEBP'), 3, (0, 255), ('3 pages',)),
    (pages('PNG'), 3, (0, 255), ('3 pages',)), (png(RGB8, frames=2), 3, (0, 255), ('2 pages',)),
    (tiff(GREY8, description='ImageJ=1.54\nimages=4\n'), 1, (0, 255), ('4 pages',)),
    (pages('GIF'), 3, (0, 255), ('GIF',)), (pillow(RGB8, 'JPEG2000'), 3, (0, 255), ('JPEG 2000',)),
    (pillow(RGB8, 'AVIF'), 3, (0, 255), ('AVIF',)), (pillow(RGB8, 'PPM'), 3, (0, 255), ('PPM',)),
    (b'%PDF-1.7', 3, (0, 255), ('PDF',)), (b'8BPS\0\1', 3, (0, 255), ('Photoshop',)),
    (b'\0\0\0\x18ftypheic', 3, (0, 255), ('HEIF',)), (b'', 3, (0, 255), ('empty',)),
    (b'version https://git-lfs.github.com/spec/v1\n', 3, (0, 255), ('Git LFS',)),
    (b'some words', 3, (0, 255), ('unknown format',)),
    (b'RIFF\0\0\0\0WAVE', 3, (0, 255), ('unknown format',)),
    (npy(np.zeros((3, 3), complex)), 1, (0, 1), ('complex128',)),
    (npy(np.zeros(7)), 1, (0, 1), ('(7,)', '(height, width)')),
    (npy(np.zeros((2, 3, 4, 5))), 1, (0, 1), ('(2, 3, 4, 5)',)),
    (npy(np.array([[{}]], object)), 1, (0, 1), ('object',)),
    (npy(np.zeros((0, 7), np.uint8)), 1, (0, 255), ('7x0 pixels',)),
])
def test_an_image_that_is_not_understood_is_refused_by_its_name(file, channels, value_range, words):
    with pytest.raises(InputError) as error:
        read_image(file, channels, value_range, 'records/7')
    message = str(error.value)
    assert message.startswith('records/7: ') and all(word in message for word in words), message
    assert '\n' not in message


def test_the_range_of_12_bit_images_is_proposed_from_their_depth():
    info = dataclasses.replace(file_info(png(values('uint16'), 16)), bits=12)
    with pytest.raises(InputError, match=r'a.tif: 12-bit pixels.*data.value_range=\[0, 4095\]'):
        check_image(info, 1, (0, 255), 'a.tif')


def test_a_range_decides_the_number_format_and_no_picture_does():
    for value in (0.5, 200):
        assert (read_image(npy(np.full((4, 4), value, float)), 1, (0, 1000)) == value).all()
    integers = npy(np.array([[3, 4095]], np.int32))
    assert read_image(integers, 1, (0, 4095)).dtype == np.uint16
    assert read_image(integers, 1, (-1, 4095)).dtype == np.float32
    assert read_image(integers, 1, (0, 4095.5)).dtype == np.float32
    assert read_image(integers, 1, (0.5, 4095.5)).dtype == np.float32
    assert read_image(png(GREY8), 1, (16, 235)).dtype == np.uint8


def test_tifffile_is_needed_only_for_what_pillow_does_not_read(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    np.testing.assert_array_equal(read_image(tiff(RGB8), 3), RGB8)
    with pytest.raises(InputError, match=r"a.tif: .*tifffile; pip install 'jaxseg\[tiff\]'"):
        read_image(tiff(values('uint8', 5)), 5, (0, 255), 'a.tif')


@pytest.mark.parametrize('suffix', sorted(IMAGE_SUFFIXES))
def test_a_file_is_what_it_holds_and_not_what_it_is_called(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(png(RGB8))
    np.testing.assert_array_equal(read_image(path, 3), RGB8)


def test_opencv_and_the_own_encoder_write_the_same_16_bit_png():
    """The table above trusts the encoders of the tests; this is their check."""
    deep = values('uint16', 3)
    for file in (png(deep, 16), encodings.opencv_png(deep)):
        np.testing.assert_array_equal(read_image(file, 3, (0, 65535)), deep)
        decoded = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded[..., ::-1], deep)
    assert (np.array(Image.open(io.BytesIO(png(GREY8, interlaced=True)))) == GREY8).all()
