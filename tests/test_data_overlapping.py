"""Folders of overlapping masks: one binary file a class, in every layout, some missing."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.folder import Folder
from jaxseg.errors import InputError

CAT = np.array([[1, 1, 0], [0, 0, 0]], np.uint8)
DOG = np.array([[0, 1, 1], [0, 0, 0]], np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write(root, stem='a', split='train', layout='flat', image=True, scale=255, **masks):
    place = {'flat': lambda part: root / part, 'inner': lambda part: root / part / split,
             'outer': lambda part: root / split / part}[layout]
    if image:
        save(place('images') / f'{stem}.png', np.full((2, 3), 9, np.uint8))
    for name, mask in masks.items():
        save(place('masks') / name / f'{stem}.png', mask * np.uint8(scale))


def folder(root, **fields):
    return Folder(str(root), **{'classes': ('cat', 'dog'), 'channels': 1, 'overlapping': True,
                                **fields})


def flat(root, **fields):
    return folder(root, splits={'train': 1.0}, **fields)


@pytest.mark.parametrize('layout', ['flat', 'inner', 'outer'])
@pytest.mark.parametrize('scale', [1, 255])
def test_every_class_has_its_own_mask(tmp_path, layout, scale):
    for split in ('train', 'val'):
        write(tmp_path, f'{split}_1', split, layout, scale=scale, cat=CAT, dog=DOG)
    data = folder(tmp_path, splits={'train': 1.0} if layout == 'flat' else None)
    source = data.source('train')
    source.check_files()
    assert data.spec.overlapping and source.names[0] == 'train_1'
    sample = source[0]
    np.testing.assert_array_equal(sample['mask'], np.stack([CAT, DOG], -1))
    assert sample['mask'].dtype == np.uint8 and sample['image'].shape == (2, 3, 1)


@pytest.mark.parametrize('inside', [True, False])
def test_a_single_class_needs_no_folder_of_its_own(tmp_path, inside):
    write(tmp_path)
    save(tmp_path / 'masks' / ('cell/a.png' if inside else 'a.png'), CAT * np.uint8(255))
    mask = flat(tmp_path, classes=('cell',)).source('train')[0]['mask']
    np.testing.assert_array_equal(mask, CAT[..., None])


def test_void_is_void_in_every_mask(tmp_path):
    write(tmp_path, scale=1, cat=np.where(CAT, 1, 7).astype(np.uint8), dog=DOG)
    mask = flat(tmp_path, ignore_index=7).source('train')[0]['mask']
    np.testing.assert_array_equal(mask, np.stack([np.where(CAT, 1, 7), DOG], -1))


def refused(dataset) -> str:
    with pytest.raises(InputError) as error:
        dataset.source('train').check_files()
    assert '\n' not in str(error.value)
    return str(error.value)


def test_a_missing_mask_is_a_problem_unless_it_means_absence(tmp_path):
    write(tmp_path, 'a', cat=CAT, dog=DOG)
    write(tmp_path, 'b', cat=CAT)
    write(tmp_path, 'c')
    problems = flat(tmp_path).problems('train')
    assert len(problems) == 2
    assert '1 images have no mask in ' in problems[0] and ': c;' in problems[0]
    assert "1 images have no mask of class 'dog'" in problems[1] and ': b;' in problems[1]
    assert "data.missing_masks='absent'" in problems[1]
    assert flat(tmp_path).paired('train').names == ('a',)
    source = flat(tmp_path, missing_masks='absent').source('train')
    source.check_files()
    expected = {'a': np.stack([CAT, DOG], -1), 'b': np.stack([CAT, 0 * DOG], -1),
                'c': np.zeros((2, 3, 2))}
    assert source.names == ('a', 'b', 'c')
    for sample in map(source.__getitem__, range(3)):
        np.testing.assert_array_equal(sample['mask'], expected[sample['name']])


@pytest.mark.parametrize('missing', ['refuse', 'absent'])
def test_a_mask_without_an_image_and_a_class_without_a_folder_are_refused(tmp_path, missing):
    write(tmp_path, 'a', cat=CAT, dog=DOG)
    write(tmp_path, 'b', image=False, cat=CAT, dog=DOG)
    assert '1 masks have no image' in refused(flat(tmp_path, missing_masks=missing))
    assert f'{tmp_path}/masks/cow: no such folder' in refused(
        flat(tmp_path, classes=('cat', 'cow'), missing_masks=missing))


def test_masks_of_several_sizes_and_other_values_are_refused(tmp_path):
    write(tmp_path, cat=CAT, dog=DOG[:, :2])
    assert 'dog/a.png: mask of 2x2 pixels for an image of 3x2' in refused(flat(tmp_path))
    write(tmp_path, cat=CAT, dog=DOG + np.uint8(3), scale=1)
    assert 'dog/a.png' in refused(flat(tmp_path)) and 'values 3, 4' in refused(flat(tmp_path))


def test_options_that_contradict_are_refused(tmp_path):
    write(tmp_path, cat=CAT, dog=DOG)
    for fields, key in (({'missing_masks': 'absent', 'overlapping': False}, 'data.missing_masks'),
                        ({'missing_masks': 'maybe'}, 'data.missing_masks'),
                        ({'overlapping': 'yes'}, 'data.overlapping'),
                        ({'channels': 0}, 'data.channels')):
        with pytest.raises(InputError, match=key):
            flat(tmp_path, **fields)
