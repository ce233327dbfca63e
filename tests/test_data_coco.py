"""COCO's JSON files: masks, where files are found, splits, and every fault."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.coco import Coco, find_annotations
from jaxseg.data.folder import Folder
from jaxseg.data.splits import assign_split, split_identity
from jaxseg.errors import InputError
from tests.references import rasters

CATEGORIES = [{'id': 3, 'name': 'cat'}, {'id': 1, 'name': 'dog'}]
# The picture of the tests: a dog of 4x3, a cat within it of 2x1, and a crowd of dogs on the right.
DOG, CAT = [[1, 1, 5, 1, 5, 4, 1, 4]], [[2, 2, 4, 2, 4, 3, 2, 3]]
CROWD = {'size': [5, 8], 'counts': [30, 10]}
EXPECTED = np.array([[0, 0, 0, 0, 0, 0, 255, 255],
                     [0, 1, 1, 1, 1, 0, 255, 255],
                     [0, 1, 2, 2, 1, 0, 255, 255],
                     [0, 1, 1, 1, 1, 0, 255, 255],
                     [0, 0, 0, 0, 0, 0, 255, 255]])


def image(root, name, size=(5, 8), value=0):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def document(names=('a.png',), **changes):
    """A file of which every image shows the picture of the tests."""
    images = [{'id': 10 + i, 'file_name': name, 'height': 5, 'width': 8}
              for i, name in enumerate(names)]
    objects = [(3, CAT, 0), (1, DOG, 0), (1, CROWD, 1)]
    annotations = [{'id': 100 * entry['id'] + i, 'image_id': entry['id'], 'category_id': category,
                    'segmentation': segmentation, 'iscrowd': crowd}
                   for entry in images for i, (category, segmentation, crowd) in enumerate(objects)]
    return {'images': images, 'annotations': annotations, 'categories': CATEGORIES, **changes}


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def one(tmp_path, *segmentations, size=(5, 8), category=3, **fields):
    """A data set of one image with these segmentations."""
    image(tmp_path, 'images/a.png', size)
    annotations = [{'id': i, 'image_id': 10, 'category_id': category, 'segmentation': each}
                   for i, each in enumerate(segmentations)]
    images = [{'id': 10, 'file_name': 'a.png', 'height': size[0], 'width': size[1]}]
    save(tmp_path / 'train.json', document(images=images, annotations=annotations))
    return Coco(str(tmp_path), **fields)


def test_small_objects_are_on_top_of_large_ones_and_crowds_are_void(tmp_path):
    image(tmp_path, 'images/a.png')
    save(tmp_path / 'annotations' / 'instances_train.json', document())
    data = Coco(str(tmp_path))
    assert data.spec.classes == ('background', 'dog', 'cat')  # in the order of their ids
    assert data.spec.splits == ('train',) and data.spec.ignore_index == 255
    source = data.source('train')
    source.check_files()
    np.testing.assert_array_equal(source[0]['mask'], EXPECTED)
    assert source.names == ('a',) and source.skipped == ''


def test_overlapping_objects_have_a_mask_each(tmp_path):
    image(tmp_path, 'images/a.png')
    save(tmp_path / 'train.json', document())
    data = Coco(str(tmp_path), overlapping=True)
    assert data.spec.classes == ('dog', 'cat')
    mask = data.source('train')[0]['mask']
    dog = np.where(EXPECTED == 2, 1, EXPECTED)  # whole, with the cat on it; its crowd is void
    np.testing.assert_array_equal(mask, np.stack([dog, EXPECTED == 2], -1))


def test_classes_may_be_some_of_the_categories_and_others_are_background(tmp_path):
    image(tmp_path, 'images/a.png')
    save(tmp_path / 'train.json', document())
    data = Coco(str(tmp_path), classes=('rest', 'cat'))
    np.testing.assert_array_equal(data.source('train')[0]['mask'],
                                  np.select([EXPECTED == 255, EXPECTED == 2], [255, 1], 0))
    with pytest.raises(InputError, match="data.classes: no category 'Cat'; did you mean 'cat'"):
        Coco(str(tmp_path), classes=('rest', 'Cat')).source('train')


def test_a_category_called_background_is_the_background(tmp_path):
    hole = [[2, 2, 4, 2, 4, 3, 2, 3]]
    image(tmp_path, 'images/a.png')
    values = document(categories=[{'id': 3, 'name': 'background'}, {'id': 1, 'name': 'dog'}])
    save(tmp_path / 'train.json', values)
    assert values['annotations'][0]['segmentation'] == hole
    data = Coco(str(tmp_path))
    assert data.spec.classes == ('background', 'dog')
    np.testing.assert_array_equal(data.source('train')[0]['mask'],
                                  np.where(EXPECTED == 2, 0, EXPECTED))


@pytest.mark.parametrize('categories, void, dtype', [(254, 255, 'uint8'), (255, 65535, 'uint16')])
def test_void_is_a_label_that_no_class_has(tmp_path, categories, void, dtype):
    image(tmp_path, 'images/a.png')
    values = document(categories=[{'id': i, 'name': f'c{i}'} for i in range(categories)])
    save(tmp_path / 'train.json', values)
    mask = Coco(str(tmp_path)).source('train')[0]['mask']
    assert mask.dtype == dtype and set(np.unique(mask)) == {0, 2, 4, void}


def test_all_forms_of_a_segmentation_give_the_same_mask_and_holes_need_run_lengths(tmp_path):
    mask = np.zeros((5, 8), bool)
    mask[1:4, 1:5], mask[2, 2:4] = True, False
    counts = rasters.run_lengths(mask)
    around = [[1, 1, 5, 1, 5, 4, 1, 4, 1, 1, 2, 2, 4, 2, 4, 3, 2, 3, 2, 2]]
    for segmentation in ({'size': [5, 8], 'counts': counts}, around,
                         {'size': [5, 8], 'counts': rasters.compress(counts)},
                         [[1, 1, 5, 1, 5, 2, 1, 2], [1, 3, 5, 3, 5, 4, 1, 4],
                          [1, 2, 2, 2, 2, 3, 1, 3], [4, 2, 5, 2, 5, 3, 4, 3]]):
        found = one(tmp_path, segmentation).source('train')[0]['mask']
        np.testing.assert_array_equal(found, mask * 2)


def test_equal_sizes_are_drawn_in_the_order_of_the_file(tmp_path):
    data = one(tmp_path, [[0, 0, 3, 0, 3, 2, 0, 2]], [[1, 1, 4, 1, 4, 3, 1, 3]])
    values = json.loads((tmp_path / 'train.json').read_text())
    values['annotations'][0]['category_id'] = 1
    save(tmp_path / 'train.json', values)
    assert data.source('train')[0]['mask'][1, 1] == 2


def test_polygons_may_end_outside_of_the_image_but_not_lie_there(tmp_path):
    mask = one(tmp_path, [[-5, 2, 3, 2, 3, 99, -5, 99]]).source('train')[0]['mask']
    np.testing.assert_array_equal(mask > 0, np.pad(np.ones((3, 3), bool), ((2, 0), (0, 5))))
    source = one(tmp_path, [[9, 1, 12, 1, 12, 4]], DOG[0:]).source('train')
    with pytest.raises(InputError, match="train.json: a: 1 of 2 shapes lie outside of the image of "
                                         "8x5 pixels, such as 'cat' at x 9 to 12, y 1 to 4"):
        source.check_files()
    assert len(source.check(0)) == 1


def test_shapes_without_area_are_left_out_and_counted(tmp_path):
    data = one(tmp_path, [[0, 0, 2, 2, 4, 4]], [[1, 1, 4, 1]], {'size': [5, 8], 'counts': [40]},
               [[1, 1, 3, 1], DOG[0]])
    source = data.source('train')
    assert source.skipped == '3 left out: 3 shapes without area'
    assert (source[0]['mask'] > 0).sum() == 12


def test_images_of_any_kind_and_of_a_size_that_is_not_stated(tmp_path):
    image(tmp_path, 'images/b.png', (7, 6))
    Image.fromarray(np.full((5, 8), 40000, np.uint16)).save(tmp_path / 'images' / 'a.png')
    values = document(('a.png', 'b.png'), annotations=[])
    for entry in values['images']:
        del entry['height'], entry['width']
    save(tmp_path / 'train.json', values)
    data = Coco(str(tmp_path), channels=1)
    assert data.spec.value_range == (0, 65535)
    samples = list(data.source('train'))
    assert [sample['mask'].shape for sample in samples] == [(5, 8), (7, 6)]
    assert samples[0]['image'].shape == (5, 8, 1) and not samples[0]['mask'].any()


def test_another_size_than_stated_is_a_problem(tmp_path):
    one(tmp_path, DOG)
    image(tmp_path, 'images/a.png', (8, 5))
    with pytest.raises(InputError, match='train.json: mask of 8x5 pixels for an image of 5x8'):
        Coco(str(tmp_path)).source('train').check_files()


@pytest.mark.parametrize('files, found', [
    ({'train/_annotations.coco.json': 'train/a.png', 'valid/_annotations.coco.json': 'valid/a.png'},
     {'train': 'train', 'val': 'valid'}),
    ({'annotations/instances_train2017.json': 'train2017/a.png',
      'annotations/instances_val2017.json': 'val2017/a.png',
      'annotations/captions_val2017.json': None}, {'train': 'train2017', 'val': 'val2017'}),
    ({'train.json': 'images/train/a.png', 'test.json': 'images/test/a.png', 'dataset.json': None},
     {'train': 'images/train', 'test': 'images/test'}),
    ({'annotations/instances_default.json': 'images/a.png'}, {'default': 'images'}),
    ({'annotations/train.json': 'train/images/a.png', 'annotations/validation.json': 'a.png'},
     {'train': 'train/images', 'val': ''}),
    ({'_annotations.coco.json': 'a.png'}, {'train': ''}),
])
def test_files_and_images_are_found_where_others_put_them(tmp_path, files, found):
    for index, (path, picture) in enumerate(files.items()):
        save(tmp_path / path, {} if picture is None else document())
        if picture is not None:
            image(tmp_path, picture, value=index)
    data = Coco(str(tmp_path), classes=('background', 'dog', 'cat'))
    assert data.spec.splits == tuple(found)
    for split, folder in found.items():
        (pair,) = data.source(split).pairs
        assert pair.image == tmp_path / folder / 'a.png'


def test_two_files_of_one_split_are_refused_unless_they_are_named(tmp_path):
    for year in (2014, 2017):
        save(tmp_path / 'annotations' / f'instances_train{year}.json', document())
    with pytest.raises(InputError, match="2014.json and .*2017.json are both of the split 'train'"):
        find_annotations(tmp_path)
    image(tmp_path, 'images/a.png')
    named = {'train': 'annotations/instances_train2014.json'}
    assert len(Coco(str(tmp_path), annotations=named).source('train')) == 1
    single = Coco(str(tmp_path), annotations='annotations/instances_train2017.json')
    assert single.spec.splits == ('train',)


def test_shares_are_those_of_the_names_of_one_file_and_of_groups(tmp_path):
    names = [f'city{i // 3}/img{i}.png' for i in range(30)]
    for name in names:
        image(tmp_path, f'images/{name}')
    save(tmp_path / 'all.json', document(names))
    shares = {'train': 0.6, 'val': 0.4}
    data = Coco(str(tmp_path), splits=shares)
    members = {name: split for split in shares for name in data.source(split).names}
    assert members == {f'city{i // 3}_img{i}': assign_split(f'city{i // 3}_img{i}', shares, 0)
                       for i in range(30)}
    grouped = Coco(str(tmp_path), splits=shares, naming={'group': '^city[0-9]+'})
    for split in shares:
        for name in grouped.source(split).names:
            assert assign_split(name.split('_')[0], shares, 0) == split
    with pytest.raises(InputError, match="'x' finds nothing in the stem 'city0_img0'"):
        Coco(str(tmp_path), splits=shares, naming={'group': 'x'}).source('train')
    save(tmp_path / 'val.json', document(names))
    with pytest.raises(InputError, match='data.splits: 2 JSON files state splits: all, val'):
        Coco(str(tmp_path), splits=shares).source('train')


def test_an_image_in_two_splits_is_a_problem(tmp_path):
    for split in ('train', 'val'):
        image(tmp_path, f'{split}/a.png', value=split == 'val')
        image(tmp_path, f'{split}/b.png')
        save(tmp_path / f'{split}.json', document(('a.png', 'b.png')))
    (problem,) = Coco(str(tmp_path)).problems('train')
    assert "1 images of 'train' are also in 'val'" in problem and ': b;' in problem


def test_images_of_one_size_and_time_are_compared_by_what_they_hold(tmp_path):
    for split in ('train', 'val'):
        save(tmp_path / f'{split}.json', document())
        image(tmp_path, f'{split}/a.png')
        (tmp_path / split / 'a.png').write_bytes(split[:2].encode())
        os.utime(tmp_path / split / 'a.png', (1e9, 1e9))
    assert not Coco(str(tmp_path)).problems('train')


def test_the_identity_of_a_split_changes_with_its_annotations(tmp_path):
    before = split_identity(one(tmp_path, DOG).source('train'))
    assert split_identity(one(tmp_path, DOG).source('train')) == before
    assert split_identity(one(tmp_path, DOG + CAT).source('train')) != before


def test_the_same_masks_as_png_and_as_outlines_are_the_same_samples(tmp_path):
    rng = np.random.default_rng(0)
    values = document([f's{index}.png' for index in range(6)], annotations=[])
    for picture in values['images']:
        picture.update(height=9, width=12)
        shapes = [(rng.uniform(-2, 13, (4, 2)).astype(np.float32), label) for label in (3, 1, 3)]
        drawn = [(rasters.fill(points, 9, 12), label) for points, label in shapes]
        mask = np.zeros((9, 12), np.uint8)
        for inside, label in sorted(drawn, key=lambda each: -each[0].sum()):
            mask[inside] = {1: 1, 3: 2}[label]
        image(tmp_path, f'png/images/{picture["file_name"]}', (9, 12))
        (tmp_path / 'png' / 'masks').mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / 'png' / 'masks' / picture['file_name'])
        values['annotations'] += [
            {'image_id': picture['id'], 'category_id': label,
             'segmentation': [points.ravel().tolist()]} for points, label in shapes]
    save(tmp_path / 'coco.json', values)
    shares = {'train': 0.5, 'val': 0.5}
    coco = Coco(str(tmp_path), splits=shares, naming={'images': 'png/images'})
    png = Folder(str(tmp_path / 'png'), splits=shares, classes=coco.spec.classes)
    for split in shares:
        for first, second in zip(coco.source(split), png.source(split), strict=True):
            assert first['name'] == second['name']
            np.testing.assert_array_equal(first['mask'], second['mask'])


def test_a_file_is_parsed_once_for_all_splits(tmp_path, monkeypatch):
    names = [f'{i}.png' for i in range(8)]
    for name in names:
        image(tmp_path, f'images/{name}')
    save(tmp_path / 'all.json', document(names))
    parsed = []
    original = json.loads
    monkeypatch.setattr(json, 'loads', lambda text: parsed.append(1) or original(text))
    data = Coco(str(tmp_path), splits={'train': 0.5, 'val': 0.5})
    for split in data.spec.splits:
        assert [sample['mask'].max() for sample in data.source(split)]
        data.problems(split)
    assert len(parsed) == 1


def test_names_of_other_machines_are_understood(tmp_path):
    image(tmp_path, 'images/sub/a.png')
    image(tmp_path, 'images/b.png')
    names = ['sub\\a.png', 'C:\\data\\b.png']
    save(tmp_path / 'train.json', document(names))
    assert Coco(str(tmp_path)).source('train').names == ('sub_a', 'b')
