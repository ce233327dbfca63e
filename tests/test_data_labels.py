"""What the values of a mask file mean: indices, maps, 0 and 255, colours; nothing is guessed, and no option is dropped."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import folder as folder_module
from jaxseg.data.decode import read_image, read_mask, size_of
from jaxseg.data.labels import Labels
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from tests.test_data_folder import BLUE, GREEN, MASK, RED, folder, picture, problem, write

PAIR = {'classes': ('background', 'cell'), 'colors': None}
BINARY = np.where(MASK == 1, 255, 0).astype(np.uint8)


def test_label_map_and_reduce_zero_label(tmp_path):
    write(tmp_path, image=picture(), mask=np.where(MASK == 255, 7, MASK).astype(np.uint8))
    mapped = folder(tmp_path, labels={'label_map': {'0': 2, '2': 0, '7': 255}}).source('train')[0]['mask']
    np.testing.assert_array_equal(mapped, np.choose(MASK % 255 % 3 + (MASK == 255) * 3, [2, 1, 0, 255]))
    write(tmp_path, mask=MASK, image=picture())
    reduced = folder(tmp_path, classes=('b', 'c'), colors=None, labels={'reduce_zero_label': True}).source('train')[0]['mask']
    np.testing.assert_array_equal(reduced, np.select([MASK == 1, MASK == 2], [0, 1], 255))


def test_binary_makes_255_class_one_in_every_file(tmp_path):
    write(tmp_path, image=picture(), mask=BINARY, stem='grey')
    write(tmp_path, image=picture(), mask=BINARY[..., None].repeat(3, -1), stem='grey_as_rgb')
    write(tmp_path, image=picture(), mask=Image.fromarray(BINARY > 0), stem='bits')
    # A stated void label, as in the README's dataset.json, changes nothing.
    for fields in (PAIR, {**PAIR, 'ignore_index': 255}):
        for sample in folder(tmp_path, **fields, labels={'binary': True}).source('train'):
            np.testing.assert_array_equal(sample['mask'], MASK == 1, sample['name'])
    write(tmp_path, image=picture(), mask=np.full((8, 12), 254, np.uint8), stem='other')
    assert 'other.png: label 254 (96 px) outside the 2 classes' in problem(tmp_path, **PAIR, labels={'binary': True})


@pytest.mark.parametrize('said', ['config', 'dataset.json'])
def test_255_is_void_in_every_file_where_the_void_label_is_stated(tmp_path, said):
    write(tmp_path, image=picture(), mask=BINARY, stem='only_background_and_void')
    write(tmp_path, image=picture(), mask=np.full((8, 12), 255, np.uint8), stem='void')
    if said == 'dataset.json':
        (tmp_path / 'dataset.json').write_text(json.dumps({'classes': ['background', 'cell'], 'ignore_index': 255}))
    source = folder(tmp_path, **PAIR, ignore_index=255 if said == 'config' else None).source('train')
    np.testing.assert_array_equal(source[0]['mask'], BINARY)
    assert (source[1]['mask'] == 255).all()


@pytest.mark.parametrize('mask', [BINARY, BINARY[..., None].repeat(3, -1), np.full((8, 12), 255, np.uint8)])
def test_0_and_255_are_refused_where_nobody_says_what_255_is(tmp_path, mask):
    write(tmp_path, image=picture(), mask=mask)
    message = problem(tmp_path, **PAIR)
    assert all(words in message for words in ('a.png: ', 'data.labels.binary=true', 'data.ignore_index=255'))


def test_255_beside_a_1_and_in_more_classes_is_void_as_ever(tmp_path):
    write(tmp_path, image=picture(), mask=np.where(MASK == 1, 255, MASK == 2).astype(np.uint8))
    assert set(np.unique(folder(tmp_path, **PAIR).source('train')[0]['mask'])) == {0, 1, 255}
    write(tmp_path, image=picture(), mask=BINARY)
    np.testing.assert_array_equal(folder(tmp_path).source('train')[0]['mask'], BINARY)


@pytest.mark.parametrize('labels, words', [
    ({'label_map': {0: 1}, 'reduce_zero_label': True}, 'label_map and reduce_zero_label contradict each other; give one'),
    ({'label_map': {0: 1}, 'binary': True}, 'label_map and binary contradict'),
    ({'reduce_zero_label': 'no'}, "data.labels.reduce_zero_label: 'no' is neither true nor false"),
    ({'binary': 'yes'}, "data.labels.binary: 'yes' is neither true nor false"),
    ({'binary': True}, 'data.labels.binary: true with 3 classes'),
    ({'label_map': [1, 2]}, 'label_map: .1, 2. does not send integers to integers'),
    ({'label_map': {'a': 1}}, "label_map: {'a': 1} does not send"),
    ({'label_map': {7: 9}}, 'label_map: 7 becomes 9; .* 3 classes 0..2 or void 255'),
    ({'label_map': {-1: 0}}, 'label_map: -1 becomes 0; it sends values from 0 on'),
    ({'ignore_color': [1, 2]}, r'ignore_color: \[1, 2\] is no color'),
])
def test_options_that_cannot_be_used_are_refused_before_a_file_is_read(tmp_path, labels, words):
    write(tmp_path, image=picture(), mask=MASK)
    with pytest.raises(InputError, match=words):
        folder(tmp_path, labels=labels).source('train')


@pytest.mark.parametrize('option', [{'label_map': {0: 2}}, {'reduce_zero_label': True}, {'binary': True}])
def test_options_of_indices_are_not_dropped_on_masks_of_colours(option):
    spec = DatasetSpec('toys', ('a', 'b'), (RED, GREEN), ignore_index=2)
    colours = np.array([RED, GREEN], np.uint8)[np.eye(4, dtype=int)]
    assert Labels(spec).decode(colours, 'a.png').tolist() == np.eye(4).tolist()
    with pytest.raises(InputError, match=f'a.png: a mask of colours, which data.labels.{next(iter(option))} does not apply to'):
        Labels(spec, **option).decode(colours, 'a.png')


def test_options_of_indices_hold_for_grey_saved_as_rgb_though_its_greys_are_in_the_palette():
    spec = DatasetSpec('toys', ('a', 'b'))
    assert spec.colors[0] == (0, 0, 0)
    assert (Labels(spec, label_map={0: 1}).decode(np.zeros((2, 2, 3), np.uint8), 'a.png') == 1).all()


def test_a_label_outside_the_classes_is_named_and_counted(tmp_path):
    write(tmp_path, image=picture(), mask=np.where(MASK == 1, 9, MASK).astype(np.uint8))
    message = problem(tmp_path)
    assert 'label 9 (16 px) outside the 3 classes 0..2' in message and 'label_map' in message


def test_an_unknown_colour_is_named_and_counted(tmp_path):
    colours = np.array([RED, (10, 20, 30), BLUE], np.uint8)[np.where(MASK == 255, 0, MASK)]
    write(tmp_path, image=picture(), mask=colours)
    assert 'colour (10, 20, 30) in 16 px, not in the palette of 3 colours' in problem(tmp_path)


def test_blended_colours_are_called_what_they_are(tmp_path):
    blends = np.arange(96 * 3, dtype=np.uint16).reshape(8, 12, 3).clip(0, 255).astype(np.uint8)
    write(tmp_path, image=picture(), mask=blends)
    assert 'anti-aliased' in problem(tmp_path) and 'PNG' in problem(tmp_path)


@pytest.mark.parametrize('kind', ['colours', 'grey', 'indices'])
@pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
def test_a_jpeg_is_no_mask_whatever_it_is_called_and_whatever_it_holds(tmp_path, monkeypatch, kind, name):
    known = np.where(MASK == 255, 0, MASK).repeat(3, 0).repeat(3, 1)
    mask = {'colours': np.array([RED, GREEN, BLUE], np.uint8)[known], 'grey': known * 100, 'indices': known}[kind]
    write(tmp_path, image=picture(shape=(24, 36, 3)), mask=mask.astype(np.uint8), mask_type='jpg')
    masks = tmp_path / 'train' / 'masks'
    (masks / 'a.jpg').rename(masks / name)
    with Image.open(masks / name) as blended:
        # Of the indices every value is a class: only the kind of the file gives it away.
        assert kind != 'indices' or set(np.unique(np.array(blended))) <= {0, 1, 2}
    for decoded in (1, 0):  # Of large data sets only the headers of some files are read.
        monkeypatch.setattr(folder_module, 'DECODED', decoded)
        message = problem(tmp_path)
        assert f'{name}: a mask must not be a JPEG' in message and 'export the masks as PNG' in message


def test_the_size_of_a_png_is_read_from_its_header_and_only_images_are_turned(tmp_path):
    path, exif = tmp_path / 'a.png', Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    # The pixels are cut off: whoever decoded them would fail.
    path.write_bytes(path.read_bytes()[:200])
    assert size_of(path) == size_of(path, mask=True) == (30, 50)
    Image.fromarray(pixels).save(path, exif=exif)
    assert size_of(path) == read_image(path, 1).shape[:2] == (50, 30)
    assert size_of(path, mask=True) == read_mask(path).shape == (30, 50)


def test_an_image_that_is_too_large_is_not_called_truncated(tmp_path, monkeypatch):
    Image.fromarray(MASK).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1)
    with pytest.raises(InputError, match='a.png: too large to be decoded at once .*; cut it into tiles'):
        size_of(tmp_path / 'a.png')
