"""One mask file an object: layouts, where objects touch, and every fault."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.object_masks import ObjectMasks
from jaxseg.data.splits import assign_split
from jaxseg.errors import InputError

ONE = np.array([[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0] * 6, [0] * 6], np.uint8)
TWO = np.array([[0, 0, 1, 1, 1, 0], [0] * 6, [0, 0, 0, 1, 1, 0], [0] * 6], np.uint8)
OVER = np.array([[0] * 6, [0] * 6, [0, 0, 0, 0, 1, 1], [0] * 6], np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def image(root, name):
    save(root / name, np.full((4, 6, 3), sum(name.encode()) % 256, np.uint8))


def data(root, **fields):
    return ObjectMasks(str(root), **{'splits': {'all': 1.0}, **fields})


@pytest.mark.parametrize('layout', [
    {'images/a.png': ['masks/a/0.png', 'masks/a/x.png'], 'images/b.png': ['masks/b/0.png']},
    {'images/a.png': ['masks/a_0.png', 'masks/a-1.png'], 'images/b.png': ['masks/b.png']},
    {'a/images/a.png': ['a/masks/f00.png', 'a/masks/1.png'], 'b/images/b.png': ['b/masks/0.png']},
    {'images/a.png': ['masks/a/0.png', 'masks/a_2.png'], 'images/b.png': ['masks/b 1.png']},
    # The longest stem owns a mask.
    {'images/a.png': ['masks/a_1.png', 'masks/a_2.png'], 'images/a_b.png': ['masks/a_b_1.png']}])
def test_masks_of_every_layout_are_merged(tmp_path, layout):
    for picture, paths in layout.items():
        image(tmp_path, picture)
        for path, mask in zip(paths, (ONE, TWO * 255), strict=False):
            save(tmp_path / path, mask)
    dataset = data(tmp_path)
    assert dataset.spec.classes == ('background', 'object')
    source = dataset.source('all')
    source.check_files()
    assert source.names == (('a', 'a_b') if 'images/a_b.png' in layout else ('a', 'b'))
    np.testing.assert_array_equal(source[0]['mask'], ONE | TWO)
    np.testing.assert_array_equal(source[1]['mask'], ONE)
    assert source[0]['mask'].dtype == np.uint8


@pytest.mark.parametrize('layout', ['train/images/a.png train/masks/a_1.png',
                                    'images/train/a.png masks/train/a/1.png',
                                    'train/a/images/a.png train/a/masks/1.png'])
def test_splits_may_be_folders(tmp_path, layout):
    for split in ('train', 'val'):
        picture, mask = layout.replace('train', split).split()
        image(tmp_path, picture)
        save(tmp_path / mask, ONE)
    dataset = data(tmp_path, splits=None)
    assert dataset.spec.splits == ('train', 'val') and dataset.source('val').names == ('a',)


def test_splits_may_be_shares_of_groups(tmp_path):
    for index in range(12):
        stem = f'well{index // 3}_{index}'
        image(tmp_path, f'{stem}/images/{stem}.png')
        save(tmp_path / stem / 'masks' / '0.png', ONE)
    shares = {'train': 0.5, 'val': 0.5}
    dataset = data(tmp_path, splits=shares, naming={'group': '^well[0-9]+'})
    for split in shares:
        assert all(assign_split(name[:5], shares, 0) == split
                   for name in dataset.source(split).names)


def test_pixels_where_objects_touch_or_overlap_may_be_void_or_a_class(tmp_path):
    image(tmp_path, 'images/a.png')
    for index, mask in enumerate((ONE, TWO, OVER)):
        save(tmp_path / 'masks' / f'a_{index}.png', mask)
    union = ONE | TWO | OVER
    np.testing.assert_array_equal(data(tmp_path).source('all')[0]['mask'], union)
    # ONE and TWO meet between columns 1 and 2; OVER lies on the right pixel of row 2 of TWO.
    touching = np.array([[0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0] * 6], bool)
    for fields, label in (({'touching': 'void'}, 255), ({'touching': 'border'}, 2)):
        dataset = data(tmp_path, **fields)
        np.testing.assert_array_equal(dataset.source('all')[0]['mask'],
                                      np.where(touching, label, union))
    assert dataset.spec.classes == ('background', 'object', 'border')
    named = data(tmp_path, classes=('glass', 'cell', 'gap'), touching='border')
    assert named.spec.classes == ('glass', 'cell', 'gap')


def test_an_image_without_objects_has_an_empty_folder_or_is_stated(tmp_path):
    for stem in 'ab':
        image(tmp_path, f'images/{stem}.png')
    save(tmp_path / 'masks' / 'a' / '0.png', ONE)
    (tmp_path / 'masks' / 'b').mkdir()
    assert not data(tmp_path).source('all')[1]['mask'].any()
    assert data(tmp_path).source('all').file_size(1) == (
        tmp_path / 'images' / 'b.png').stat().st_size
    (tmp_path / 'masks' / 'b').rmdir()
    with pytest.raises(InputError, match="1 images have no mask.*: b;.*missing_masks='absent'"):
        data(tmp_path).source('all')
    assert len(data(tmp_path, missing_masks='absent').source('all')) == 2


def test_masks_without_image_and_files_that_are_no_masks_are_problems(tmp_path):
    image(tmp_path, 'images/a.png')
    save(tmp_path / 'masks' / 'a_0.png', ONE)
    save(tmp_path / 'masks' / 'ab_0.png', ONE)
    save(tmp_path / 'masks' / 'c' / '0.png', ONE)
    (problem,) = data(tmp_path).problems('all')
    assert '2 masks have no image' in problem and ': ab_0, c;' in problem
    assert data(tmp_path).paired('all').names == ('a',)


@pytest.mark.parametrize('mask, said', [
    (ONE * 3, 'a_1.png: values 0, 3; a mask of one class holds 0 and 1, or 0 and 255'),
    (ONE + TWO * 255, 'a mask of one class holds'),
    (ONE[:3], 'a_1.png: mask of 6x3 pixels for an image of 6x4'),
    (np.dstack([ONE, ONE, TWO]), 'a mask of colors')])
def test_masks_that_cannot_be_are_named(tmp_path, mask, said):
    image(tmp_path, 'images/a.png')
    save(tmp_path / 'masks' / 'a_0.png', TWO)
    save(tmp_path / 'masks' / 'a_1.png', mask)
    source = data(tmp_path).source('all')
    with pytest.raises(InputError) as error:
        source.check_files()
    assert said in str(error.value) and '\n' not in str(error.value)
    assert len(source.check(0)) == 1


def test_lossy_masks_and_wrong_numbers_of_classes_are_refused(tmp_path):
    image(tmp_path, 'images/a.png')
    save(tmp_path / 'masks' / 'a_0.jpg', ONE)
    with pytest.raises(InputError, match='a mask must not be lossy'):
        data(tmp_path).source('all')[0]
    with pytest.raises(InputError, match="data.classes: .*touching='object' there are 2 classes"):
        data(tmp_path, classes=('a', 'b', 'c')).source('all')
    with pytest.raises(InputError, match="touching='border' there are 3 classes"):
        data(tmp_path, classes=('a', 'b'), touching='border').source('all')
    with pytest.raises(InputError, match='data.root: .*a folder with these for each sample'):
        data(tmp_path / 'none').source('all')
