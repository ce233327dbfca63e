"""Layers against slow references and hand-worked values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.layers.attention import attend
from jaxseg.layers.conv import Conv, convolve
from jaxseg.layers.norm import Norm
from jaxseg.layers.position import sine_2d
from jaxseg.layers.recurrence import Recurrence
from jaxseg.layers.resize import enlarge, pad_to_multiple, reduce, upsample_nearest
from tests.references import attention, recurrence


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('stride, dilation', [(1, 1), (2, 1), (1, 2)])
def test_convolution_is_the_sum_over_its_taps(stride, dilation):
    x, kernel = normal(2, 7, 8, 3), normal(3, 3, 3, 5, seed=1)
    out = Conv(5, 3, stride, dilation).apply({'params': {'kernel': kernel}}, x)
    padded = np.pad(x, ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0)))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            patch = padded[:, i * stride:i * stride + 2 * dilation + 1:dilation, j * stride:j * stride + 2 * dilation + 1:dilation]
            np.testing.assert_allclose(out[:, i, j], np.einsum('bhwc,hwcf->bf', patch, kernel), rtol=1e-4, atol=1e-5)


def test_a_convolution_computes_in_the_dtype_of_its_input():
    x, kernel = jnp.asarray(normal(1, 4, 4, 3), jnp.bfloat16), normal(1, 1, 3, 2)
    assert convolve(x, jnp.asarray(kernel), padding='VALID').dtype == jnp.bfloat16


def test_batch_norm_uses_batch_statistics_in_training_and_running_ones_after():
    x = normal(4, 3, 3, 2) * 3 + 5
    layer = Norm('batch')
    variables = layer.init(jax.random.key(0), x, train=True)
    out, updates = layer.apply(variables, x, train=True, mutable=['batch_stats'])
    np.testing.assert_allclose(out, (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(updates['batch_stats']['batch']['mean'], 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
    still = layer.apply({**variables, **updates}, x, train=False)
    np.testing.assert_allclose(still, (x - 0.1 * x.mean((0, 1, 2))) / np.sqrt(0.9 + 0.1 * x.var((0, 1, 2)) + 1e-5), rtol=1e-3)


def test_group_norm_takes_the_largest_number_of_groups_that_divides():
    x = normal(2, 4, 4, 34)
    layer = Norm('group')
    out = layer.apply(layer.init(jax.random.key(0), x, train=True), x, train=True)
    groups = x.reshape(2, 16, 17, 2)
    expected = (groups - groups.mean((1, 3), keepdims=True)) / np.sqrt(groups.var((1, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(out, expected.reshape(x.shape), rtol=1e-3, atol=1e-4)


def test_an_unknown_norm_is_named():
    with pytest.raises(InputError, match="'layer' is unknown; known: batch, group"):
        Norm('layer').init(jax.random.key(0), jnp.zeros((1, 2, 2, 4)), train=True)


def test_enlarging_has_half_pixel_centres():
    row = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(enlarge(row, (1, 4), (1, 2)).ravel(), [0, 1, 3, 4], atol=1e-6)
    # The upper left part of an enlargement is the enlargement's upper left part.
    x = normal(1, 4, 5, 2)
    whole = enlarge(x, (12, 10), (3, 2))
    np.testing.assert_allclose(enlarge(x, (7, 6), (3, 2)), whole[:, :7, :6], atol=1e-6)
    np.testing.assert_allclose(whole, jax.image.resize(x, (1, 12, 10, 2), 'bilinear'), atol=1e-5)


def test_nearest_upsampling_repeats_pixels_and_sums_gradients():
    x = normal(1, 2, 3, 2)
    np.testing.assert_array_equal(upsample_nearest(x, 2), x.repeat(2, 1).repeat(2, 2))
    weights = normal(1, 4, 6, 2, seed=1)
    gradient = jax.grad(lambda x: (upsample_nearest(x, 2) * weights).sum())(x)
    np.testing.assert_allclose(gradient, weights.reshape(1, 2, 2, 3, 2, 2).sum((2, 4)), rtol=1e-5, atol=1e-6)


def test_padding_repeats_the_border_and_reducing_keeps_a_constant():
    x = normal(1, 5, 8, 1)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 8, 8, 1)
    np.testing.assert_array_equal(padded[:, 5:], np.repeat(x[:, 4:], 3, 1))
    np.testing.assert_allclose(reduce(jnp.full((1, 5, 8, 2), 3.0), 0.5), np.full((1, 3, 4, 2), 3.0), rtol=1e-6)
    with pytest.raises(InputError, match=r'model.resolution: 2 is not in \(0, 1\]'):
        reduce(x, 2)


@pytest.mark.parametrize('chunk', [1024, 5])
def test_attention_equals_the_dense_formula_in_chunks_too(chunk):
    query, key, value = normal(2, 13, 3, 4), normal(2, 7, 3, 4, seed=1), normal(2, 7, 3, 5, seed=2)
    out = attend(query, key, value, chunk=chunk)
    np.testing.assert_allclose(out, attention.attend(query, key, value), rtol=1e-4, atol=1e-5)


def test_chunks_do_not_change_the_gradient_of_attention():
    inputs = normal(2, 13, 3, 4), normal(2, 7, 3, 4, seed=1), normal(2, 7, 3, 5, seed=2)
    whole, cut = (jax.grad(lambda q, k, v, n=n: (attend(q, k, v, chunk=n) ** 2).sum(), argnums=(0, 1, 2))(*inputs)
                  for n in (1024, 4))
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('channels', [2, 7, 16])
def test_positions_are_all_different_and_do_not_depend_on_the_size_of_the_map(channels):
    code = np.asarray(sine_2d(9, 11, channels))
    assert code.shape == (9, 11, channels)
    np.testing.assert_array_equal(code[:4, :5], sine_2d(4, 5, channels))
    assert len(np.unique(code.reshape(99, -1).round(4), axis=0)) == 99
    assert code[3, 5, 0] == pytest.approx(np.sin(3))


@pytest.mark.parametrize('cell', ['gru', 'lstm'])
@pytest.mark.parametrize('reverse', [False, True])
def test_a_recurrence_equals_its_python_loop(cell, reverse):
    x = normal(2, 9, 4)
    layer = Recurrence(5, cell, reverse)
    params = jax.tree.map(lambda p: p + 0.1 * normal(*p.shape, seed=3), layer.init(jax.random.key(0), x))
    loop = getattr(recurrence, cell)
    order = slice(None, None, -1 if reverse else 1)
    expected = np.stack([loop(row[order], params['params'])[order] for row in x])
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('cell', ['gru', 'lstm'])
def test_the_gradient_of_a_recurrence_equals_that_of_its_python_loop(cell):
    x, direction = normal(1, 6, 3), normal(6, 4, seed=5)
    layer = Recurrence(4, cell)
    params = jax.tree.map(np.asarray, layer.init(jax.random.key(0), x)['params'])
    gradient = jax.grad(lambda p: (layer.apply({'params': p}, x)[0] * direction).sum())(params)
    loss = functools.partial(lambda p: float((getattr(recurrence, cell)(x[0], p) * direction).sum()))
    for name, value in params.items():
        step = normal(*value.shape, seed=6).astype(float)
        ends = [loss({**params, name: value.astype(float) + sign * 1e-5 * step}) for sign in (1, -1)]
        assert float((gradient[name] * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-5)


def test_an_unknown_cell_is_named():
    with pytest.raises(InputError, match="'rnn' is unknown; known: gru, lstm"):
        Recurrence(4, 'rnn').init(jax.random.key(0), jnp.zeros((1, 2, 3)))
