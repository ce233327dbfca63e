"""Max pooling against Flax's, with XLA's own gradient."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers.pooling import max_pool
from tests.variables import random

WINDOWS = [(3, 2, 1), (2, 2, 0), (3, 2, 0), (3, 1, 1), (2, 3, 1), (5, 2, 2)]


def reference(x, window, stride, padding):
    return nn.max_pool(x, (window, window), (stride, stride), ((padding, padding),) * 2)


@pytest.mark.parametrize('window, stride, padding', WINDOWS)
@pytest.mark.parametrize('size', [(8, 12), (7, 9), (5, 6)])
def test_values_and_gradients_equal_those_of_xla_with_many_ties(size, window, stride, padding):
    # Small integers: many maxima are tied, and their sums are exact.
    x, size = jnp.round(random(2, *size, 3)), dict(window=window, stride=stride, padding=padding)
    shape = jax.eval_shape(functools.partial(reference, **size), x).shape
    cotangent = jnp.round(8 * random(*shape, seed=1))

    @jax.jit
    def both(x, cotangent):
        pulled = [jax.vjp(functools.partial(function, **size), x)
                  for function in (max_pool, reference)]
        return [(y, vjp(cotangent)) for y, vjp in pulled]

    jax.tree.map(np.testing.assert_array_equal, *both(x, cotangent))


def test_the_gradient_goes_to_the_first_of_equal_values():
    x = jnp.array([[1.0, 5.0, 5.0], [5.0, 0.0, 2.0]])[None, :, :, None]
    gradient = jax.grad(lambda x: max_pool(x, 2, 1).sum())(x)
    # The windows of columns 0-1 and 1-2 both find their 5 in the first row first.
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 2, 0], [0, 0, 0]])


def test_the_gradient_on_cpu_has_no_scatter():
    x = random(1, 8, 8, 3)
    jaxpr = str(jax.make_jaxpr(jax.grad(lambda x: max_pool(x, 3, 2, 1).sum()))(x))
    assert 'select_and_scatter' not in jaxpr


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_the_dtype_is_that_of_the_input(dtype):
    x = random(1, 6, 6, 2).astype(dtype)
    assert max_pool(x, 3, 2, 1).dtype == dtype
    assert jax.grad(lambda x: max_pool(x, 3, 2, 1).astype(jnp.float32).sum())(x).dtype == dtype
