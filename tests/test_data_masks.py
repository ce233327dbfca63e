"""One mask, stored in any way, gives the same labels or is refused."""

import contextlib
import functools
import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxseg.data.file_info import file_info
from jaxseg.data.labels import Labels
from jaxseg.data.masks import RawMask, read_mask
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from tests import encodings
from tests.encodings import npy, pillow, png, same_picture, same_values, tiff

RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)
COLORS = (RED, GREEN, BLUE)


def labels(classes: int, colors=(), void: int = 255, **options) -> Labels:
    spec = DatasetSpec('toys', tuple(f'c{i}' for i in range(classes)), colors, void)
    return Labels(spec, stated_colors=bool(colors), **options)


DATA_SETS = {
    'three colors': labels(3, COLORS), 'black first': labels(3, (BLACK, RED, GREEN)),
    'greys in another order': labels(3, ((2, 2, 2), BLACK, (1, 1, 1))),
    'white and black': labels(2, (WHITE, BLACK)), 'three': labels(3), 'two': labels(2),
    'two and void': labels(2, binary=False), 'binary': labels(2, binary=True),
    'void 11': labels(11, void=11), 'many': labels(200),
    'no zero': labels(150, void=150, reduce_zero_label=True),
    'map of greys': labels(3, label_map={0: 0, 85: 1, 170: 2}),
    'map of white': labels(2, label_map={0: 0, 255: 1}, unnamed_is_void=True),
    'white void': labels(3, COLORS, ignore_color=WHITE),
    'black void': labels(3, COLORS, ignore_color=BLACK)}
VALUES = ([0], [1], [255], [0, 1], [0, 2], [0, 3], [0, 15], [0, 17], [0, 255], [1, 2], [0, 1, 2],
          [0, 1, 255], [0, 85, 170], [0, 85, 170, 255], [0, 1, 2, 255], [0, 149, 150], [10, 11])


def originals(dataset: Labels):
    """Masks as an annotator may have saved them: (name, file, shown colors, stored values)."""
    known = [*dataset.spec.colors, *([dataset.ignore_color] if dataset.ignore_color else [])]
    palettes = {'palette of the data set': known,
                'palette of greys': [(9, 9, 9), (8, 8, 8), (7, 7, 7)],
                'palette of its own': [(9, 0, 9), (8, 0, 8), (7, 0, 7)]}
    for values in VALUES:
        mask = np.random.default_rng(0).choice(values, (6, 7)).astype(np.uint8)
        mask.flat[:len(values)] = values
        for bits in (1, 2, 4, 8):
            if max(values) < 2 ** bits:
                shown = mask * np.uint8(255 // (2 ** bits - 1))
                yield f'{bits}-bit {values}', png(mask, bits), shown[..., None].repeat(3, -1), mask
        for name, palette in palettes.items():
            if max(values) < len(palette):
                shown = np.array(palette, np.uint8)[mask]
                yield f'{name} {values}', png(mask, palette=palette), shown, mask
        if max(values) < len(known):
            yield f'colors {values}', png(shown := np.array(known, np.uint8)[mask]), shown, mask


@functools.cache
def copies(shown: bytes, stored: bytes) -> list[tuple[str, RawMask]]:
    """Every other file that shows the same (6, 7) picture, or stores the same values, as read."""
    picture = np.frombuffer(shown, np.uint8).reshape(6, 7, 3)
    files = list(same_picture(picture, np.random.default_rng(0)))
    if stored:
        files += same_values(np.frombuffer(stored, np.uint8).reshape(6, 7))
    found = []
    for name, file in files:
        with contextlib.suppress(InputError):
            found.append((name, read_mask(file)))
    return found


def decode(dataset: Labels, raw: RawMask) -> np.ndarray | None:
    try:
        return dataset.decode(raw, 'a.png')
    except InputError:
        return None


@pytest.mark.parametrize('name', DATA_SETS)
def test_a_mask_stored_in_any_other_way_gives_the_same_labels_or_is_refused(name):
    """Judged by the survey of the original, and alone where the colors of a palette are known."""
    dataset, decoded, accepted = DATA_SETS[name], 0, 0
    for original, file, shown, stored in originals(dataset):
        raw = read_mask(file)
        expected = decode(dataset, raw)
        if expected is None:
            continue
        decoded += 1
        surveyed = dataset.survey([raw])
        stored = b'' if 'colors' in original else stored.tobytes()
        alone = dataset.stated_colors and original.startswith(('8-bit', 'colors'))
        for other, copy in copies(shown.tobytes(), stored):
            for judge in (surveyed, dataset) if alone else (surveyed,):
                found = decode(judge, copy)
                accepted += found is not None
                assert found is None or (found == expected).all(), (original, other, judge.surveyed)
    assert decoded >= 4 and accepted >= 30 * decoded


ALWAYS = {
    'three': ([0, 1, 2, 255], {'TIFF white-is-zero', 'PNG 16-bit RGB'}),
    'binary': ([0, 255], {'TIFF white-is-zero', 'PNG 16-bit RGB',
                          # Index 0 is white, and may be class 0 or, as white, class 1.
                          *(f'{kind} palette reversed' for kind in ('PNG', 'BMP', 'TIFF')),
                          'PNG palette reversed 1-bit', 'PNG quantized'})}


@pytest.mark.parametrize('name', ALWAYS)
def test_only_files_of_two_meanings_are_refused(name):
    values, refused = ALWAYS[name]
    mask = np.random.default_rng(0).choice(values, (6, 7)).astype(np.uint8)
    surveyed = DATA_SETS[name].survey([read_mask(png(mask))])
    found = set()
    for other, file in same_picture(mask[..., None].repeat(3, -1), np.random.default_rng(4)):
        try:
            surveyed.decode(read_mask(file), other)
        except InputError:
            found.add(other)
    assert found - {'PNG palette shuffled', 'PNG palette shuffled 1-bit', 'BMP palette shuffled',
                    'TIFF palette shuffled'} == refused


def test_masks_of_colors_may_be_stored_in_every_way_that_shows_them():
    mask = np.random.default_rng(0).integers(0, 3, (6, 7))
    colors = np.array(COLORS, np.uint8)[mask]
    for other, file in same_picture(colors, np.random.default_rng(0)):
        if other != 'PNG 16-bit RGB':
            found = DATA_SETS['three colors'].decode(read_mask(file), other)
            np.testing.assert_array_equal(found, mask, other)


INDICES = np.random.default_rng(0).integers(0, 3, (16, 16)).astype(np.uint8)
RGB = np.array(COLORS, np.uint8)[INDICES]


def two_pages(kind: str) -> bytes:
    return pillow(RGB, kind, save_all=True, append_images=[Image.fromarray(RGB[::-1])])


def tiff_with(codec: str) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, RGB, photometric='rgb', compression=codec)
    return stream.getvalue()


@pytest.mark.parametrize('file, words', [
    (pillow(RGB, 'JPEG'), 'lossy: JPEG;'), (pillow(INDICES, 'JPEG', quality=100), 'lossy: JPEG;'),
    (two_pages('MPO'), 'lossy: JPEG;'),
    (pillow(RGB, 'WEBP'), 'WebP lossy'), (pillow(encodings.opaque(RGB) // 2, 'WEBP'), 'WebP lossy'),
    (two_pages('WEBP'), 'WebP lossy'),
    (pillow(RGB, 'TIFF', compression='jpeg'), 'JPEG in TIFF'),
    (pillow(INDICES, 'TIFF', compression='jpeg'), 'JPEG in TIFF'),
    (tiff_with('jpeg'), 'JPEG in TIFF'), (tiff_with('jpeg2000'), 'JPEG 2000 in TIFF'),
    (tiff_with('webp'), 'WebP in TIFF'), (tiff_with('jpegxl'), 'JPEG XL in TIFF'),
    (pillow(RGB, 'JPEG2000'), 'JPEG 2000'), (pillow(RGB, 'AVIF'), 'AVIF'),
    (pillow(RGB, 'GIF'), 'GIF'),
    (npy(INDICES.astype(np.float32)), 'float32'), (tiff(INDICES.astype(np.float64)), 'float64'),
    (npy(RGB), '3 8-bit channels (bands)'), (tiff(RGB[..., [0, 1, 2, 0, 1]]), '5 8-bit channels'),
    (png(RGB.astype(np.uint16) * 257, 16), '3 16-bit channels (RGB)'),
    (png(RGB.astype(np.uint16), 16), '3 16-bit channels (RGB)'),
    (pillow(Image.fromarray(RGB).convert('CMYK'), 'TIFF'), 'CMYK'),
    (pillow(Image.fromarray(RGB).convert('LAB'), 'TIFF'), 'CIELab'),
    (tiff(INDICES, photometric='miniswhite'), 'white-is-zero'),
    (two_pages('TIFF'), '2 pages'),
    (png(np.dstack([RGB, INDICES * 127])), 'pixels of the mask are transparent'),
    (png(np.dstack([INDICES, INDICES * 127])), 'pixels of the mask are transparent'),
    (npy(INDICES.astype(np.int64) - 1), 'mask values -1 to 1'),
    (npy(INDICES.astype(np.int64) + 70000), 'mask values 70000 to 70002'),
], ids=lambda value: value if isinstance(value, str) else '')
def test_a_file_that_is_no_mask_is_refused_by_its_name_whatever_it_is_called(tmp_path, file, words):
    path = tmp_path / 'a.png'
    path.write_bytes(file)
    with pytest.raises(InputError) as error:
        DATA_SETS['three colors'].decode(read_mask(path), str(path))
    message = str(error.value)
    assert message.startswith(f'{path}: ') and words in message and '\n' not in message, message


@pytest.mark.parametrize('orientation', range(1, 9))
def test_masks_are_turned_like_images(orientation):
    """Palette, grey, 16-bit: each decoder; the header agrees."""
    shown = INDICES[:5, :9]
    stored = np.ascontiguousarray(encodings.STORED[orientation](shown))
    block = encodings.exif(orientation)
    palette = [RED, GREEN, BLUE]
    for file in (png(stored, exif=block), png(stored, 2, palette, exif=block),
                 tiff(stored, orientation), tiff(stored.astype(np.uint16), orientation),
                 tiff(stored.astype(np.int64), orientation)):
        np.testing.assert_array_equal(read_mask(file).values, shown)
        assert file_info(file).size == shown.shape


def test_values_below_8_bits_are_those_of_the_file():
    for bits in (1, 2, 4):
        mask = np.random.default_rng(0).integers(0, 2 ** bits, (5, 7))
        raw = read_mask(png(mask, bits))
        np.testing.assert_array_equal(raw.values, mask)
        assert raw.scale == 255 // (2 ** bits - 1) and raw.palette is None
