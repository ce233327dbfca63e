"""The effective receptive field: that of layers whose gradient is known, and how it is shown."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg.context.four_way_rnn import FourWayRNN
from jaxseg.errors import InputError
from jaxseg.explain.receptive_field import effective_receptive_field, radius, save_heatmap
from jaxseg.layers.conv import convolve
from tests.variables import random, random_variables


def same(images, kernel):
    return convolve(images, kernel, padding='SAME')


def test_the_field_of_a_convolution_is_its_kernel_turned_round():
    # One channel, two classes w and -w: their mean is zero, and the root mean square is |w|.
    kernel = np.arange(1.0, 10).reshape(3, 3).astype(np.float32)
    both = jnp.stack([kernel, -kernel], -1)[:, :, None]
    field = np.asarray(effective_receptive_field(lambda images: same(images, both), random(2, 5, 7, 1)))
    expected = np.zeros((5, 7))
    expected[1:4, 2:5] = kernel
    np.testing.assert_allclose(field, expected, rtol=1e-6)


def test_what_moves_all_classes_alike_is_not_counted():
    alike = jnp.broadcast_to(random(3, 3, 2, 1), (3, 3, 2, 4))
    field = effective_receptive_field(lambda images: same(images, alike), random(1, 5, 5, 2))
    np.testing.assert_allclose(field, 0, atol=1e-6)


def test_the_mean_is_over_pictures_channels_and_classes():
    # logits = x^2 w per pixel: the gradient at the position itself is 2 x w minus its mean over the classes.
    x, w = random(3, 2, 2, 2), random(2, 4, seed=1)
    field = np.asarray(effective_receptive_field(lambda images: jnp.square(images) @ w, x, (1, 0)))
    gradient = 2 * x[:, 1, 0, :, None] * (w - w.mean(-1, keepdims=True))
    assert field[1, 0] == pytest.approx(np.sqrt(np.mean(gradient ** 2)), rel=1e-5)
    assert np.count_nonzero(field) == 1


def test_four_directions_see_the_own_row_and_column_and_nothing_else():
    layer, x = FourWayRNN(3, 'mingru'), random(2, 5, 6, 2)
    variables = random_variables(layer, x, train=False)
    field = np.asarray(effective_receptive_field(lambda images: layer.apply(variables, images, train=False), x, (1, 4)))
    cross = np.zeros((5, 6), bool)
    cross[1], cross[:, 4] = True, True
    np.testing.assert_array_equal(field > 1e-7, cross)


def test_the_radius_holds_the_share_that_was_asked_for():
    field = np.zeros((5, 9))
    field[2, 4], field[2, 7], field[0, 4] = 9, 1, 1  # the middle, 3 and 2 pixels away
    assert radius(field, share=9 / 11) == 0
    assert radius(field, share=10 / 11) == 2
    assert radius(field, share=1) == 3
    assert radius(field, (2, 7), share=1 / 11) == 0


def test_a_heatmap_shows_four_decades_and_is_large_enough_to_look_at(tmp_path):
    field = np.array([[1, 1e-2, 1e-9, 0]] * 2)
    save_heatmap(tmp_path / 'field.png', field)
    picture = np.array(Image.open(tmp_path / 'field.png'))
    assert picture.shape == (256, 512, 3)
    np.testing.assert_array_equal(picture[0, ::128], [[255, 255, 255], [255, 128, 0], [0, 0, 0], [0, 0, 0]])


def test_a_position_outside_and_an_empty_field_are_refused(tmp_path):
    with pytest.raises(InputError, match=r'\(5, 0\) is outside of the picture of 5x5'):
        effective_receptive_field(lambda images: images, jnp.zeros((1, 5, 5, 2)), (5, 0))
    for function in (radius, lambda field: save_heatmap(tmp_path / 'field.png', field)):
        with pytest.raises(InputError, match='zero everywhere'):
            function(np.zeros((3, 3)))
    assert not (tmp_path / 'field.png').exists()
