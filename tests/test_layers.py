"""Layers against exact values, slow references and finite differences of their own definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.layers.norm import DATA_AXIS, Norm
from jaxseg.layers.position import sine_2d
from jaxseg.layers.resize import adaptive_average_pool, downsample, pad_to_multiple, resize_bilinear, upsample_nearest
from tests.references import convolutional
from tests.variables import random


def test_batch_norm_takes_the_statistics_of_the_batch_and_moves_its_averages_by_a_tenth():
    layer, x = Norm('batch'), 3 * random(4, 5, 6, 2) + 7
    variables = layer.init(jax.random.key(0), x, train=True)
    out, updates = layer.apply(variables, x, train=True, mutable=['batch_stats'])
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(out, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-4)
    stats = updates['batch_stats']['batch']
    np.testing.assert_allclose(stats['mean'], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats['var'], 0.9 + 0.1 * variance, rtol=1e-5)
    np.testing.assert_allclose(layer.apply(variables, x, train=False), x / np.sqrt(1 + 1e-5), rtol=1e-6)


@pytest.mark.parametrize('channels, groups', [(64, 32), (48, 24), (7, 7), (37, 1)])
def test_group_norm_makes_32_groups_or_the_largest_divisor(channels, groups):
    x = random(2, 3, 3, channels)
    out, _ = Norm('group').init_with_output(jax.random.key(0), x, train=True)
    grouped = x.reshape(2, 9, groups, -1)
    expected = (grouped - grouped.mean((1, 3), keepdims=True)) / np.sqrt(grouped.var((1, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(out, expected.reshape(x.shape), atol=1e-4)


@pytest.mark.parametrize('kind', ['batch', 'group'])
def test_norm_statistics_are_float32_whatever_the_input(kind):
    # bfloat16 holds 3 digits: the variance of values about 100 would be lost in it.
    x = jnp.asarray(100 + random(4, 8, 8, 32), jnp.bfloat16)
    out, variables = Norm(kind).init_with_output(jax.random.key(0), x, train=True)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert abs(float(np.asarray(out, np.float32).std()) - 1) < 0.02


def test_an_unknown_norm_names_the_known_ones():
    with pytest.raises(InputError, match="'layer' is unknown; known: batch, group"):
        Norm('layer').init(jax.random.key(0), np.zeros((1, 2, 2, 2)), train=True)


def test_batch_norm_over_four_pmapped_devices_equals_one_device():
    assert jax.device_count() == 4
    layer, x = Norm('batch'), 2 * random(8, 3, 3, 5) + np.arange(8, dtype=np.float32)[:, None, None, None]
    variables = layer.init(jax.random.key(0), x, train=True)

    def forward(x):
        return layer.apply(variables, x, train=True, mutable=['batch_stats'])

    out, updates = jax.jit(forward)(x)
    spread, spread_updates = jax.pmap(forward, axis_name=DATA_AXIS)(x.reshape(4, 2, 3, 3, 5))
    np.testing.assert_allclose(spread.reshape(x.shape), out, atol=1e-5)
    for name in ('mean', 'var'):
        for device in np.asarray(spread_updates['batch_stats']['batch'][name]):
            np.testing.assert_allclose(device, updates['batch_stats']['batch'][name], rtol=1e-5)


def test_nearest_upsampling_repeats_pixels_and_sums_gradients():
    x = random(2, 2, 3, 4)
    np.testing.assert_array_equal(upsample_nearest(x, 3), x.repeat(3, 1).repeat(3, 2))
    weights = random(2, 4, 6, 4)
    gradient = jax.grad(lambda x: jnp.sum(upsample_nearest(x, 2) * weights))(x)
    np.testing.assert_allclose(gradient, weights.reshape(2, 2, 2, 3, 2, 4).sum((2, 4)), rtol=1e-5)


def test_enlarging_is_bilinear_with_half_pixel_centres_and_a_clamped_border():
    x = np.array([0.0, 4.0, 8.0], np.float32)[None, :, None, None]
    out = resize_bilinear(x, (6, 1), (2, 1))[0, :, 0, 0]
    np.testing.assert_allclose(out, [0, 1, 3, 5, 7, 8], atol=1e-6)
    np.testing.assert_allclose(resize_bilinear(x, (4, 1), (2, 1))[0, :, 0, 0], out[:4], atol=1e-6)
    assert resize_bilinear(x, (3, 1), (1, 1)) is x


def test_padding_repeats_the_border_at_the_bottom_and_the_right():
    x = random(1, 5, 7, 2)
    np.testing.assert_array_equal(pad_to_multiple(x, 4), np.pad(x, ((0, 0), (0, 3), (0, 1), (0, 0)), 'edge'))
    assert pad_to_multiple(x[:, :4, :4], 4).shape == (1, 4, 4, 2)


def test_reducing_to_half_keeps_the_mean_and_rounds_sides_up():
    x = np.full((1, 7, 10, 1), 3, np.float32)
    out = downsample(x, 0.5)
    assert out.shape == (1, 4, 5, 1)
    np.testing.assert_allclose(out, 3, rtol=1e-6)
    assert downsample(x, 1.0) is x
    with pytest.raises(InputError, match='input_scale: 1.5'):
        downsample(x, 1.5)


def test_adaptive_pooling_has_the_cells_of_torch():
    # 5 positions in 3 cells: [0, 2), [1, 4), [3, 5).
    x = np.array([1, 2, 4, 9, 5], np.float32)[None, :, None, None]
    np.testing.assert_allclose(adaptive_average_pool(x, (3, 1))[0, :, 0, 0], [1.5, 5, 7], rtol=1e-6)
    # 2 positions in 3 cells: [0, 1), [0, 2), [1, 2).
    np.testing.assert_allclose(adaptive_average_pool(x[:, :2].swapaxes(1, 2), (1, 3))[0, 0, :, 0], [1, 1.5, 2], rtol=1e-6)


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (5, 7), (6, 4), (11, 16)])
def test_adaptive_pooling_equals_the_loop_over_cells(size):
    x = random(2, 5, 7, 3)
    np.testing.assert_allclose(adaptive_average_pool(x, size), convolutional.adaptive_average_pool(x, size), atol=1e-6)


def test_adaptive_pooling_rounds_once_after_sums_in_float32():
    x = jnp.asarray(random(1, 7, 11, 32), jnp.bfloat16)
    expected = convolutional.adaptive_average_pool(x, (2, 3)).astype(jnp.bfloat16)
    out = adaptive_average_pool(x, (2, 3))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(out, np.float32), expected.astype(np.float32))


@pytest.mark.parametrize('height, width, channels', [(3, 4, 8), (5, 2, 7), (1, 1, 1), (2, 3, 2)])
def test_a_position_is_the_sine_of_its_row_then_the_sine_of_its_column(height, width, channels):
    out = np.asarray(sine_2d(height, width, channels))
    assert out.shape == (height, width, channels)
    half = -(-channels // 2)
    for i, j, c in np.ndindex(*out.shape):
        where, index, size = (i, c, half) if c < half else (j, c - half, channels - half)
        angle = where / 10_000 ** (index // 2 / -(-size // 2))
        assert abs(out[i, j, c] - (np.cos(angle) if index % 2 else np.sin(angle))) < 1e-6


def test_positions_differ_from_each_other():
    out = np.asarray(sine_2d(12, 15, 16)).reshape(-1, 16)
    distances = np.abs(out[:, None] - out[None]).max(-1) + 10 * np.eye(len(out))
    assert distances.min() > 0.01

