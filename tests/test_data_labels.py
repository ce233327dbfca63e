"""Values and colors of masks: nothing is guessed for a single file, no option is ignored."""

import json
import types

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import sample_check
from jaxseg.data.labels import Labels
from jaxseg.data.masks import RawMask, read_mask
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.visualize import save_index_png
from jaxseg.errors import InputError
from tests.encodings import palette_image, pillow, png
from tests.test_data_folder import BLUE, GREEN, MASK, RED, folder, picture, write

PAIR = {'classes': ('background', 'cell'), 'colors': None}
BINARY = np.where(MASK == 1, 255, 0).astype(np.uint8)
COLORS = np.array([RED, GREEN, BLUE], np.uint8)


def labels(classes=3, colors=(), void=255, **options) -> Labels:
    spec = DatasetSpec('toys', tuple(f'c{i}' for i in range(classes)), colors, void)
    return Labels(spec, **{'stated_colors': bool(colors), **options})


def grey(*values, dtype=np.uint8) -> RawMask:
    return RawMask(np.array([values], dtype))


def colored(*colors) -> RawMask:
    return RawMask(np.array([colors], np.uint8))


def refusal(dataset: Labels, *raws: RawMask) -> str:
    with pytest.raises(InputError) as error:
        surveyed = dataset.survey(raws)
        for raw in raws:
            surveyed.decode(raw, 'a.png')
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize('dataset, stored, meant', [
    (labels(3), [0, 1, 2, 255], [0, 1, 2, 255]),
    (labels(3, void=3), [0, 1, 2, 3], [0, 1, 2, 3]),
    (labels(3, label_map={0: 2, 2: 0, 7: 255}), [0, 1, 2, 7, 255], [2, 1, 0, 255, 255]),
    (labels(3, label_map={'0': 2, '9': 1}), [0, 9], [2, 1]),
    (labels(3, label_map={5: 1}, unnamed_is_void=True), [0, 1, 5, 255], [255, 255, 1, 255]),
    (labels(2, reduce_zero_label=True), [0, 1, 2, 255], [255, 0, 1, 255]),
    # Void is the number of classes: the value of the last class, which must not be lost.
    (labels(3, void=3, reduce_zero_label=True), [0, 1, 2, 3], [3, 0, 1, 2]),
    (labels(150, void=150, reduce_zero_label=True), [0, 1, 149, 150], [150, 0, 148, 149]),
    (labels(150, void=255, reduce_zero_label=True), [0, 150, 255], [255, 149, 255]),
    (labels(3, void=4, reduce_zero_label=True), [0, 3, 4], [4, 2, 4]),
    (labels(2, binary=True), [0, 1, 255], [0, 1, 1]), (labels(2, binary=False), [0, 255], [0, 255]),
    (labels(2), [0, 1, 255], [0, 1, 255]), (labels(3), [0, 255], [0, 255]),
], ids=str)
def test_each_stored_value_means_one_class(dataset, stored, meant):
    assert dataset.decode(grey(*stored), 'a.png').tolist() == [meant]
    wide = dataset.decode(grey(*stored, dtype=np.int64), 'a.png')
    assert wide.tolist() == [meant] and wide.dtype == np.uint8


def test_labels_above_255_keep_their_16_bits():
    dataset = labels(300, void=65535)
    found = dataset.decode(grey(0, 257, 299, 65535, dtype=np.uint16), 'a.png')
    assert found.tolist() == [[0, 257, 299, 65535]] and found.dtype == np.uint16
    # Multiples of 257 are not taken for 8-bit greys where labels need 16 bits.
    assert dataset.decode(grey(0, 65535, dtype=np.uint16), 'a.png').tolist() == [[0, 65535]]


def test_binary_makes_255_class_one_in_every_file(tmp_path):
    write(tmp_path, image=picture(), mask=BINARY, stem='grey')
    write(tmp_path, image=picture(), mask=BINARY[..., None].repeat(3, -1), stem='grey_as_rgb')
    write(tmp_path, image=picture(), mask=Image.fromarray(BINARY > 0), stem='bits')
    # A stated void label changes nothing.
    for fields in (PAIR, {**PAIR, 'ignore_index': 255}):
        for sample in folder(tmp_path, **fields, labels={'binary': True}).source('train'):
            np.testing.assert_array_equal(sample['mask'], MASK == 1, sample['name'])


@pytest.mark.parametrize('stated', ['config', 'dataset.json'])
def test_255_is_void_in_every_file_where_the_void_label_is_stated(tmp_path, capsys, stated):
    write(tmp_path, image=picture(), mask=BINARY, stem='only_background_and_void')
    write(tmp_path, image=picture(), mask=np.full((8, 12), 255, np.uint8), stem='void')
    if stated == 'dataset.json':
        description = {'classes': ['background', 'cell'], 'ignore_index': 255}
        (tmp_path / 'dataset.json').write_text(json.dumps(description))
    void = 255 if stated == 'config' else None
    source = folder(tmp_path, **PAIR, ignore_index=void).source('train')
    np.testing.assert_array_equal(source[0]['mask'], BINARY)
    assert (source[1]['mask'] == 255).all()
    # Nothing could be learned, whatever 255 means; what other masks show is not known.
    with pytest.raises(InputError, match="2 masks show 'background' and void .*binary=true"):
        source.check_files()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_check, 'DECODED', 1)
        patch.setattr(np.random, 'default_rng', lambda seed: types.SimpleNamespace(
            permutation=np.arange))
        source.check_files()
    assert "note: data set " in capsys.readouterr().out
    write(tmp_path, image=picture(), mask=np.ones((8, 12), np.uint8), stem='cell')
    folder(tmp_path, **PAIR, ignore_index=void).source('train').check_files()
    write(tmp_path, 'val', image=picture(1), mask=BINARY)  # which may be so where 255 is void
    folder(tmp_path, **PAIR, ignore_index=void).source('val').check_files()


def test_classes_without_a_pixel_are_printed_where_all_masks_were_read(tmp_path, monkeypatch,
                                                                       capsys):
    write(tmp_path, image=picture(), mask=np.zeros((8, 12), np.uint8))
    write(tmp_path, image=picture(), mask=np.where(MASK == 1, 255, MASK), stem='b')
    write(tmp_path, 'val', image=picture(1), mask=MASK)
    for split in ('train', 'val'):
        folder(tmp_path).source(split).check_files()
    assert capsys.readouterr().out == (
        "note: no mask of the split 'train' shows b, so that the model cannot learn it\n")
    monkeypatch.setattr(sample_check, 'DECODED', 1)
    folder(tmp_path).source('train').check_files()
    assert not capsys.readouterr().out


@pytest.mark.parametrize('mask, overlapping, shown', [
    ([[0, 2, 255]], False, ([True, False, True], True, True)),
    ([[0, 0, 0]], False, ([True, False, False], True, False)),
    ([[255, 255]], False, ([False] * 3, False, True)),
    ([[[0, 1, 255]]], True, ([False, True, False], True, True)),
    ([[[0, 0, 0]]], True, ([False] * 3, True, False)),
    ([[[255, 255, 255]]], True, ([False] * 3, False, True))])
def test_what_a_mask_shows(mask, overlapping, shown):
    spec = DatasetSpec('toys', ('a', 'b', 'c'), overlapping=overlapping)
    classes, labelled, void = sample_check.shown_in(np.array(mask, np.uint8), spec)
    assert (classes.tolist(), labelled, void) == shown


@pytest.mark.parametrize('dataset, raws, words', [
    (labels(2), [grey(0, 255)], ('a.png', 'data.labels.binary=true', 'data.ignore_index=255')),
    (labels(2), [grey(255)], ('a.png', 'data.labels.binary=true')),
    (labels(2), [colored((0, 0, 0), (255, 255, 255))], ('a.png', 'data.labels.binary=true')),
    (labels(2, binary=True), [grey(0, 254)], ('label 254 (1 px)', '2 classes 0..1')),
    (labels(3), [grey(0, 9, 9)], ('label 9 (2 px)', '3 classes 0..2', 'label_map')),
    (labels(3), [grey(4, 5, 6, 7, 8)], ('4 (1 px), 5 (1 px), 6 (1 px) and 2 more values',)),
    (labels(3), [grey(-1, 0, dtype=np.int16)], ('-1 to 0', 'int16')),
    (labels(3), [grey(0, 70000, dtype=np.int32)], ('0 to 70000', 'int32')),
    # 1-bit white is class 1 or, as in 8 bits, void.
    (labels(2, binary=False), [RawMask(np.array([[0, 1]]), scale=255)], ("encoding='indices'",)),
    (labels(3), [RawMask(np.array([[0, 1]]), scale=255)], ('a.png', "encoding='indices'")),
    (labels(18), [RawMask(np.array([[0, 1]]), scale=17)], ('a.png', "encoding='indices'")),
    (labels(3, (RED, GREEN, BLUE)), [colored(RED, (10, 20, 30), (10, 20, 30))],
     ('color (10, 20, 30) in 2 px', '3 colors', 'data.colors')),
    (labels(3), [colored(RED, GREEN)], ('a mask of colors', 'data.colors')),
    (labels(2, label_map={0: 1}), [colored(RED)], ('a mask of colors', 'data.labels.label_map')),
    (labels(2, (RED, GREEN), reduce_zero_label=True), [colored(RED)],
     ('data.labels.reduce_zero_label',)),
    (labels(2, (RED, GREEN), binary=True), [colored(RED)], ('data.labels.binary',)),
    (labels(3, (RED, GREEN, BLUE)), [grey(0, 1), grey(0, 2), colored(RED, BLUE)],
     ('a mask of colors', 'data.labels.encoding')),
    (labels(3, (RED, GREEN, BLUE)), [colored(RED), colored(GREEN), grey(0, 1)],
     ('color (0, 0, 0) in 1 px, (1, 1, 1) in 1 px', "data.labels.encoding='indices'")),
    (labels(3, ((2, 2, 2), (0, 0, 0), (1, 1, 1))), [grey(0, 1, 2)], ('data.labels.encoding',)),
    (labels(3), [RawMask(np.array([[0, 1]]), (RED, GREEN)),
                 RawMask(np.array([[0, 1]]), (GREEN, RED))], ('index 0', str(RED), str(GREEN))),
], ids=str)
def test_a_mask_that_does_not_fit_is_refused_with_value_and_key(dataset, raws, words):
    message = refusal(dataset, *raws)
    assert all(word in message for word in words), message


def test_blended_colors_are_called_anti_aliased():
    blends = np.random.default_rng(0).integers(1, 255, (1, 50, 3)).astype(np.uint8)
    message = refusal(labels(3, (RED, GREEN, BLUE)), RawMask(blends))
    assert '50 colors' in message and 'anti-aliased' in message


@pytest.mark.parametrize('options, key, value', [
    ({'label_map': {0: 1}, 'reduce_zero_label': True}, 'label_map and reduce_zero_label', ''),
    ({'label_map': {0: 1}, 'binary': True}, 'label_map and binary', ''),
    ({'reduce_zero_label': 'no'}, 'data.labels.reduce_zero_label', "'no'"),
    ({'binary': 'yes'}, 'data.labels.binary', "'yes'"),
    ({'binary': True}, 'data.labels.binary', '3 classes'),
    ({'label_map': [1, 2]}, 'data.labels.label_map', '[1, 2]'),
    ({'label_map': {'a': 1}}, 'data.labels.label_map', "{'a': 1}"),
    ({'label_map': {7: 9}}, 'label_map', '7 becomes 9'),
    ({'label_map': {-1: 0}}, 'label_map', '-1 becomes 0'),
    ({'ignore_color': [1, 2]}, 'ignore_color', '[1, 2]'),
    ({'encoding': 'rgb'}, 'data.labels.encoding', "'rgb'"),
    ({'encoding': 'colors', 'label_map': {0: 1}}, 'data.labels.encoding', 'label_map'),
    ({'encoding': 'colors'}, 'data.labels.encoding', 'data.colors'),
])
def test_options_that_cannot_be_used_are_refused(options, key, value):
    with pytest.raises(InputError) as error:
        labels(3, **options)
    assert key in str(error.value) and value in str(error.value)


def test_grey_rgb_masks_are_judged_once_for_a_data_set_and_not_by_their_own_content(tmp_path):
    """Black is the color of class 2 and, in these masks of indices saved as RGB, the index 0."""
    colors = (RED, GREEN, (0, 0, 0))
    for stem, mask in (('a', np.zeros_like(MASK)), ('b', np.where(MASK == 255, 0, MASK))):
        write(tmp_path, image=picture(), mask=mask[..., None].repeat(3, -1), stem=stem)
    black, mixed = (sample['mask'] for sample in folder(tmp_path, colors=colors).source('train'))
    assert (black == 0).all() and set(np.unique(mixed)) == {0, 1, 2}
    # The same black file among masks of colors.
    shown = np.array(colors, np.uint8)[np.where(MASK == 255, 0, MASK)]
    write(tmp_path, image=picture(), mask=shown, stem='b')
    black, mixed = (sample['mask'] for sample in folder(tmp_path, colors=colors).source('train'))
    assert (black == 2).all() and set(np.unique(mixed)) == {0, 1, 2}


def test_all_splits_share_one_decision(tmp_path):
    black = np.zeros((8, 12, 3), np.uint8)
    write(tmp_path, 'train', image=picture(), mask=np.array([RED, GREEN], np.uint8)[MASK % 2])
    write(tmp_path, 'val', image=picture(1), mask=black, stem='b')
    data = folder(tmp_path, colors=(RED, GREEN, (0, 0, 0)))
    assert (data.source('val')[0]['mask'] == 2).all()


def test_a_palette_in_another_order_is_read_by_color_where_colors_are_stated():
    mask = np.array([[0, 1, 2, 1]], np.uint8)
    moved = read_mask(pillow(palette_image(np.array([2, 0, 1])[mask], COLORS[[1, 2, 0]]), 'PNG'))
    stated = labels(3, (RED, GREEN, BLUE))
    assert stated.decode(moved, 'a.png').tolist() == mask.tolist()
    assert labels(3, (RED, GREEN, BLUE), encoding='indices').decode(moved, '').tolist() == [
        [2, 0, 1, 0]]
    # Palettes of other colors mean their indices, also beside stated colors.
    other = read_mask(png(mask, palette=[(9, 0, 9), (8, 0, 8), (7, 0, 7)]))
    assert stated.decode(other, 'a.png').tolist() == mask.tolist()
    # One that is met after the survey is refused.
    assert 'encoding' in refusal(stated.survey([other]), moved)


def test_void_keeps_its_index_in_the_palette_files_that_the_library_writes(tmp_path):
    """Their unused entries are black, which may be the color of a class."""
    colors = ((0, 0, 0), RED, GREEN)
    spec = DatasetSpec('toys', ('a', 'b', 'c'), colors)
    save_index_png(tmp_path / 'a.png', MASK, spec)
    raw = read_mask(tmp_path / 'a.png')
    assert raw.palette[255] == raw.palette[0]
    np.testing.assert_array_equal(Labels(spec).decode(raw, 'a.png'), MASK)


def test_the_void_color_is_void_and_a_class_without_pixels_needs_no_color_in_the_file():
    dataset = labels(3, (RED, GREEN, BLUE), ignore_color=[255, 255, 255])
    raw = colored((255, 255, 255), BLUE, RED)
    assert dataset.decode(raw, 'a.png').tolist() == [[255, 2, 0]]


@pytest.mark.parametrize('options, void, raw, expected', [
    ({}, 255, grey(0, 1), [0, 1]), ({}, 255, grey(0, 255), [0, 1]), ({}, 255, grey(255), [1]),
    ({}, 255, RawMask(np.array([[0, 1]]), scale=255), [0, 1]),
    ({}, 255, colored((0, 0, 0), (255, 255, 255)), [0, 1]),
    ({}, 255, RawMask(np.array([[0, 1]]), ((0, 0, 0), RED)), [0, 1]),
    ({'binary': False}, 255, grey(0, 1, 255), [0, 1, 255]),
    ({'binary': False}, 9, grey(0, 255, 9), [0, 1, 9]), ({}, 9, grey(0, 1, 9), [0, 1, 9]),
    ({}, 255, grey(0, 1, 255), 'values 0, 1, 255'), ({}, 255, grey(0, 2), 'values 0, 2'),
    ({'binary': False}, 255, RawMask(np.array([[0, 1]]), scale=255), 'encoding'),
    ({}, 255, RawMask(np.array([[0, 1]]), (RED, (0, 0, 0))), 'encoding'),
    ({}, 255, RawMask(np.array([[0, 1]]), ((255, 255, 255), (0, 0, 0))), 'encoding'),
    ({}, 255, colored((0, 0, 0), RED), 'a mask of colors'),
], ids=str)
def test_the_mask_of_one_class_holds_0_and_1_or_0_and_255(options, void, raw, expected):
    spec = DatasetSpec('toys', ('a', 'b', 'c'), ignore_index=void, overlapping=True)
    dataset = Labels(spec, stated_colors=False, **options)
    if isinstance(expected, list):
        found = dataset.decode_binary(raw, 'a.png')
        assert found.tolist() == [expected] and found.dtype == np.uint8
    else:
        with pytest.raises(InputError, match='a.png: ') as error:
            dataset.decode_binary(raw, 'a.png')
        assert expected in str(error.value)


@pytest.mark.parametrize('decoded', [1, 0])
def test_lossy_masks_are_found_by_their_headers_too(tmp_path, monkeypatch, decoded):
    """Of large data sets only the headers of some files are read."""
    monkeypatch.setattr(sample_check, 'DECODED', decoded)
    indices = np.where(MASK == 255, 0, MASK).repeat(3, 0).repeat(3, 1)
    write(tmp_path, image=picture(shape=(24, 36, 3)), mask=indices, mask_type='jpg')
    masks = tmp_path / 'train' / 'masks'
    (masks / 'a.jpg').rename(masks / 'a.png')
    # Every value is a class: only the kind of the file gives it away.
    assert set(np.unique(np.array(Image.open(masks / 'a.png')))) <= {0, 1, 2}
    with pytest.raises(InputError, match='a.png: a mask must not be lossy: JPEG'):
        folder(tmp_path).source('train').check_files()
