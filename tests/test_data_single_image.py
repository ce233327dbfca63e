"""Areas of one large image as the splits of a data set."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.single_image import SingleImage
from jaxseg.errors import InputError

AREAS = {'train': [[0, 0, 4, 3], [4, 0, 4, 3]], 'val': [[2, 4, 5, 2]]}
GIVEN = {'image': 'a.png', 'mask': 'm.png', 'areas': AREAS, 'classes': ['background', 'cell'],
         'objects': True}


@pytest.fixture
def root(tmp_path):
    """8x6 grey pixels, each its own value, and a mask of the objects 0, 300 and 7."""
    image, mask = np.arange(48, dtype=np.uint8).reshape(8, 6), np.zeros((8, 6), np.uint16)
    mask[1:3, 1:3], mask[5, 4:] = 300, 7
    Image.fromarray(image).save(tmp_path / 'a.png')
    Image.fromarray(mask).save(tmp_path / 'm.png')
    Image.fromarray(np.minimum(mask, 1).astype(np.uint8)).save(tmp_path / 'classes.png')
    Image.fromarray(np.zeros((8, 5), np.uint8)).save(tmp_path / 'narrow.png')
    return tmp_path


def test_every_area_is_a_sample_and_all_objects_are_one_class(root):
    data = SingleImage(str(root), **GIVEN, channels=1)
    assert data.spec.splits == ('train', 'val') and data.spec.value_range == (0, 255)
    train, val = data.source('train'), data.source('val')
    assert (train.names, val.names, val.sizes()) == (('a_0_0', 'a_4_0'), ('a_2_4',), {(5, 2)})
    sample, other, grey = val[0], train[0], np.add.outer(np.arange(2, 7) * 6, [4, 5])
    np.testing.assert_array_equal(sample['image'][..., 0], grey)
    assert sample['mask'].tolist() == [[0, 0]] * 3 + [[1, 1], [0, 0]]
    assert other['mask'].sum() == 4 and train[1]['mask'].sum() == 0
    classes = SingleImage(str(root), **{**GIVEN, 'mask': 'classes.png', 'objects': False},
                          channels=1).source('val')
    np.testing.assert_array_equal(classes[0]['mask'], sample['mask'])


def test_what_255_means_is_stated_as_the_message_says(root):
    white = np.array(Image.open(root / 'classes.png')) * np.uint8(255)
    Image.fromarray(white).save(root / 'white.png')
    given = {**GIVEN, 'mask': 'white.png', 'objects': False, 'channels': 1}
    with pytest.raises(InputError, match='data.labels.binary=true .*or data.ignore_index=255'):
        SingleImage(str(root), **given).source('val')
    for fields, value in (({'labels': {'binary': True}}, 1), ({'ignore_index': 255}, 255)):
        mask = SingleImage(str(root), **given, **fields).source('val')[0]['mask']
        assert mask.tolist() == [[0, 0]] * 3 + [[value, value], [0, 0]]


@pytest.mark.parametrize('fields, words', [
    ({'areas': {'train': [[0, 0, 4, 3]], 'val': [[3, 2, 4, 3]]}}, ['data.areas', 'share pixels']),
    ({'areas': {'train': [[0, 0, 9, 3]]}}, ['data.areas', '8x6']),
    ({'areas': {'val': [[0, 0, 4, 3]]}}, ['data.areas', "'train'", 'known: val']),
    ({'areas': {'train': [[0, 0, 0, 3]]}}, ['data.areas', 'at least 1']),
    ({'classes': ['a']}, ['data.objects', 'two']), ({'image': 'none.png'}, ['none.png', 'no file']),
    ({'mask': 'narrow.png'}, ['narrow.png', '5x8']),
    ({'labels': {'binary': True}}, ['data.labels', 'data.objects']),
    ({'labels': {'binry': True}}, ['data.labels', "did you mean 'binary'"]),
    ({'objects': False}, ['m.png', '300'])])
def test_areas_and_files_that_do_not_fit_are_named(root, fields, words):
    with pytest.raises(InputError) as error:
        SingleImage(str(root), **{**GIVEN, **fields}, channels=1).source('train')
    assert all(word in str(error.value) for word in words), error.value
