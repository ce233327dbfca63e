"""Matrix products with float32 results, and linear layers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import Dense, matmul_f32, multiply_channels
from jaxseg.layers.tokens import PatchEmbed
from tests.variables import random, random_variables


class Scale(nn.Module):
    @nn.compact
    def __call__(self, x):
        return multiply_channels(x, self.param('bias', nn.initializers.ones, (4,)))


def test_matmul_f32_has_the_gradients_of_a_matrix_product():
    x, kernel, weights = random(2, 3, 4), random(4, 5, seed=1), random(2, 3, 5, seed=2)

    def gradient(matmul, dtype):
        return jax.grad(lambda x, kernel: jnp.sum(matmul(x, kernel) * weights), (0, 1))(
            x.astype(dtype), kernel)

    for dtype, tolerance in ((np.float32, 1e-6), (jnp.bfloat16, 2e-2)):
        plain = gradient(lambda x, kernel: x.astype(np.float32) @ kernel, dtype)
        for one, other in zip(gradient(matmul_f32, dtype), plain, strict=True):
            assert one.dtype == other.dtype
            one, other = one.astype(np.float32), other.astype(np.float32)
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('ours, layer, shape', [
    (Dense(5), functools.partial(nn.Dense, 5), (2, 3, 4)),
    (Dense(5), functools.partial(nn.Dense, 5), (4,)),
    (Dense(3, use_bias=False), functools.partial(nn.Dense, 3, use_bias=False), (2, 8)),
    (Dense((3, 2, 5)), functools.partial(nn.DenseGeneral, (3, 2, 5)), (2, 3, 4)),
    (Dense(5, axes=2), functools.partial(nn.DenseGeneral, 5, axis=(-2, -1)), (2, 3, 4))])
@pytest.mark.parametrize('dtype, tolerance', [(np.float32, 1e-5), (jnp.bfloat16, 2e-2)])
def test_linear_layers_have_the_values_and_gradients_of_those_of_flax(ours, layer, shape, dtype,
                                                                      tolerance):
    x, expected = random(*shape).astype(dtype), layer(dtype=dtype)
    both = (ours, expected)
    initial = jax.jit(lambda x: [module.init(jax.random.key(0), x) for module in both])(x)
    jax.tree.map(np.testing.assert_array_equal, *initial)
    shape = jax.eval_shape(lambda: ours.apply(initial[0], x)).shape
    cotangent = random(*shape, seed=1).astype(dtype)

    @jax.jit
    def compute(variables, x, cotangent):
        pulled = [jax.vjp(module.apply, variables, x) for module in both]
        return [(y, vjp_fn(cotangent)) for y, vjp_fn in pulled]

    results = compute(random_variables(expected, x), x, cotangent)
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one.astype(np.float32), other.astype(np.float32),
                                   rtol=tolerance, atol=tolerance)


def test_the_weight_gradient_of_a_linear_layer_is_one_product_of_matrices_on_cpu():
    x, layer = random(2, 3, 4), Dense(5)
    variables = random_variables(layer, x)
    jaxpr = jax.make_jaxpr(jax.grad(lambda variables: layer.apply(variables, x).sum()))(variables)
    products = [(equation.params['dimension_numbers'], equation.outvars[0].aval.shape)
                for equation in jaxpr.eqns if equation.primitive.name == 'dot_general']
    assert ((((0,), (0,)), ((), ())), (4, 5)) in products


@pytest.mark.parametrize('layer', [Dense(4), Conv(4, 1, bias=True), Scale(), PatchEmbed(4, 1)])
def test_gradients_of_biases_and_scales_are_float32_sums_over_the_pixels(layer):
    # A sum of 4096 ones in bfloat16 would end at 256, of blocks of 1024 at 1024.
    x = jnp.ones((1, 64, 64, 4), jnp.bfloat16)
    variables = jax.tree.map(jnp.ones_like, layer.init(jax.random.key(0), x))
    gradient = jax.jit(jax.grad(
        lambda variables: layer.apply(variables, x).astype(jnp.float32).sum()))(variables)
    assert layer.apply(variables, x).dtype == jnp.bfloat16
    np.testing.assert_array_equal(gradient['params']['bias'], 4096)
