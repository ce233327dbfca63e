"""The trees of PASCAL VOC and Cityscapes."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.cityscapes import Cityscapes
from jaxseg.data.spec import distinct_colors
from jaxseg.data.voc import Voc
from jaxseg.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)


def save(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette([value for color in palette for value in color])
    image.save(path)


def voc(root, mask, palette=None, stems=('a', 'b', 'c')):
    for stem in stems:
        save(root / 'JPEGImages' / f'{stem}.jpg', IMAGE)
        save(root / 'SegmentationClass' / f'{stem}.png', mask, palette)
    save(root / 'JPEGImages' / 'without_mask.jpg', IMAGE)
    lists = root / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('b\na\n')
    (lists / 'val.txt').write_text('c\n')


def test_voc_has_its_classes_its_palette_and_a_void_border(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[1:5, 1:5], mask[2:4, 2:4], mask[0] = 255, 15, 20
    palette = list(distinct_colors(256))
    palette[255] = (224, 224, 192)
    voc(tmp_path, mask, palette)
    data = Voc(str(tmp_path))
    assert data.spec.splits == ('train', 'val') and data.spec.ignore_index == 255
    assert len(data.spec.classes) == 21 and data.spec.classes[15] == 'person'
    assert data.spec.colors[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    source = data.source('train')
    assert source.names == ('b', 'a')
    source.check_files()
    np.testing.assert_array_equal(source[0]['mask'], mask)


def test_a_tree_like_voc_has_classes_and_names_of_its_own(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[:2], mask[2] = 1, 255
    voc(tmp_path, mask)
    (tmp_path / 'SegmentationClass').rename(tmp_path / 'SegmentationClassAug')
    data = Voc(str(tmp_path), classes=('ground', 'tree'), naming={'masks': 'SegmentationClassAug'})
    assert data.spec.colors == distinct_colors(2)
    np.testing.assert_array_equal(data.source('val')[0]['mask'], mask)
    with pytest.raises(InputError, match='SegmentationClass: no such folder'):
        Voc(str(tmp_path)).source('train')


def cityscapes(root, mask, ids='labelIds'):
    for split, city, number in (('train', 'aachen', 0), ('train', 'ulm', 1), ('val', 'ulm', 0)):
        stem = f'{city}_{number:06d}_000019'
        save(root / 'leftImg8bit' / split / city / f'{stem}_leftImg8bit.png', IMAGE)
        save(root / 'gtFine' / split / city / f'{stem}_gtFine_{ids}.png', mask)
        save(root / 'gtFine' / split / city / f'{stem}_gtFine_instanceIds.png', mask)
        save(root / 'gtFine' / split / city / f'{stem}_gtFine_color.png', IMAGE)


def test_cityscapes_ids_become_the_19_train_ids(tmp_path):
    cityscapes(tmp_path, np.arange(48, dtype=np.uint8).reshape(6, 8) % 34)
    data = Cityscapes(str(tmp_path))
    assert data.spec.splits == ('train', 'val') and len(data.spec.classes) == 19
    assert (data.spec.classes[0], data.spec.classes[18]) == ('road', 'bicycle')
    assert data.spec.colors[13] == (0, 0, 142)  # car
    source = data.source('train')
    assert source.names == ('aachen_000000_000019', 'ulm_000001_000019')
    assert source.skipped == '4 left out: 4 without _gtFine_labelIds'
    # trainId of every id from 0 to 33, from labels.py of cityscapesScripts.
    expected = ([255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12,
                             13, 14, 15] + [255, 255, 16, 17, 18])
    np.testing.assert_array_equal(source[0]['mask'].ravel()[:34], expected)


def test_cityscapes_train_ids_stay_and_ids_beyond_are_refused(tmp_path):
    mask = np.full((6, 8), 18, np.uint8)
    mask[0] = 255
    cityscapes(tmp_path / 'train_ids', mask, 'labelTrainIds')
    data = Cityscapes(str(tmp_path / 'train_ids'), ids='labelTrainIds')
    np.testing.assert_array_equal(data.source('val')[0]['mask'], mask)
    cityscapes(tmp_path / 'wrong', np.full((6, 8), 34, np.uint8))
    with pytest.raises(InputError, match='label 34'):
        Cityscapes(str(tmp_path / 'wrong')).source('val')[0]
    with pytest.raises(InputError, match='masks have no image|images have no mask'):
        Cityscapes(str(tmp_path / 'wrong'), ids='labelTrainIds').source('val')


def test_a_root_that_is_none_names_what_it_should_hold(tmp_path):
    with pytest.raises(InputError, match="data.root: .*none.*JPEGImages/"):
        Voc(str(tmp_path / 'none')).source('train')
