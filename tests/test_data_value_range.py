"""Black and white are those of the whole data set: implied by all headers, or stated."""

import json

import cv2
import numpy as np
import pytest

from jaxseg.data.folder import Folder
from jaxseg.errors import InputError

MASK = np.array([[0, 1, 1], [1, 0, 255]], np.uint8)


def write(root, stem, dtype, values, split='train'):
    """A .npy image of one channel, whose values are spread over `values`, and a PNG mask."""
    for part in ('images', 'masks'):
        (root / split / part).mkdir(parents=True, exist_ok=True)
    np.save(root / split / 'images' / f'{stem}.npy',
            np.linspace(*values, 6).reshape(2, 3, 1).astype(dtype))
    cv2.imwrite(str(root / split / 'masks' / f'{stem}.png'), MASK)


def folder(root, **fields):
    return Folder(str(root), **{'classes': ('a', 'b'), 'channels': 1, 'ignore_index': 255,
                                **fields})


@pytest.mark.parametrize('dtypes, value_range, found', [
    (('uint8', 'uint8'), (0, 255), 'uint8'), (('uint16', 'uint16'), (0, 65535), 'uint16'),
    (('uint8', 'uint16'), (0, 65535), 'uint16')])
def test_the_range_is_decided_once_over_all_splits(tmp_path, dtypes, value_range, found):
    for split, dtype in zip(('train', 'val'), dtypes, strict=True):
        write(tmp_path, split, dtype, (0, 200), split)
    data = folder(tmp_path)
    assert data.spec.value_range == value_range
    samples = [data.source(split)[0]['image'] for split in ('train', 'val')]
    assert [str(image.dtype) for image in samples] == [found] * 2
    # 200 of 255 is as bright in 8 bits as in 16; 200 of 65535 is nearly black.
    expected = [200 * 257 if dtype == 'uint8' and found == 'uint16' else 200 for dtype in dtypes]
    assert [image.max() for image in samples] == expected


@pytest.mark.parametrize('dtype, values',
                         [('float32', (-1000, 3000)), ('float64', (0, 1)), ('int16', (-5, 700)),
                                           ('int32', (0, 70000))])
def test_numbers_that_imply_no_range_are_refused_with_the_measured_one(tmp_path, dtype, values):
    write(tmp_path, 'a', dtype, (values[0], 0.5))
    write(tmp_path, 'b', dtype, (0, values[1]), 'val')
    write(tmp_path, 'd', dtype, (0, 0.5), 'val')
    write(tmp_path, 'c', 'uint8', (0, 255))
    with pytest.raises(InputError) as error:
        folder(tmp_path).source('train')
    message = str(error.value)
    assert 'data.value_range' in message and f'{values[0]:g} to {values[1]:g}' in message
    assert '\n' not in message
    assert f'3 of {dtype}' in message and '1 of 8-bit' in message


def test_a_stated_range_is_taken_from_config_or_dataset_json(tmp_path):
    write(tmp_path, 'a', 'float32', (-1000, 3000))
    data = folder(tmp_path, value_range=(-1024, 3071))
    assert data.spec.value_range == (-1024.0, 3071.0)
    image = data.source('train')[0]['image']
    assert image.dtype == np.float32 and image.min() == -1000 and image.max() == 3000
    (tmp_path / 'dataset.json').write_text(json.dumps({'value_range': [-1, 1]}))
    assert folder(tmp_path).spec.value_range == (-1.0, 1.0)
    assert folder(tmp_path, value_range=(0, 2)).spec.value_range == (0.0, 2.0)


@pytest.mark.parametrize('value_range', [(1, 0), (0,), 'bright', (0, float('nan')), [0, 1, 2]])
def test_ranges_that_cannot_be_are_refused(tmp_path, value_range):
    write(tmp_path, 'a', 'uint8', (0, 255))
    with pytest.raises(InputError, match='value_range'):
        folder(tmp_path, value_range=value_range).source('train')


@pytest.mark.parametrize('channels', [1, 2, 5, 13])
def test_any_number_of_channels(tmp_path, channels):
    write(tmp_path, 'a', 'uint8', (0, 255))
    image = np.arange(6 * channels, dtype=np.uint16).reshape(2, 3, channels)
    np.save(tmp_path / 'train' / 'images' / 'a.npy', image)
    data = folder(tmp_path, channels=channels)
    np.testing.assert_array_equal(data.source('train')[0]['image'], image)
    assert data.spec.channels == channels
    with pytest.raises(InputError, match=f'a.npy: {channels} channels .*data.channels is '
                                         f'{channels + 3}'):
        folder(tmp_path, channels=channels + 3).source('train').check_files()


def test_sizes_are_read_from_the_headers(tmp_path):
    write(tmp_path, 'a', 'uint8', (0, 255))
    write(tmp_path, 'b', 'uint8', (0, 255))
    np.save(tmp_path / 'train' / 'images' / 'b.npy', np.zeros((7, 9, 1), np.uint8))
    assert folder(tmp_path).source('train').sizes() == {(2, 3), (7, 9)}


def test_a_split_without_a_labelled_pixel_is_refused(tmp_path):
    write(tmp_path, 'a', 'uint8', (0, 255))
    cv2.imwrite(str(tmp_path / 'train' / 'masks' / 'a.png'), np.full_like(MASK, 255))
    with pytest.raises(InputError, match="'train': .*no pixel of 1 masks is labelled.* \\(255\\)"):
        folder(tmp_path).source('train').check_files()


def test_a_void_color_that_is_a_class_is_refused(tmp_path):
    write(tmp_path, 'a', 'uint8', (0, 255))
    with pytest.raises(InputError,
                       match=r"ignore_color: \(1, 2, 3\) is also the color of the class 'b'"):
        folder(tmp_path, colors=[[0, 0, 0], [1, 2, 3]],
               labels={'ignore_color': [1, 2, 3]}).source('train')
