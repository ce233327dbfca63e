"""Dropout and stochastic depth: masks, expectation, and several devices against one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.axis import mapped_over
from jaxseg.layers.dropout import Dropout, DropPath
from tests.variables import random

LAYERS = {'values': Dropout(0.4), 'channels': Dropout(0.4, broadcast_dims=(1, 2)),
          'samples': DropPath(0.4)}
KEYS = {'dropout': jax.random.key(3), 'drop_path': jax.random.key(4)}
every_layer = pytest.mark.parametrize('name', LAYERS)


@every_layer
def test_values_are_dropped_or_divided_by_the_probability_to_stay_and_keep_their_mean(name):
    x = jnp.ones((64, 4, 4, 32))
    out = np.asarray(LAYERS[name].apply({}, x, train=True, rngs=KEYS))
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.6], rtol=1e-6)
    axes = {'values': (), 'channels': (1, 2), 'samples': (1, 2, 3)}[name]
    # Constant along the axes that share a draw, and nowhere else.
    assert not axes or (out.max(axes) == out.min(axes)).all()
    draws = out.mean(axes) if axes else out
    assert abs(draws.mean() - 1) < 4 * np.sqrt(0.4 / 0.6 / draws.size)


@every_layer
def test_four_mapped_devices_drop_what_one_device_drops(name):
    x, weights = random(8, 3, 2, 5), random(8, 3, 2, 5, seed=1)

    def step(x, weights):
        def loss(x):
            return jnp.sum(LAYERS[name].apply({}, x, train=True, rngs=KEYS) * weights)

        return LAYERS[name].apply({}, x, train=True, rngs=KEYS), jax.grad(loss)(x)

    expected = jax.jit(step)(x, weights)
    with mapped_over('devices'):
        parts = x.reshape(4, 2, 3, 2, 5), weights.reshape(4, 2, 3, 2, 5)
        found = jax.pmap(step, axis_name='devices')(*parts)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one).reshape(x.shape), other)


@pytest.mark.parametrize('layer, train', [(Dropout(0.5), False), (Dropout(0.0), True),
                                          (DropPath(0.5), False), (DropPath(0.0), True)], ids=str)
def test_evaluation_and_rate_0_return_the_input_without_a_key(layer, train):
    x = random(2, 2, 2, 3)
    assert layer.apply({}, x, train=train) is x
