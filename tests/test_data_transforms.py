"""Transforms: exact values of each, distributions, and invariants of all."""

import numpy as np
import pytest

from jaxseg.data import transforms as T
from jaxseg.data.spec import Fill
from jaxseg.errors import InputError

FILL = Fill((10.0, 20.0, 30.0), 255)
SIX = Fill((10.0, 20.0, 30.0, 40.0, 50.0, 60.0), 255)  # more channels than OpenCV fills at once


class Drawn:
    """Random numbers that are known: `share` of the way through every interval."""

    def __init__(self, share):
        self.share = share

    def uniform(self, low, high):
        return low + self.share * (high - low)

    def random(self):
        return 0.0

    def integers(self, low, high):
        return min(int(low + self.share * (high - low)), high - 1)


def apply(transform, image, mask=None, *, share=1.0, fill=FILL):
    mask = np.zeros(image.shape[:2], np.uint8) if mask is None else mask
    return transform(image, mask, rng=Drawn(share), fill=fill)


def numbered(height, width):
    """A mask that numbers its pixels, and an image that shows the mask in three channels."""
    mask = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    return np.stack([mask, mask + 1, mask + 2], -1), mask


def draws(transform, count, *pair):
    rng = np.random.default_rng(0)
    return [transform(*pair, rng=rng, fill=FILL) for _ in range(count)]


@pytest.mark.parametrize('fields, turned', [
    ({'horizontal': 1.0}, np.s_[:, ::-1]), ({'horizontal': 0.0, 'vertical': 1.0}, np.s_[::-1]),
    ({'horizontal': 1.0, 'vertical': 1.0}, np.s_[::-1, ::-1]), ({'horizontal': 0.0}, np.s_[:])])
def test_flips_turn_image_and_mask(fields, turned):
    image, mask = numbered(3, 4)
    for flipped, part in zip(apply(T.RandomFlip(**fields), image, mask), (image, mask),
                             strict=True):
        np.testing.assert_array_equal(flipped, part[turned])


@pytest.mark.parametrize('width, share, turns', [(3, 0, 1), (3, 0.5, 2), (3, 1, 3), (4, 0, 2)])
def test_rotations_by_90_degrees_keep_the_size(width, share, turns):
    image, mask = numbered(3, width)
    rotated = apply(T.RandomRotate90(1.0), image, mask, share=share)
    np.testing.assert_array_equal(rotated[0], np.rot90(image, turns))
    np.testing.assert_array_equal(rotated[1], np.rot90(mask, turns))


@pytest.mark.parametrize('share, top, left', [(0.0, 0, 0), (0.5, 2, 2), (1.0, 3, 4)])
def test_crops_reach_every_edge(share, top, left):
    image, mask = numbered(6, 8)
    crop = T.RandomCrop((3, 4), max_class_ratio=1.0)
    for window, part in zip(apply(crop, image, mask, share=share), (image, mask), strict=True):
        np.testing.assert_array_equal(window, part[top:top + 3, left:left + 4])


def test_all_windows_of_a_crop_are_equally_likely():
    image, mask = numbered(5, 6)
    corners = [int(window[0, 0])
               for _, window in draws(T.RandomCrop((3, 4), 1.0), 1800, image, mask)]
    counts = {corner: corners.count(corner) for corner in corners}
    assert set(counts) == {6 * top + left for top in range(3) for left in range(3)}
    assert all(abs(count - 200) < 60 for count in counts.values())


def test_small_pictures_are_padded_with_the_fill():
    image, mask = numbered(2, 3)
    image = np.concatenate([image, image], -1)
    wide, wide_mask = apply(T.RandomCrop((4, 5)), image, mask, fill=SIX)
    np.testing.assert_array_equal(wide[:2, :3], image)
    np.testing.assert_array_equal(wide_mask[:2, :3], mask)
    for outside in (np.s_[2:], np.s_[:, 3:]):
        assert (wide[outside] == SIX.image).all() and (wide_mask[outside] == 255).all()


def test_a_crop_avoids_windows_of_one_class_and_does_not_count_void():
    mask = np.zeros((40, 400), np.uint8)
    mask[:, -40:] = 1
    mask[:, :200] = 255
    for _, window in draws(T.RandomCrop((40, 40), max_class_ratio=0.6, tries=300), 10,
                           mask[..., None], mask):
        counts = np.bincount(window.ravel(), minlength=256)[:2]
        assert counts.max() <= 0.6 * counts.sum()
    # Without such a window the last one is taken.
    assert (draws(T.RandomCrop((40, 40), tries=2), 1, mask[..., None], mask * 0)[0][1] == 0).all()


@pytest.mark.parametrize('share, factor', [(0.0, 0.5), (0.5, 1.0), (1.0, 2.0)])
def test_scale_factors_are_uniform_in_their_logarithm(share, factor):
    image, mask = apply(T.RandomScale(0.5, 2.0), *numbered(4, 6), share=share)
    assert image.shape == (4 * factor, 6 * factor, 3) and mask.shape == (4 * factor, 6 * factor)


def test_quartiles_of_scale_factors():
    mask = np.zeros((1000, 1), np.uint8)
    scales = T.RandomScale(0.25, 4.0)
    factors = [scaled.shape[0] / 1000 for _, scaled in draws(scales, 3000, mask[..., None], mask)]
    np.testing.assert_allclose(np.quantile(factors, [0.25, 0.5, 0.75]), [0.5, 1.0, 2.0], rtol=0.12)
    assert 0.25 <= min(factors) < 0.26 and 3.9 < max(factors) <= 4.0


def test_halving_averages_the_image_and_samples_the_mask():
    image = np.array([[0, 10, 20, 30], [20, 30, 40, 50]], np.uint8)[..., None]
    mask = np.array([[1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)
    half, half_mask = T.resize_pair(image, mask, (1, 2))
    assert half.ravel().tolist() == [15, 35] and half_mask.tolist() == [[1, 2]]


def test_resizing_keeps_pixel_centres():
    mask = np.array([[0, 0, 1, 1, 2, 2]], np.uint8).repeat(6, 0)
    assert T.resize_pair(mask[..., None], mask, (3, 3))[1].tolist() == [[0, 1, 2]] * 3
    image = np.array([0, 100], np.uint8).reshape(1, 2, 1)
    double, double_mask = T.resize_pair(image, np.array([[3, 4]]), (1, 4))
    assert double.ravel().tolist() == [0, 25, 75, 100] and double_mask.tolist() == [[3, 3, 4, 4]]


@pytest.mark.parametrize('size', [(60, 20), (90, 20)])
def test_a_side_that_shrinks_is_averaged_whatever_the_other_does(size):
    columns = ((np.arange(80) % 4 == 0) * 200).astype(np.uint8)[None].repeat(60, 0)
    image, _ = T.resize_pair(columns[..., None], columns, size)
    np.testing.assert_allclose(image, 50,
                               atol=1)  # Sampling between the lines would see none of them.


@pytest.mark.parametrize('share, quarter_turns', [(1.0, 1), (0.0, -1), (0.5, 0)])
def test_rotations_turn_image_and_mask_the_same_way(share, quarter_turns):
    image, mask = numbered(5, 5)
    for turned, part in zip(apply(T.RandomRotation(90, 1.0), image, mask, share=share),
                            (image, mask), strict=True):
        np.testing.assert_array_equal(turned, np.rot90(part, quarter_turns))


def test_rotations_are_about_the_centre_and_fill_what_was_outside():
    image, mask = numbered(4, 6)
    for turned, part in zip(apply(T.RandomRotation(180, 1.0), image, mask), (image, mask),
                            strict=True):
        np.testing.assert_array_equal(turned, part[::-1, ::-1])
    image = np.concatenate([image, image], -1)
    turned, turned_mask = apply(T.RandomRotation(90, 1.0), image, mask, fill=SIX)
    np.testing.assert_array_equal(turned_mask[:, 1:5], np.rot90(mask[:, 1:5]))
    for outside in (np.s_[:, 0], np.s_[:, 5]):
        assert (turned[outside] == SIX.image).all() and (turned_mask[outside] == 255).all()


def test_angles_are_uniform_up_to_the_limit_on_both_sides():
    mask = np.zeros((101, 101), np.uint8)
    mask[50, 90] = 1  # to the right of the centre
    found = [np.argwhere(turned == 1)
             for _, turned in draws(T.RandomRotation(30, 1.0), 400, mask[..., None], mask)]
    angles = [np.degrees(np.arctan2(50 - each[0][0], each[0][1] - 50))
              for each in found if len(each)]
    assert len(angles) > 250 and -31.5 < min(angles) < -27 and 27 < max(angles) < 31.5
    assert abs(np.mean(angles)) < 3 and 15 < np.std(angles) < 20  # 30 / sqrt(3) = 17.3


# What holds for all.


@pytest.mark.parametrize('transform', [
    T.RandomFlip(0.3, 0.0), T.RandomFlip(0.0, 0.3), T.RandomRotation(90, 0.3),
    T.RandomRotate90(0.3), T.ColorJitter(p=0.3), T.RandomBlur(5.0, 0.3)])
def test_each_happens_with_its_probability(transform):
    image = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    changed = np.mean([(out != image).any()
                       for out, _ in draws(transform, 1000, image, image[..., 0])])
    assert abs(changed - 0.3) < 0.06


ALL = {'scale': T.RandomScale(0.5, 2.0), 'crop': T.RandomCrop((24, 24), tries=3),
       'pad': T.RandomCrop((60, 60), 1.0),
       'flip': T.RandomFlip(0.5, 0.5), 'rotate90': T.RandomRotate90(1.0),
       'rotation': T.RandomRotation(30, 1.0),
       'blur': T.RandomBlur(2.0, 1.0),
       'jitter': T.ColorJitter(hue=0.2, p=1.0), 'grey jitter': T.ColorJitter(saturation=0.0, p=1.0)}


def blocks(height=40, width=56):
    """A mask of large blocks, and an image that shows the mask."""
    coarse = np.random.default_rng(0).integers(0, 2, (height // 8, width // 8))
    mask = coarse.repeat(8, 0).repeat(8, 1)
    return (mask * 100).astype(np.uint8)[..., None].repeat(3, -1), mask.astype(np.uint8)


@pytest.mark.parametrize('name', ['scale', 'crop', 'flip', 'rotate90', 'rotation'])
def test_image_and_mask_move_together(name):
    for seed in range(20):
        image, mask = ALL[name](*blocks(), rng=np.random.default_rng(seed), fill=FILL)
        inside = mask != 255
        # Interpolation blurs the image along the edges of blocks only; a shift by a pixel makes 12
        # % wrong.
        wrong = np.abs(image[..., 0].astype(int) - 100 * mask) > 50
        assert wrong[inside].mean() < 0.03 and set(np.unique(mask)) <= {0, 1, 255}


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('transform', [T.RandomRotation(30, 1.0), T.RandomScale(0.7, 0.7),
                                       T.RandomScale(1.7, 1.7)])
def test_image_and_mask_stay_within_half_a_pixel_of_each_other(transform, axis):
    ramp = (2 * np.indices((60, 80))[axis] + 10).astype(np.uint8)  # two grey levels a pixel
    image, mask = transform(ramp[..., None], ramp, rng=np.random.default_rng(1),
                            fill=Fill((0.0,), 255))
    inside = np.s_[8:-8, 8:-8]
    off = (image[inside][..., 0].astype(float)
           - mask[inside])[(mask[inside] != 255) & (image[inside][..., 0] >= 10)] / 2
    assert np.abs(off).max() <= 0.75 and abs(off.mean()) < 0.1


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('dtype, value_range', [(np.uint16, (0, 65535)), (np.float32, (0, 1)),
                                                (np.float32, (-1000, 3000))])
def test_the_value_range_changes_nothing_but_the_values(name, dtype, value_range):
    low, high = value_range
    image = np.random.default_rng(2).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    scaled = (low + (high - low) * (image / 255)).astype(dtype)
    fill = Fill((127.0, 0.0, 255.0), 255)
    scaled_fill = Fill(tuple(low + (high - low) * value / 255 for value in fill.image), 255,
                       (low, high))
    expected, mask = ALL[name](image, blocks()[1], rng=np.random.default_rng(3), fill=fill)
    out, same = ALL[name](scaled, blocks()[1], rng=np.random.default_rng(3), fill=scaled_fill)
    assert out.dtype == dtype
    np.testing.assert_array_equal(same, mask)
    np.testing.assert_allclose(255 * (out.astype(float) - low) / (high - low), expected, atol=2.5)
    assert np.abs(255 * (out.astype(float) - low) / (high - low) - expected).mean() < 0.7


@pytest.mark.parametrize('name', [name for name in ALL if name != 'jitter'])
@pytest.mark.parametrize('channels', [1, 2, 4, 5, 9])
def test_every_channel_is_treated_alike(name, channels):
    image = np.random.default_rng(0).integers(0, 256,
                                              (40, 56, 1)).astype(np.uint8).repeat(channels, -1)
    out, mask = ALL[name](image, blocks()[1], rng=np.random.default_rng(4),
                          fill=Fill((9.0,) * channels, 255))
    assert out.shape == (*mask.shape, channels)
    np.testing.assert_array_equal(out, out[..., :1].repeat(channels, -1))


@pytest.mark.parametrize('name', [name for name in ALL if name != 'crop'])
@pytest.mark.parametrize('classes', [1, 2, 5, 9])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32])
def test_overlapping_masks_move_as_each_of_them_alone(name, classes, dtype):
    rng = np.random.default_rng(5)
    image, masks = blocks()[0], rng.integers(0, 2, (40, 56, classes)).astype(dtype)
    masks[:4] = 255
    _, together = ALL[name](image, masks, rng=np.random.default_rng(6), fill=FILL)
    alone = [ALL[name](image, masks[..., i], rng=np.random.default_rng(6), fill=FILL)[1]
             for i in range(classes)]
    assert together.dtype == dtype
    np.testing.assert_array_equal(together, np.stack(alone, -1))


def test_the_first_window_of_overlapping_masks_is_taken():
    masks = np.zeros((6, 8, 2), np.uint8)
    image, masks = apply(T.RandomCrop((3, 4)), numbered(6, 8)[0], masks)
    np.testing.assert_array_equal(image, numbered(6, 8)[0][3:, 4:])
    assert masks.shape == (3, 4, 2)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_flipped_views_pass_every_transform(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, np.iinfo(dtype).max, (40, 50, 3)).astype(dtype)
    flipped = image[::-1, ::-1], rng.integers(0, 3, (40, 50)).astype(dtype)[::-1, ::-1]
    copies = tuple(np.ascontiguousarray(part) for part in flipped)
    for transform in ALL.values():
        results = [transform(*pair, rng=np.random.default_rng(5), fill=FILL)
                   for pair in (flipped, copies)]
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('name, fields, key', [
    ('RandomScale', {'low': 0.0}, 'low'),
    ('RandomScale', {'low': 2.0, 'high': 1.0}, 'low 2 is above high 1'),
    ('RandomScale', {'high': float('inf')}, 'high'), ('RandomCrop', {'size': (0, 3)}, 'size'),
    ('RandomCrop', {'size': (3,)}, 'size'), ('RandomFlip', {'vertical': 2}, 'vertical'),
    ('RandomCrop', {'size': (3, 3), 'max_class_ratio': 0.0}, 'max_class_ratio'),
    ('RandomCrop', {'size': (3, 3), 'tries': 0}, 'tries'),
    ('RandomFlip', {'horizontal': 1.5}, 'horizontal'),
    ('RandomRotation', {'degrees': 200.0}, 'degrees'), ('RandomRotation', {'p': 2.0}, 'p'),
    ('RandomRotate90', {'p': 2.0}, 'p'), ('RandomBlur', {'sigma': 0.0}, 'sigma'),
    ('ColorJitter', {'hue': 0.7}, 'hue'), ('ColorJitter', {'brightness': 1.1}, 'brightness'),
    ('ColorJitter', {'contrast': 'high'}, 'contrast')])
def test_fields_out_of_range_are_refused(name, fields, key):
    with pytest.raises(InputError, match=rf'^transforms.{name}[.:] ?{key}'):
        getattr(T, name)(**fields)
