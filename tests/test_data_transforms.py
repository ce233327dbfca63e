"""What the transforms and the pictures do at the edges: sides that shrink and grow, views, dtypes, many classes."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import transforms as T
from jaxseg.data.pictures import save_index_png
from jaxseg.data.spec import DatasetSpec, Fill

FILL = Fill((127.0, 127.0, 127.0), 255)
SPEC = DatasetSpec('toys', ('a', 'b', 'c'))


@pytest.mark.parametrize('size', [(60, 20), (90, 20)])
def test_a_side_that_shrinks_is_averaged_whatever_the_other_does(size):
    columns = ((np.arange(80) % 4 == 0) * 200).astype(np.uint8)[None].repeat(60, 0)
    image, _ = T.resize_pair(columns[..., None], columns, size)
    np.testing.assert_allclose(image, 50, atol=1)  # Sampling between the lines would see none of them.


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('transform', [T.RandomRotation(30, 1.0), T.RandomScale(0.7, 0.7), T.RandomScale(1.7, 1.7),
                                       T.Resize((31, 190)), T.Resize((150, 33))])
def test_image_and_mask_stay_within_half_a_pixel_of_each_other(transform, axis):
    ramp = (2 * np.indices((60, 80))[axis] + 10).astype(np.uint8)  # two grey levels a pixel
    image, mask = transform(ramp[..., None], ramp, rng=np.random.default_rng(1), fill=Fill((0.0,), 255))
    inside = np.s_[8:-8, 8:-8]
    off = (image[inside][..., 0].astype(float) - mask[inside])[(mask[inside] != 255) & (image[inside][..., 0] >= 10)] / 2
    assert np.abs(off).max() <= 0.75 and abs(off.mean()) < 0.1


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_flipped_views_pass_every_transform(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, np.iinfo(dtype).max, (40, 50, 3)).astype(dtype)
    flipped = image[::-1, ::-1], rng.integers(0, 3, (40, 50)).astype(dtype)[::-1, ::-1]
    for transform in (T.Resize((20, 30)), T.RandomScale(0.5, 0.5), T.RandomRotation(20, 1.0), T.RandomCrop((64, 64)),
                      T.ColorJitter(hue=0.1, p=1.0), T.RandomBlur(1.0, 1.0)):
        copies = tuple(np.ascontiguousarray(part) for part in flipped)
        results = [transform(*pair, rng=np.random.default_rng(5), fill=FILL) for pair in (flipped, copies)]
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)


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
