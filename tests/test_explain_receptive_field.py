"""The effective receptive field of layers with known gradients, its radius and its heatmap."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg.errors import InputError
from jaxseg.explain.receptive_field import effective_receptive_field, radius, save_heatmap
from jaxseg.layers.conv import convolve
from tests.variables import random


def same(images, kernel):
    return convolve(images, kernel, padding='SAME')


def test_the_field_of_a_convolution_is_its_kernel():
    # One channel, two classes w and -w: their mean is 0, and the root mean square is |w|.
    kernel = np.arange(1.0, 10).reshape(3, 3).astype(np.float32)
    both = jnp.stack([kernel, -kernel], -1)[:, :, None]
    field = effective_receptive_field(lambda images: same(images, both), random(2, 5, 7, 1))
    expected = np.zeros((5, 7))
    expected[1:4, 2:5] = kernel
    np.testing.assert_allclose(field, expected, rtol=1e-6)


def test_what_changes_all_classes_equally_is_not_counted():
    equal = jnp.broadcast_to(random(3, 3, 2, 1), (3, 3, 2, 4))
    field = effective_receptive_field(lambda images: same(images, equal), random(1, 5, 5, 2))
    np.testing.assert_allclose(field, 0, atol=1e-6)


@pytest.mark.parametrize('classes', [1, 3])
def test_of_classes_that_may_overlap_each_logit_counts_by_itself(classes):
    x, w = random(1, 2, 2, 2), jnp.ones((2, classes)) * jnp.arange(1.0, 1 + classes)[None]
    field = effective_receptive_field(lambda images: images @ w, x, (1, 0), overlapping=True)
    assert field[1, 0] == pytest.approx(np.sqrt(np.mean(np.arange(1, 1 + classes) ** 2)), rel=1e-6)


def test_the_mean_is_over_images_channels_and_classes():
    # logits = x^2 w per pixel: the gradient at the position is 2 x w minus its mean over classes.
    x, w = random(3, 2, 2, 2), random(2, 4, seed=1)
    field = effective_receptive_field(lambda images: jnp.square(images) @ w, x, (1, 0))
    gradient = 2 * x[:, 1, 0, :, None] * (w - w.mean(-1, keepdims=True))
    assert field[1, 0] == pytest.approx(np.sqrt(np.mean(gradient ** 2)), rel=1e-5)
    assert np.count_nonzero(field) == 1


def test_cumulative_sums_reach_the_row_and_the_column_of_the_position_and_nothing_else():
    def row_and_column(images):
        sums = jnp.cumsum(images, 1) + jnp.cumsum(images, 2)
        return jnp.concatenate([sums, -sums], -1)

    field = effective_receptive_field(row_and_column, random(2, 5, 6, 1), (3, 2))
    expected = np.zeros((5, 6))
    expected[:4, 2] += 1
    expected[3, :3] += 1
    np.testing.assert_allclose(field, expected, rtol=1e-6)


def test_the_radius_holds_the_share_that_was_asked_for():
    field = np.zeros((5, 9))
    field[2, 4], field[2, 7], field[0, 4] = 9, 1, 1  # the centre, 3 and 2 pixels away
    assert radius(field, share=9 / 11) == 0
    assert radius(field, share=10 / 11) == 2
    assert radius(field, share=1) == 3
    assert radius(field, (2, 7), share=1 / 11) == 0


def test_a_heatmap_shows_four_decades_and_is_large_enough_to_look_at(tmp_path):
    field = np.array([[1, 1e-2, 1e-9, 0]] * 2)
    save_heatmap(tmp_path / 'field.png', field)
    image = np.array(Image.open(tmp_path / 'field.png'))
    assert image.shape == (256, 512, 3)
    np.testing.assert_array_equal(
        image[0, ::128], [[255, 255, 255], [255, 128, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize('function, message', [
    (lambda path: effective_receptive_field(lambda x: x, jnp.zeros((1, 5, 5, 2)), (5, 0)),
     r'position: \(5, 0\)'),
    (lambda path: radius(np.ones((3, 4)), (0, 4)), r'position: \(0, 4\)'),
    (lambda path: radius(np.ones((3, 3)), share=1.5), 'share: 1.5'),
    (lambda path: radius(np.zeros((3, 3))), 'field: '),
    (lambda path: save_heatmap(path, np.zeros((3, 3))), 'field: ')])
def test_bad_positions_shares_and_fields_are_refused(tmp_path, function, message):
    with pytest.raises(InputError, match=message):
        function(tmp_path / 'field.png')
    assert not (tmp_path / 'field.png').exists()
