"""Masks as files: many classes, every integer type."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.pictures import save_index_png
from jaxseg.data.spec import DatasetSpec

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
