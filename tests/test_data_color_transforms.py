"""ColorJitter and RandomBlur: exact values on pictures of one color, two pixels or one point."""

import numpy as np
import pytest

from jaxseg.data import transforms as T
from jaxseg.errors import InputError
from tests.test_data_transforms import apply

NONE = {'brightness': 0.0, 'contrast': 0.0, 'saturation': 0.0, 'p': 1.0}


def solid(*color, dtype=np.uint8):
    return np.full((2, 3, len(color)), color, dtype)


@pytest.mark.parametrize('fields, share, before, after', [
    ({'brightness': 0.5}, 1.0, (100, 200, 4), (150, 255, 6)),
    ({'brightness': 0.5}, 0.0, (100, 200, 4), (50, 100, 2)),
    ({'saturation': 0.5}, 0.0, (200, 100, 100), (200, 150, 150)),
    ({'saturation': 0.5}, 1.0, (200, 100, 100), (200, 50, 50)),
    ({'saturation': 1.0}, 0.0, (200, 100, 100), (200, 200, 200)),
    ({'saturation': 1.0}, 1.0, (200, 50, 50), (200, 0, 0)),
    ({'hue': 1 / 3}, 1.0, (255, 0, 0), (0, 255, 0)),
    ({'hue': 1 / 3}, 0.0, (255, 0, 0), (0, 0, 255)),
    ({'hue': 1 / 6}, 1.0, (0, 0, 255), (255, 0, 255)),
    ({'hue': 0.5}, 1.0, (200, 100, 100), (100, 200, 200)),
    ({'hue': 0.5, 'saturation': 1.0}, 0.5, (7, 77, 177), (7, 77, 177))])
def test_jitter_of_one_color(fields, share, before, after):
    image, mask = apply(T.ColorJitter(**{**NONE, **fields}), solid(*before), share=share)
    np.testing.assert_allclose(image, solid(*after), atol=1)
    assert image.dtype == np.uint8 and not mask.any()


@pytest.mark.parametrize('share, expected',
                         [(0.0, (125, 175)), (0.5, (100, 200)), (1.0, (75, 225))])
def test_contrast_is_changed_about_the_mean_of_the_picture(share, expected):
    image = np.array([[[100], [200]]], np.uint8)
    assert apply(T.ColorJitter(**{**NONE, 'contrast': 0.5}), image,
                 share=share)[0].ravel().tolist() == list(expected)


def test_grey_has_neither_hue_nor_saturation_and_other_channels_are_refused():
    image, _ = apply(T.ColorJitter(0.0, 0.0, 1.0, 0.5, 1.0), solid(90, 90, 90))
    np.testing.assert_allclose(image, 90, atol=1)
    for fields in ({'saturation': 0.3}, {'hue': 0.1}):
        with pytest.raises(InputError, match='transforms.ColorJitter: .*3 channels, these images '
                                             'have 1'):
            apply(T.ColorJitter(**{**NONE, **fields}), solid(90))
    assert apply(T.ColorJitter(**{**NONE, 'brightness': 0.5}), solid(90))[0].max() == 135


@pytest.mark.parametrize('share, sigma', [(0.0, 0.1), (0.5, 1.05), (1.0, 2.0)])
def test_blur_is_a_gaussian_of_its_sigma(share, sigma):
    image = np.zeros((25, 25, 5), np.float32)
    image[12, 12] = 1
    weights = np.exp(-np.arange(-12, 13) ** 2 / (2 * sigma ** 2))
    weights /= weights.sum()
    blurred, mask = apply(T.RandomBlur(2.0, 1.0), image, share=share)
    np.testing.assert_allclose(blurred[..., 4], weights[:, None] * weights[None], atol=2e-3)
    assert not mask.any()
