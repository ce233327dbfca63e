"""LabelMe's JSON files: every type of shape, layouts, and every fault."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.labelme import LabelMe
from jaxseg.data.splits import assign_split
from jaxseg.errors import InputError


def shape(label, *points, kind='polygon', **more):
    return {'label': label, 'points': points, 'shape_type': kind, 'group_id': None, **more}


def square(label, left, top, right, bottom):
    return shape(label, (left, top), (right, bottom), kind='rectangle')


def write(root, stem, *shapes, size=(6, 9), **changes):
    path = root / f'{stem}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), sum(stem.encode()) % 256, np.uint8)).save(path)
    values = {'version': '5.4.1', 'flags': {}, 'shapes': shapes, 'imagePath': '..\\x\\other.png',
              'imageData': 'AAAA', 'imageHeight': size[0], 'imageWidth': size[1], **changes}
    (root / f'{stem}.json').write_text(json.dumps(values))


def masks(root, **fields):
    data = LabelMe(str(root), splits={'all': 1.0}, **fields)
    return {sample['name']: sample['mask'] for sample in data.source('all')}


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'png')
    return base64.b64encode(buffer.getvalue()).decode()


def test_labels_are_classes_in_alphabetical_order_and_small_shapes_are_on_top(tmp_path):
    write(tmp_path, 'a', square('wing', 2, 2, 4, 3), square('plane', 1, 1, 6, 5),
          square('_ignore_', 0, 0, 3, 2), square('background', 4, 3, 5, 4))
    write(tmp_path, 'b')
    data = LabelMe(str(tmp_path), splits={'all': 1.0})
    assert data.spec.classes == ('background', 'plane', 'wing') and data.spec.ignore_index == 255
    source = data.source('all')
    source.check_files()
    np.testing.assert_array_equal(source[0]['mask'], [
        [255, 255, 255, 0, 0, 0, 0, 0, 0], [255, 255, 255, 1, 1, 1, 0, 0, 0],
        [0, 1, 2, 2, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 0, 0, 0], [0] * 9])
    assert not source[1]['mask'].any() and source.names == ('a', 'b') and source.skipped == ''


def test_every_type_of_shape_is_drawn(tmp_path):
    pixels = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    shapes = {
        'polygon': shape('x', (0, 0), (4, 0), (0, 4)),
        'old': {'label': 'x', 'points': [(0, 0), (4, 0), (0, 4)]},
        'rectangle': shape('x', (5, 4), (2, 1), kind='rectangle'),
        'turned': shape('x', (2, 1), (5, 1), (5, 4), (2, 4), kind='rectangle'),
        'circle': shape('x', (3, 3), (3, 1.2), kind='circle'),
        'line': shape('x', (1, 1.5), (6, 1.5), kind='line'),
        'linestrip': shape('x', (1, 1.5), (6, 1.5), (6, 9), kind='linestrip'),
        'mask': shape('x', (2, 3), (4, 4), kind='mask', mask=png(pixels)),
        'mask255': shape('x', (2, 3), (4, 4), kind='mask', mask=png(pixels * 255)),
        'maskbits': shape('x', (2, 3), (4, 4), kind='mask', mask=png(pixels > 0))}
    for stem, each in shapes.items():
        write(tmp_path, stem, each)
    found = masks(tmp_path, line_width=1.2)
    picture = {stem: [''.join('.#'[value] for value in row) for row in mask.tolist()]
               for stem, mask in found.items()}
    assert picture['polygon'] == picture['old'] == [
        '###......', '##.......', '#........', '.........', '.........', '.........']
    assert picture['rectangle'] == picture['turned'] == [
        '.........', '..###....', '..###....', '..###....', '.........', '.........']
    assert picture['circle'] == [
        '.........', '..##.....', '.####....', '.####....', '..##.....', '.........']
    assert picture['line'] == ['.........', '#######..', *['.........'] * 4]
    assert picture['linestrip'] == ['.........', '#######..', *['.....##..'] * 4]
    assert picture['mask'] == picture['mask255'] == picture['maskbits'] == [
        '.........', '.........', '.........', '..#.#....', '...#.....', '.........']


def test_points_and_shapes_without_area_are_left_out_and_counted(tmp_path):
    write(tmp_path, 'a', shape('x', (1, 1), kind='point'), shape('x', (1, 1), (2, 2)),
          shape('x', (1, 1), (2, 2), (3, 3)), shape('x', (2, 2), (2, 2), kind='circle'),
          square('x', 3, 3, 3, 5), square('x', 1, 1, 2, 2),
          shape('x', (0, 0), (0, 0), kind='mask', mask=png(np.zeros((1, 1), np.uint8))))
    source = LabelMe(str(tmp_path), splits={'all': 1.0}).source('all')
    assert source.skipped == '6 left out: 5 shapes without area, 1 points without area'
    assert source[0]['mask'].sum() == 1


def test_overlapping_shapes_have_a_mask_each_and_void_gives_way(tmp_path):
    write(tmp_path, 'a', square('x', 0, 0, 3, 1), square('y', 1, 0, 4, 1),
          square('dirt', 2, 0, 9, 1))
    data = LabelMe(str(tmp_path), splits={'all': 1.0}, overlapping=True, void_labels=('dirt',))
    assert data.spec.classes == ('x', 'y')
    np.testing.assert_array_equal(data.source('all')[0]['mask'][0].T, [
        [1, 1, 1, 255, 255, 255, 255, 255, 255], [0, 1, 1, 1, 255, 255, 255, 255, 255]])


def test_the_background_may_have_labelmes_name(tmp_path):
    write(tmp_path, 'a', square('x', 0, 0, 5, 5), square('_background_', 1, 1, 3, 3))
    data = LabelMe(str(tmp_path), splits={'all': 1.0})
    assert data.spec.classes == ('_background_', 'x')
    assert data.source('all')[0]['mask'].sum() == 25 - 4


def test_splits_are_folders_lists_or_shares(tmp_path):
    for stem in ('outer/train/a', 'outer/val/b', 'flat/a', 'flat/b', 'flat/c',
                 'two/pictures/train/a', 'two/pictures/val/b'):
        write(tmp_path / stem.rpartition('/')[0], stem.rpartition('/')[2], square('x', 0, 0, 2, 2))
    (tmp_path / 'flat' / 'train.txt').write_text('a\nc\n')
    (tmp_path / 'flat' / 'dataset.json').write_text('{"name": "flat"}')
    for split, stem in (('train', 'a'), ('val', 'b')):
        (tmp_path / 'two' / 'json' / split).mkdir(parents=True)
        (tmp_path / 'two' / 'pictures' / split / f'{stem}.json').rename(
            tmp_path / 'two' / 'json' / split / f'{stem}.json')
    outer, flat = LabelMe(str(tmp_path / 'outer')), LabelMe(str(tmp_path / 'flat'))
    two = LabelMe(str(tmp_path / 'two'), naming={'images': 'pictures', 'masks': 'json'})
    assert outer.spec.splits == two.spec.splits == ('train', 'val')
    assert outer.source('val').names == two.source('val').names == ('b',)
    assert flat.spec.name == 'flat' and flat.source('train').names == ('a', 'c')
    shares = {'train': 0.5, 'val': 0.5}
    data = LabelMe(str(tmp_path / 'flat'), splits=shares, naming={'group': '[ab]|c'})
    assert {name: split for split in {assign_split(stem, shares, 0) for stem in 'abc'}
            for name in data.source(split).names} == {
                stem: assign_split(stem, shares, 0) for stem in 'abc'}


def test_an_image_without_json_is_a_problem_unless_it_shows_nothing(tmp_path):
    write(tmp_path, 'a', square('x', 0, 0, 2, 2))
    write(tmp_path, 'b')
    (tmp_path / 'b.json').unlink()
    with pytest.raises(InputError, match="1 images have no mask.*: b;.*missing_masks='absent'"):
        masks(tmp_path)
    assert not masks(tmp_path, missing_masks='absent')['b'].any()
    (tmp_path / 'c.json').write_text('{"shapes": []}')
    with pytest.raises(InputError, match='1 masks have no image.*: c;'):
        masks(tmp_path, missing_masks='absent')


@pytest.mark.parametrize('bad, said', [
    ({'shapes': None}, 'a.json: holds no list of shapes'),
    ({'shapes': [3]}, 'shape 0: has no label'), ({'shapes': [shape(3, (1, 1))]}, 'has no label'),
    ({'shapes': [shape('x', (1, 1), kind='cube')]}, "shape_type 'cube' is not known"),
    ({'shapes': [shape('x', (1, 2, 3))]}, "points of 'x' are not pairs"),
    ({'shapes': [shape('x', (1, float('inf')))]}, 'finite'),
    ({'shapes': [shape('x', ('a', 'b'))]}, 'not pairs of finite numbers'),
    ({'shapes': [shape('x')]}, 'not pairs'),
    ({'shapes': [shape('x', (1, 1), kind='rectangle')]}, "rectangle 'x' of 1 points"),
    ({'shapes': [shape('x', *[(1, 1)] * 3, kind='rectangle')]}, "rectangle 'x' of 3 points"),
    ({'shapes': [shape('x', *[(1, 1)] * 3, kind='circle')]}, "circle 'x' of 3 points"),
    ({'shapes': [shape('x', (1, 1), (5, 5), kind='linestrip')]}, 'data.line_width'),
    ({'shapes': [shape('x', (0, 0), (1, 1), kind='mask', mask='?')]}, 'no base64'),
    ({'shapes': [shape('x', (0, 0), (1, 1), kind='mask')]}, 'no base64'),
    ({'shapes': [shape('x', (0, 0), (1, 1), kind='mask', mask='AAAA')]}, "mask of 'x'"),
    ({'shapes': [shape('x', (0, 0), (2, 1), kind='mask', mask=png(np.ones((3, 2), np.uint8)))]},
     'has 2x3 pixels, but its points span 3x2'),
    ({'shapes': [square('y', 0, 0, 2, 2)]}, "label 'y' is no class; known: background, x"),
    ({'shapes': [square('X', 0, 0, 2, 2)]}, "label 'X' is no class; did you mean 'x'"),
])
def test_faults_are_problems_of_one_line_and_other_files_stay(tmp_path, bad, said):
    write(tmp_path, 'a', **bad)
    write(tmp_path, 'b', square('x', 0, 0, 2, 2))
    data = LabelMe(str(tmp_path), splits={'all': 1.0}, classes=('background', 'x'))
    (problem,) = data.problems('all')
    assert said in problem and 'a.json' in problem and '\n' not in problem
    with pytest.raises(InputError):
        data.source('all')
    assert data.paired('all').names == ('b',)


def test_all_faults_are_listed_and_shapes_outside_are_found_with_the_files(tmp_path):
    write(tmp_path, 'a', shape(3), shape('x', kind='cube'))
    (tmp_path / 'b.json').write_text('{')
    write(tmp_path, 'c', square('x', 9, 0, 12, 2), square('x', 0, 0, 2, 2))
    write(tmp_path, 'd', square('x', 0, 0, 2, 2), imageHeight=60)
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(tmp_path / 'b.png')
    data = LabelMe(str(tmp_path), splits={'all': 1.0}, classes=('background', 'x'))
    assert len(data.problems('all')) == 3
    source = data.paired('all')
    assert [len(source.check(index)) for index in range(2)] == [1, 1]
    assert 'c.json: c: 1 of 2 shapes lie outside of the image of 9x6' in source.check(0)[0]
    assert 'd.json: mask of 9x60 pixels for an image of 9x6' in source.check(1)[0]


def test_a_folder_without_labels_is_refused(tmp_path):
    write(tmp_path, 'a')
    with pytest.raises(InputError, match='no JSON file with a labelled shape'):
        masks(tmp_path)
