"""Images read piece by piece have the pixels of the whole; masks written by rows are read back."""

import itertools

import numpy as np
import pytest
import tifffile

from jaxseg.data.decode import read_image
from jaxseg.data.lazy import LazyImage
from jaxseg.data.mask_writer import regroup, write_mask
from jaxseg.errors import InputError

RANGES = {'uint8': (0, 255), 'uint16': (0, 65535), 'float32': (0, 1000)}
LAYOUTS = {
    'one piece': {}, 'tiles': {'tile': (16, 32)}, 'strips': {'rowsperstrip': 7, 'compression': 8},
    'predictor': {'tile': (32, 16), 'compression': 8, 'predictor': True},
    'BigTIFF': {'bigtiff': True, 'tile': (16, 16), 'compression': 8},
    'big-endian': {'byteorder': '>'}, 'planes': {'planarconfig': 'separate'},
    'planes in tiles': {'planarconfig': 'separate', 'tile': (16, 16), 'compression': 5}}
PIECES = (np.s_[:], np.s_[10:33, 5:60], np.s_[90:200, 60:70], np.s_[16:17, 31:33], np.s_[:0, :5],
          np.s_[32:48])


def pixels(dtype, channels):
    high = RANGES[dtype][1]
    return (np.random.default_rng(0).random((101, 67, channels)) * high).astype(dtype)


def write_tiff(path, image, layout):
    options = dict(LAYOUTS[layout])
    if image.shape[-1] == 1:
        image = image[..., 0]
    else:
        options.setdefault('planarconfig', 'contig')
        options['photometric'] = 'rgb' if image.shape[-1] == 3 else 'minisblack'
        if options['planarconfig'] == 'separate':
            image = np.moveaxis(image, -1, 0)
    tifffile.imwrite(path, image, **options)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dtype', RANGES)
def test_every_piece_of_a_tiff_is_that_of_the_whole_image(dtype, layout, tmp_path):
    for channels in (1, 3, 5):
        if channels == 1 and 'planes' in layout:
            continue
        image, path = pixels(dtype, channels), tmp_path / f'{channels}.tif'
        write_tiff(path, image, layout)
        lazy = LazyImage(path, channels, RANGES[dtype])
        assert (lazy.shape, lazy.dtype) == (image.shape, image.dtype)
        for piece in PIECES:
            np.testing.assert_array_equal(lazy[piece], image[piece])


def test_pieces_are_converted_as_whole_images_are(tmp_path):
    """Grey for RGB, RGB for grey, alpha dropped, 8 bits in a data set of 16, white as zero."""
    rgba, path = pixels('uint8', 4), tmp_path / 'a.tif'
    cases = [(rgba[..., 0], {}, 3, (0, 255)), (rgba[..., :3], {'photometric': 'rgb'}, 1, (0, 255)),
             (rgba, {'photometric': 'rgb', 'extrasamples': ['unassalpha']}, 3, (0, 255)),
             (rgba[..., 0], {}, 1, (0, 65535)),
             (rgba[..., 0], {'photometric': 'miniswhite'}, 1, (0, 255))]
    for image, options, channels, value_range in cases:
        tifffile.imwrite(path, image, **options)
        whole = read_image(path, channels, value_range)
        lazy = LazyImage(path, channels, value_range)
        assert lazy.dtype == whole.dtype
        np.testing.assert_array_equal(lazy[20:40, 30:50], whole[20:40, 30:50])


def test_npy_files_are_read_in_pieces_of_two_and_three_axes(tmp_path):
    for image in (pixels('uint8', 3), pixels('uint8', 1)[..., 0], pixels('uint16', 2),
                  np.asfortranarray(pixels('uint8', 3))):
        np.save(tmp_path / 'a.npy', image)
        channels = image.shape[2] if image.ndim == 3 else 1
        lazy = LazyImage(tmp_path / 'a.npy', channels, RANGES[image.dtype.name])
        for piece in PIECES:
            np.testing.assert_array_equal(lazy[piece], image.reshape(101, 67, channels)[piece])


def test_what_cannot_be_read_in_pieces_is_refused_with_the_reason(tmp_path):
    image = pixels('uint8', 3)
    path = tmp_path / 'a.tif'

    def words_of(write):
        write()
        with pytest.raises(InputError) as error:
            LazyImage(path, 3)[50:60]
        assert '\n' not in str(error.value)
        return str(error.value)

    turned = [(274, 'H', 1, 6, True)]
    assert 'orientation 6' in words_of(
        lambda: tifffile.imwrite(path, image, photometric='rgb', extratags=turned))
    palette = {'photometric': 'palette', 'colormap': np.zeros((3, 256), np.uint16)}
    assert 'palette' in words_of(lambda: tifffile.imwrite(path, image[..., 0], **palette))
    assert 'data.channels' in words_of(lambda: tifffile.imwrite(path, image[..., :2],
                                                                planarconfig='contig',
                                                                photometric='minisblack'))
    assert 'data.value_range' in words_of(lambda: tifffile.imwrite(path, pixels('uint16', 3),
                                                                   photometric='rgb'))
    assert 'No such file' in words_of(path.unlink)


def test_a_damaged_piece_is_named_when_it_is_read(tmp_path):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, pixels('uint8', 3), photometric='rgb', tile=(16, 16), compression=8)
    with tifffile.TiffFile(path) as file:
        offset, count = (list(part)[-1] for part in (file.pages[0].dataoffsets,
                                                     file.pages[0].databytecounts))
    data = bytearray(path.read_bytes())
    data[offset:offset + count] = b'\xff' * count
    path.write_bytes(data)
    lazy = LazyImage(path, 3)
    assert lazy[:50].shape == (50, 67, 3)
    with pytest.raises(InputError, match='damaged|truncated'):
        lazy[90:]


def test_pieces_too_large_to_be_decoded_are_refused_unless_they_are_not_compressed(
        tmp_path, monkeypatch):
    monkeypatch.setattr('jaxseg.data.lazy._MAX_SEGMENT', 10_000)
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, pixels('uint8', 3), photometric='rgb')
    assert LazyImage(path, 3).shape == (101, 67, 3)
    tifffile.imwrite(path, pixels('uint8', 3), photometric='rgb', compression=8, rowsperstrip=101)
    with pytest.raises(InputError, match='save it in tiles'):
        LazyImage(path, 3)


@pytest.mark.parametrize('lengths, rows', [((3, 4, 5), 4), ((10,), 3), ((1,) * 7, 2), ((4, 4), 4),
                                           ((2,), 5)])
def test_rows_are_regrouped_without_loss(lengths, rows):
    total = sum(lengths)
    bounds = [0, *itertools.accumulate(lengths)]
    pieces = [np.arange(total)[a:b] for a, b in itertools.pairwise(bounds)]
    found = list(regroup(pieces, rows))
    assert [len(piece) for piece in found[:-1]] == [rows] * (len(found) - 1)
    np.testing.assert_array_equal(np.concatenate(found), np.arange(total))


@pytest.mark.parametrize('name', ['a.npy', 'a.tif'])
@pytest.mark.parametrize('dtype, channels', [('uint8', ()), ('uint16', ()), ('uint8', (3,))])
def test_a_mask_written_by_rows_is_read_back(name, dtype, channels, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / name
    mask = rng.integers(0, 4, (600, 301, *channels)).astype(dtype)
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 8, 7)]
    write_mask(path, iter([mask[:100], mask[100:101], mask[101:]]), (600, 301), colors)
    found = np.load(path) if name == 'a.npy' else tifffile.imread(path)
    assert found.dtype == mask.dtype
    np.testing.assert_array_equal(found, mask)
    if name == 'a.tif':
        with tifffile.TiffFile(path) as file:
            assert file.pages[0].is_tiled
            if (dtype, channels) == ('uint8', ()):
                assert file.pages[0].colormap[:, 3].tolist() == [9 * 257, 8 * 257, 7 * 257]


@pytest.mark.parametrize('name', ['a.npy', 'a.tif'])
def test_a_mask_that_stops_halfway_leaves_the_old_file(name, tmp_path):
    def pieces():
        yield np.zeros((10, 20), np.uint8)
        raise InputError('damaged')

    (tmp_path / name).write_bytes(b'old')
    with pytest.raises(InputError):
        write_mask(tmp_path / name, pieces(), (20, 20), [(0, 0, 0)])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b'old'
