"""Resizing, padding and pooling against exact values and dense formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.layers.resize import (
    adaptive_average_pool,
    downsample,
    pad_to_multiple,
    resize_bicubic,
    resize_bilinear,
    upsample_bilinear,
    upsample_nearest,
)
from tests.references import convolutional
from tests.variables import at_any_size, random


def dense_bilinear(x, size, scale):
    """JAX's own formula, one matrix product an axis."""
    return jax.image.scale_and_translate(
        x, (x.shape[0], *size, x.shape[3]), (1, 2), jnp.array(scale, jnp.float32), jnp.zeros(2),
        'bilinear', antialias=False)


def test_bilinear_resizing_has_half_pixel_centres_and_repeats_the_border():
    x = np.array([0.0, 4.0, 8.0], np.float32)[None, :, None, None]
    out = resize_bilinear(x, (6, 1), (2, 1))[0, :, 0, 0]
    np.testing.assert_allclose(out, [0, 1, 3, 5, 7, 8], atol=1e-6)
    cropped = resize_bilinear(x, (4, 1), (2, 1))[0, :, 0, 0]
    np.testing.assert_allclose(cropped, out[:4], atol=1e-6)
    assert resize_bilinear(x, (3, 1), (1, 1)) is x


def test_bilinear_resizing_with_aligned_corners_keeps_the_outermost_values():
    x = np.array([0.0, 4.0, 8.0], np.float32)[None, :, None, None]
    out = resize_bilinear(x, (6, 1), (2, 1), align_corners=True)[0, :, 0, 0]
    np.testing.assert_allclose(out, [0, 1.6, 3.2, 4.8, 6.4, 8], atol=1e-6)
    cropped = resize_bilinear(x, (4, 1), (2, 1), align_corners=True)[0, :, 0, 0]
    np.testing.assert_allclose(cropped, out[:4], atol=1e-6)
    np.testing.assert_allclose(upsample_bilinear(x, 2)[0, :, 0, 0], [0, 1, 3, 5, 7, 8], atol=1e-6)


@pytest.mark.parametrize('height, width, size, scale', [
    (3, 4, (6, 12), (2, 3)), (5, 7, (18, 25), (4, 4)), (4, 6, (9, 10), (2.4, 1.7)),
    (1, 2, (40, 30), (40, 20)), (5, 5, (7, 5), (1.5, 1)), (6, 6, (3, 2), (0.5, 0.4))])
def test_bilinear_resizing_has_the_values_and_gradients_of_matrix_products(
        height, width, size, scale):
    x = random(2, height, width, 3)
    cotangent = random(2, *size, 3, seed=1)

    @jax.jit
    def both(x, cotangent):
        results = [jax.vjp(lambda x, resize=resize: resize(x, size, scale), x)
                   for resize in (dense_bilinear, resize_bilinear)]
        return [(out, vjp_fn(cotangent)[0]) for out, vjp_fn in results]

    (expected, expected_gradient), (found, gradient) = both(x, cotangent)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-4)


def test_bilinear_resizing_computes_in_float32_and_rounds_once_an_axis():
    x = random(1, 4, 5, 3)
    out = resize_bilinear(jnp.asarray(x, jnp.bfloat16), (8, 10), (2, 2))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(out, np.float32), resize_bilinear(x, (8, 10), (2, 2)),
                               atol=0.03)


def _vjp_at_zero(function, x):
    return lambda cotangent: jax.vjp(function, jnp.zeros(x.shape))[1](cotangent)


@pytest.mark.parametrize('direction, most', [('forward', 6), ('backward', 9)])
def test_bilinear_resizing_takes_a_few_operations_an_output(direction, most):
    """Matrix products would take 2 * 128 operations and more."""
    x, size = jax.ShapeDtypeStruct((1, 64, 128, 19), jnp.float32), (256, 512)
    resize = functools.partial(resize_bilinear, size=size, scale=(4, 4))
    if direction == 'backward':
        x, resize = jax.eval_shape(resize, x), _vjp_at_zero(resize, x)
    flops = jax.jit(resize).lower(x).compile().cost_analysis()['flops']
    assert 2 * size[0] * size[1] * 19 < flops < most * size[0] * size[1] * 19


def test_the_gradient_of_an_enlargement_by_an_integer_has_no_gather():
    def gradient(size, scale, **options):
        resize = functools.partial(resize_bilinear, size=size, scale=scale, **options)
        function = jax.jit(_vjp_at_zero(resize, jnp.zeros((1, 4, 6, 3))))
        return function.lower(jnp.zeros((1, *size, 3))).compile().as_text()

    assert ' gather(' not in gradient((8, 18), (2, 3)) + gradient((7, 17), (2, 3))
    assert ' gather(' in gradient((8, 12), (2, 2), align_corners=True)
    assert ' gather(' in gradient((9, 15), (2.25, 2.5))


def test_nearest_upsampling_repeats_pixels_and_sums_gradients():
    x = random(2, 2, 3, 4)
    np.testing.assert_array_equal(upsample_nearest(x, 3), x.repeat(3, 1).repeat(3, 2))
    weights = random(2, 4, 6, 4)
    gradient = jax.grad(lambda x: jnp.sum(upsample_nearest(x, 2) * weights))(x)
    np.testing.assert_allclose(gradient, weights.reshape(2, 2, 2, 3, 2, 4).sum((2, 4)), rtol=1e-5)


def test_padding_repeats_the_border_at_the_bottom_and_the_right():
    x = random(1, 5, 7, 2)
    expected = np.pad(x, ((0, 0), (0, 3), (0, 1), (0, 0)), 'edge')
    np.testing.assert_array_equal(pad_to_multiple(x, 4), expected)
    assert pad_to_multiple(x[:, :4, :4], 4).shape == (1, 4, 4, 2)


@pytest.mark.parametrize('factor', [0.5, 0.3, 0.75])
def test_downsampling_is_the_antialiased_resizing_of_jax_with_sides_rounded_up(factor):
    x = random(2, 7, 10, 3)
    out = downsample(x, factor)
    assert out.shape == (2, *np.ceil(np.array([7, 10]) * factor), 3)
    np.testing.assert_allclose(out, jax.image.resize(x, out.shape, 'bilinear'), atol=2e-6)


def test_downsampling_by_one_returns_the_input_and_refuses_to_enlarge():
    x = random(1, 2, 2, 1)
    assert downsample(x, 1.0) is x
    for factor in (0.0, 1.5):
        with pytest.raises(InputError, match=rf'model.input_scale: {factor}'):
            downsample(x, factor)


def test_adaptive_pooling_has_the_cells_of_torch():
    # 5 positions in 3 cells: [0, 2), [1, 4), [3, 5).
    x = np.array([1, 2, 4, 9, 5], np.float32)[None, :, None, None]
    np.testing.assert_allclose(adaptive_average_pool(x, (3, 1))[0, :, 0, 0], [1.5, 5, 7], rtol=1e-6)
    # 2 positions in 3 cells: [0, 1), [0, 2), [1, 2).
    row = x[:, :2].swapaxes(1, 2)
    pooled = adaptive_average_pool(row, (1, 3))[0, 0, :, 0]
    np.testing.assert_allclose(pooled, [1, 1.5, 2], rtol=1e-6)


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (5, 7), (6, 4), (11, 16)])
def test_adaptive_pooling_equals_the_loop_over_cells(size):
    x = random(2, 5, 7, 3)
    expected = convolutional.adaptive_average_pool(x, size)
    np.testing.assert_allclose(adaptive_average_pool(x, size), expected, atol=1e-6)


def test_adaptive_pooling_rounds_once_after_sums_in_float32():
    x = jnp.asarray(random(1, 7, 11, 32), jnp.bfloat16)
    expected = convolutional.adaptive_average_pool(x, (2, 3)).astype(jnp.bfloat16)
    out = adaptive_average_pool(x, (2, 3))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(out, np.float32), expected.astype(np.float32))


@pytest.mark.parametrize('size, antialias, scale, expected', [
    (8, False, None, [-0.09283, 0.18756, 1.19574, 3.39484, 3.4455, 1.86041, 5.25964, 8.55701]),
    (8, True, None, [-0.07196, 0.24375, 1.14172, 3.36462, 3.47571, 1.91443, 5.53054, 8.43173]),
    (8, False, 8.1 / 5, [-0.09385, 0.18254, 1.13365, 3.31473, 3.56426, 1.81663, 4.90057, 8.4419]),
    (3, False, None, [0.14815, 4, 6]), (3, True, None, [0.38462, 2.76744, 5.53846])])
def test_bicubic_resizing_has_the_values_of_torch(size, antialias, scale, expected):
    x = np.array([0, 1, 4, 2, 8], np.float32)[None, :, None, None].repeat(5, 2)
    scale = scale and (scale, 1)
    out = resize_bicubic(x, (size, 5), antialias=antialias, scale=scale)
    np.testing.assert_allclose(out[0, :, 2, 0], expected, atol=2e-5)
    turned = resize_bicubic(x.swapaxes(1, 2), (5, size), antialias=antialias,
                            scale=scale and scale[::-1])
    np.testing.assert_allclose(turned, out.swapaxes(1, 2), atol=1e-6)
    assert resize_bicubic(x, (5, 5), antialias=antialias) is x


def _bicubic_like(x, antialias):
    """A table of 6x9 in the size of `x`."""
    return resize_bicubic(random(1, 6, 9, 3), x.shape[1:3], antialias=antialias)


@pytest.mark.parametrize('function', [
    lambda x: pad_to_multiple(x, 4), lambda x: downsample(x, 0.375),
    lambda x: upsample_bilinear(x, 3), lambda x: upsample_bilinear(x, 2, align_corners=True),
    lambda x: resize_bilinear(x, (9, x.shape[2]), ((9, x.shape[1]), (1, 1))),
    lambda x: adaptive_average_pool(x, (6, 16)), *(functools.partial(
        _bicubic_like, antialias=antialias) for antialias in (False, True))],
    ids=['pad', 'downsample', 'upsample', 'corners', 'stretch', 'pool', 'bicubic', 'antialiased'])
def test_what_is_traced_once_for_all_sizes_is_what_is_traced_for_one(function):
    traced = at_any_size(function, 2, 0, 0, 3)
    for size in ((1, 8), (33, 7)):
        x = random(2, *size, 3)
        np.testing.assert_allclose(traced(x), jax.jit(function)(x), rtol=1e-6, atol=2e-6)


def test_positions_in_long_maps_are_exact_when_sizes_are_unknown():
    x = np.arange(4001, dtype=np.float32)[None, :, None, None]
    traced = at_any_size(lambda x: resize_bilinear(x, (2 * x.shape[1], 1), (2, 1)), 1, 0, 0, 1)
    np.testing.assert_array_equal(traced(x)[0, 1:-1, 0, 0], np.arange(0.25, 4000, 0.5))


def test_a_factor_whose_sizes_cannot_be_stated_for_all_is_refused():
    with pytest.raises(InputError, match='input_scale: 0.3 is no multiple of 1/64'):
        at_any_size(lambda x: downsample(x, 0.3), 1, 0, 0, 1)
