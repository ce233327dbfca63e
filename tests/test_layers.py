"""Layers against exact values, slow references and finite differences of their own definitions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv, convolve
from jaxseg.layers.norm import DATA_AXIS, Norm
from jaxseg.layers.position import sine_2d
from jaxseg.layers.resize import adaptive_average_pool, downsample, pad_to_multiple, resize_bilinear, upsample_nearest
from tests.references import convolutional
from tests.variables import random


def slow_convolution(x, kernel, margin, stride, dilation, groups):
    """Every output pixel by itself, zeros around the picture."""
    x = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    size = kernel.shape[0]
    reach = (size - 1) * dilation + 1
    height, width = ((side - reach) // stride + 1 for side in x.shape[1:3])
    out = np.zeros((x.shape[0], height, width, kernel.shape[-1]))
    inside, outside = kernel.shape[2], kernel.shape[3] // groups
    for i, j, group in np.ndindex(height, width, groups):
        patch = x[:, i * stride:i * stride + reach:dilation, j * stride:j * stride + reach:dilation]
        of_group = slice(group * outside, (group + 1) * outside)
        out[:, i, j, of_group] = np.einsum('bhwc,hwcf->bf', patch[..., group * inside:(group + 1) * inside],
                                           kernel[..., of_group])
    return out


@pytest.mark.parametrize('kernel, stride, dilation, groups', [
    (1, 1, 1, 1), (1, 2, 1, 1), (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (7, 2, 1, 1), (3, 1, 1, 4)])
def test_a_convolution_equals_the_loop_with_symmetric_padding(kernel, stride, dilation, groups):
    x = random(2, 8, 9, 4)
    layer = Conv(8, kernel, stride, dilation, groups)
    params = layer.init(jax.random.key(0), x)['params']
    expected = slow_convolution(x, np.asarray(params['kernel']), (kernel - 1) // 2 * dilation, stride, dilation, groups)
    assert expected.shape[1:3] == (-(-8 // stride), -(-9 // stride))
    np.testing.assert_allclose(layer.apply({'params': params}, x), expected, atol=1e-5)


def test_a_convolution_computes_in_the_dtype_of_its_input_and_keeps_float32_parameters():
    layer, x = Conv(4, bias=True), jnp.ones((1, 5, 5, 2), jnp.bfloat16)
    out, variables = layer.init_with_output(jax.random.key(0), x)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert convolve(x, variables['params']['kernel'], padding='VALID').shape == (1, 3, 3, 4)


@pytest.mark.parametrize('kernel, padding, dilation', [
    ((3, 5), ((1, 1), (2, 2)), (1, 1)), ((3, 3), ((3, 3), (2, 2)), (3, 2)), ((1, 4), ((0, 0), (0, 0)), (1, 2)),
    ((9, 3), ((4, 4), (3, 0)), (1, 1)), ((2, 2), ((0, 3), (2, 1)), (1, 1))])
def test_a_depthwise_convolution_has_the_values_and_gradients_of_a_grouped_one(kernel, padding, dilation):
    x, weights = random(2, 9, 8, 3), random(*kernel, 1, 3, seed=1)

    def grouped(x, weights):
        return lax.conv_general_dilated(x, weights, (1, 1), padding, rhs_dilation=dilation, feature_group_count=3,
                                        dimension_numbers=('NHWC', 'HWIO', 'NHWC'))

    expected, pull = jax.vjp(grouped, x, weights)
    slope = random(*expected.shape, seed=2)
    found, own_pull = jax.vjp(lambda *both: convolve(*both, padding=padding, dilation=dilation, groups=3), x, weights)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4), own_pull(slope), pull(slope))


def test_a_depthwise_convolution_goes_by_shifted_sums_on_cpu_and_sums_up_in_float32():
    x, kernel = jnp.ones((1, 4, 40, 2), jnp.bfloat16), jnp.ones((1, 31, 1, 2))
    text = str(jax.make_jaxpr(lambda x: convolve(x, kernel, padding=((0, 0), (15, 15)), groups=2))(x))
    assert 'conv_general_dilated' not in text
    kernel = kernel.at[0, 0].set(256)  # 256 + 1 + ... + 1 stays 256 in the 8 bits of bfloat16
    out = convolve(x, kernel, padding=((0, 0), (0, 0)), groups=2)
    np.testing.assert_array_equal(np.asarray(out, np.float32), 286)


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

