"""Batch norm and group norm: exact values, several devices, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.axis import mapped_over
from jaxseg.errors import InputError
from jaxseg.layers.norm import TENSORFLOW, Norm, make_norm, number_of_groups
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
    evaluated = layer.apply(variables, x, train=False)
    np.testing.assert_allclose(evaluated, x / np.sqrt(1 + 1e-5), rtol=1e-6)


@pytest.mark.parametrize('kind', ['batch', 'group'])
def test_norm_statistics_are_float32_whatever_the_input(kind):
    # bfloat16 holds 3 digits: the variance of values about 100 would be lost in it.
    x = jnp.asarray(100 + random(4, 8, 8, 32), jnp.bfloat16)
    out, variables = Norm(kind).init_with_output(jax.random.key(0), x, train=True)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert abs(float(np.asarray(out, np.float32).std()) - 1) < 0.02


def test_batch_norm_over_an_axis_that_nobody_named_keeps_the_statistics_of_the_device():
    layer, x = Norm('batch'), random(4, 2, 3, 3, 2)
    variables = layer.init(jax.random.key(0), x[0], train=True)

    def train(x):
        return layer.apply(variables, x, train=True, mutable=['batch_stats'])[0]

    out = jax.pmap(train, axis_name='data')(x)
    np.testing.assert_allclose(np.mean(out, (1, 2, 3)), 0, atol=1e-5)


def test_group_norm_has_at_least_8_channels_a_group_where_there_are_as_many():
    expected = {2: 1, 4: 1, 8: 1, 12: 1, 24: 3, 32: 4, 48: 6, 64: 8, 256: 32, 2048: 32}
    assert {channels: number_of_groups(channels) for channels in expected} == expected
    assert number_of_groups(256, most=8) == 8


def test_group_norm_takes_the_statistics_of_every_image_and_group():
    x = random(2, 3, 3, 24)
    out, _ = Norm('group').init_with_output(jax.random.key(0), x, train=True)
    grouped = x.reshape(2, 9, 3, 8)
    mean, variance = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    expected = (grouped - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(out, expected.reshape(x.shape), atol=1e-4)


def test_the_fields_of_a_norm_reach_it():
    x = random(4, 3, 3, 2)
    norm = make_norm(dict(kind='batch', momentum=0.75, epsilon=0.5), name='norm')
    variables = norm.init(jax.random.key(0), x, train=True)
    out, updates = norm.apply(variables, x, train=True, mutable=['batch_stats'])
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(updates['batch_stats']['batch']['mean'], 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(out, (x - mean) / np.sqrt(variance + 0.5), atol=1e-5)


def test_the_norm_of_tensorflow_moves_its_averages_by_a_hundredth():
    layer, x = make_norm(TENSORFLOW, name='norm'), random(4, 3, 3, 2) + 7
    variables = layer.init(jax.random.key(0), x, train=True)
    _, updates = layer.apply(variables, x, train=True, mutable=['batch_stats'])
    np.testing.assert_allclose(updates['batch_stats']['batch']['mean'],
                               0.01 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(layer.apply(variables, x, train=False), x / np.sqrt(1.001),
                               rtol=1e-6)


@pytest.mark.parametrize('spec, key, value', [
    ('layer', 'norm.kind', "'layer'"), (dict(kind='batch', momentum=1.0), 'norm.momentum', '1.0'),
    (dict(epsilon=0.0), 'norm.epsilon', '0.0'), (dict(kind='group', groups=0), 'norm.groups', '0'),
    (dict(moment=0.9), 'norm.moment', 'momentum')])
def test_bad_norms_are_refused_by_key_and_value(spec, key, value):
    with pytest.raises(InputError) as error:
        make_norm(spec, 'norm').init(jax.random.key(0), np.zeros((1, 2, 2, 16)), train=True)
    assert key in str(error.value) and value in str(error.value)


def test_batch_norm_of_one_value_a_channel_is_refused_in_training_only():
    layer, x = Norm('batch'), np.ones((1, 1, 1, 3), np.float32)
    variables = layer.init(jax.random.key(0), x, train=True)
    assert layer.apply(variables, x, train=False).shape == x.shape
    with pytest.raises(InputError, match="one value a channel.*norm='group'"):
        layer.apply(variables, x, train=True, mutable=['batch_stats'])
    # One value a device, and four in all.

    def train(x):
        return layer.apply(variables, x, train=True, mutable=['batch_stats'])[0]

    with mapped_over('devices'):
        assert jax.pmap(train, axis_name='devices')(np.ones((4, *x.shape))).shape == (4, *x.shape)


def test_group_norm_of_one_channel_is_refused():
    with pytest.raises(InputError, match='1 channel'):
        Norm('group').init(jax.random.key(0), np.zeros((1, 2, 2, 1)), train=True)
