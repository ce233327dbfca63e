"""Masks as files: many classes, every integer type."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.spec import DatasetSpec
from jaxseg.data.visualize import as_rgb, contact_sheet, overlay, save_index_png

SPEC = DatasetSpec('toys', ('a', 'b', 'c'))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32, np.int64])
def test_small_indices_have_a_palette_whatever_their_dtype(tmp_path, dtype):
    mask = np.array([[0, 1], [2, 255]], dtype)
    save_index_png(tmp_path / 'a.png', mask, SPEC)
    with Image.open(tmp_path / 'a.png') as saved:
        assert saved.mode == 'P'
        np.testing.assert_array_equal(np.array(saved), mask)
        assert np.array(saved.convert('RGB'))[1].tolist() == [list(SPEC.colors[2]), [0, 0, 0]]


def test_more_than_256_classes_have_16_bits(tmp_path):
    many = DatasetSpec('many', tuple(f'c{i}' for i in range(300)), ignore_index=65535)
    mask = np.array([[0, 299], [7, 65535]], np.uint16)
    save_index_png(tmp_path / 'a.png', mask, many)
    save_index_png(tmp_path / 'b.png', np.zeros((2, 2), np.uint8), many)
    with Image.open(tmp_path / 'a.png') as saved, Image.open(tmp_path / 'b.png') as zeros:
        np.testing.assert_array_equal(np.array(saved), mask)
        assert zeros.mode == saved.mode == 'I;16'


def test_pictures_of_masks(tmp_path):
    mask = np.array([[0, 1], [2, 255]], np.uint8).repeat(4, 0).repeat(4, 1)
    save_index_png(tmp_path / 'a.png', mask, SPEC)
    with Image.open(tmp_path / 'a.png') as saved:
        np.testing.assert_array_equal(np.array(saved), mask)
        assert np.array(saved.convert('RGB'))[0, 7].tolist() == list(SPEC.colors[1])
    deep = mask.astype(np.uint16) * 300
    save_index_png(tmp_path / 'b.png', deep, SPEC)
    with Image.open(tmp_path / 'b.png') as saved:
        np.testing.assert_array_equal(np.array(saved), deep)
    image = np.full((8, 8, 3), 100, np.uint8)
    shown = overlay(image, mask, SPEC)
    assert shown[1, 6].tolist() == [round((100 + c) / 2) for c in SPEC.colors[1]]
    assert shown[6, 6].tolist() == [100] * 3
    for channels, dtype in ((1, np.uint8), (5, np.uint16)):
        assert as_rgb(np.zeros((8, 8, channels), dtype)).shape == (8, 8, 3)
    assert contact_sheet([shown] * 5, list('abcde'), SPEC).size[0] == 4 * 8
