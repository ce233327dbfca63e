"""One image through a model: which are accepted, which are refused, and the results."""

import numpy as np
import pytest

from jaxseg.commands.assemble import ModelRecord
from jaxseg.errors import InputError
from jaxseg.inference.predictor import Predictor

CLASSES = ('dark', 'bright', 'other')


class Bright:
    """Class 1 where the first channel is above 100, else class 0."""

    def predictions(self, variables, images):
        for key, image in images:
            yield key, (image[..., 0] > 100).astype(np.uint8)

    def probabilities(self, variables, image):
        return np.eye(3, dtype=np.float32)[(image[..., 0] > 100).astype(int)]


def predictor(channels: int, *dtypes: str) -> Predictor:
    return Predictor(Bright(), {'params': np.zeros(9)}, channels, dtypes or ('uint8',), CLASSES)


def test_a_mask_is_of_the_size_of_its_image():
    image = np.zeros((5, 7, 3), np.uint8)
    image[2, 3, 0] = 200
    mask = predictor(3)(image)
    assert (mask.shape, mask.dtype, mask.sum(), mask[2, 3]) == ((5, 7), np.uint8, 1, 1)
    assert predictor(3).probabilities(image).shape == (5, 7, 3)
    np.testing.assert_array_equal(predictor(3, 'uint16')(image.astype(np.uint16)), mask)


def test_a_predictor_is_shown_without_its_weights_and_is_a_key_of_dicts():
    one, other = predictor(3), predictor(3)
    assert repr(one) == (f"Predictor(channels=3, dtypes=('uint8',), classes={CLASSES}, "
                         f"overlapping=False)")
    assert len({one, other}) == 2 and one == one and one != other


def test_an_image_of_one_channel_may_come_without_its_axis():
    grey = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
    np.testing.assert_array_equal(predictor(1)(grey), predictor(1)(grey[..., None]))
    np.testing.assert_array_equal(predictor(1).probabilities(grey),
                                  predictor(1).probabilities(grey[..., None]))


@pytest.mark.parametrize('channels, image, words', [
    (3, np.zeros((5, 7), np.uint8),
     ['image of shape (5, 7) and uint8', 'takes (height, width, 3)', 'np.dstack']),
    (3, np.zeros((5, 7, 4), np.uint8),
     ['image of shape (5, 7, 4)', 'takes (height, width, 3)', 'image[..., :3]']),
    (1, np.zeros((5, 7, 3), np.uint8), ['takes (height, width, 1)']),
    (3, np.zeros((1, 5, 7, 3), np.uint8), ['takes (height, width, 3)']),
    (3, np.zeros((0, 7, 3), np.uint8), ['image of shape (0, 7, 3)']),
    (3, np.zeros((5, 7, 3), np.float32),
     ['float32', 'uint8 (0-255)', '(255 * image).round().astype(np.uint8)']),
    (3, np.zeros((5, 7, 3), np.int64), ['int64', 'image.astype(np.uint8)']),
    (3, np.zeros((5, 7, 3), bool), ['bool']),
])
def test_an_image_of_another_kind_is_refused_with_the_way_to_convert_it(channels, image, words):
    with pytest.raises(InputError) as error:
        predictor(channels)(image)
    assert all(word in str(error.value) for word in words) and '\n' not in str(error.value)


@pytest.mark.parametrize('dtype, image, words', [
    ('uint16', np.zeros((5, 7, 3), np.uint8), ['uint8', 'uint16']),
    ('uint8', np.zeros((5, 7, 3), np.uint16), ['uint16', 'uint8']),
    ('float32', np.full((5, 7, 3), np.nan, np.float32), ['NaN']),
    ('float32', np.zeros((5, 7, 3), np.uint8), ['float32'])])
def test_an_image_must_be_as_the_training_data_were(dtype, image, words):
    with pytest.raises(InputError) as error:
        predictor(3, dtype).probabilities(image)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize('value_range, dtype, dtypes', [
    ((0, 255), 'uint8', ('uint8',)), ((16, 235), 'uint8', ('uint8', 'uint16')),
    ((16, 235), 'uint16', ('uint8', 'uint16')), ((0, 4095), 'uint16', ('uint16',)),
    ((0, 65535), 'uint16', ('uint16',)), ((0, 1), 'float32', ('float32',)),
    ((0, 250), 'float32', ('float32',))])
def test_a_model_takes_what_its_data_set_may_be_read_as(value_range, dtype, dtypes):
    assert ModelRecord((0.5,), (0.25,), value_range, (8, 8, 1), dtype).dtypes == dtypes
    image = np.zeros((5, 7, 3), dtypes[-1])
    assert predictor(3, *dtypes)(image).shape == (5, 7)
