"""Every attention context against the dense formula with a mask, and its gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.context.axial import Axial
from jaxseg.context.criss_cross import CrissCross
from jaxseg.context.linear_attention import LinearAttention
from jaxseg.context.self_attention import SelfAttention
from jaxseg.context.window_attention import WindowAttention
from tests.references import attention
from tests.references.gradient import central_differences
from tests.variables import random, random_variables, run

# The layers, each against the dense formula in which a query attends to some of the keys.

def seen(size: tuple[int, int], together) -> np.ndarray:
    """(1, N, N): 0 where `together((i, j), (k, l))`, else -inf."""
    places = list(np.ndindex(*size))
    return np.array([[[0 if together(a, b) else -np.inf for b in places] for a in places]])


def attends_to_all(layer, index, size):
    return seen(size, lambda a, b: True)


def attends_to_its_line(layer, index, size):
    return seen(size, lambda a, b: a[index % 2] == b[index % 2])


def attends_to_its_window(layer, index, size):
    # A window is no larger than the map, and a single window is not moved.
    def window(place):
        lengths = [min(layer.window, side) for side in size]
        return [(at - (index % 2) * (side > length) * (length // 2)) // length
                for at, side, length in zip(place, size, lengths, strict=True)]

    return seen(size, lambda a, b: window(a) == window(b))


def reference(layer, x: np.ndarray, params: dict, mask_bias, blocks: int) -> np.ndarray:
    size = x.shape[1:3]

    def mix(query, key, value, index):
        if layer.position == 'rope':
            query, key = attention.rotate(query, *size), attention.rotate(key, *size)
        bias = (attention.offsets(params[f'relative{index}'], size) if layer.position == 'relative'
                else 0)
        return attention.attend(query, key, value, mask_bias(layer, index, size) + bias)

    return attention.transformer(x, params, mix, blocks)


DENSE = [
    (SelfAttention(8, heads=2, position='relative'), (2, 3), attends_to_all, 1),
    (SelfAttention(8, heads=2, position='relative'), (1, 40), attends_to_all, 1),
    (SelfAttention(8, heads=2, position='rope', layers=2), (2, 3), attends_to_all, 2),
    (Axial(8, heads=2, position='none'), (3, 4), attends_to_its_line, 2),
    (Axial(8, heads=2, position='relative'), (3, 4), attends_to_its_line, 2),
    (Axial(8, heads=2, position='rope', layers=2), (1, 4), attends_to_its_line, 4),
    (WindowAttention(8, heads=2, position='none', window=2), (5, 4), attends_to_its_window, 2),
    (WindowAttention(8, heads=2, window=3), (5, 7), attends_to_its_window, 2),
    (WindowAttention(8, heads=2, window=4, position='rope'), (1, 9), attends_to_its_window, 2),
    (WindowAttention(8, heads=2), (3, 2), attends_to_its_window, 2),
]


@pytest.mark.parametrize('layer, size, mask_bias, blocks', DENSE,
                         ids=lambda case: getattr(case, 'position', None))
def test_a_layer_equals_dense_attention_to_the_keys_it_attends_to(layer, size, mask_bias, blocks):
    x = random(2, *size, 8)
    variables = random_variables(layer, x, train=False)
    expected = reference(layer, x, variables['params'], mask_bias, blocks)
    np.testing.assert_allclose(run(layer, variables, x), expected, atol=1e-4)


def test_linear_attention_equals_its_formula():
    x, layer = random(2, 3, 4, 8), LinearAttention(8, heads=2, layers=2, position='none')
    variables = random_variables(layer, x, train=False)
    expected = attention.transformer(x, variables['params'],
                                     lambda q, k, v, index: attention.linear_attend(q, k, v), 2)
    np.testing.assert_allclose(run(layer, variables, x), expected, atol=1e-4)


@pytest.mark.parametrize('size, recurrence',
                         [((3, 4), 1), ((3, 4), 2), ((1, 5), 2), ((5, 1), 2), ((1, 1), 2)])
def test_criss_cross_equals_the_softmax_over_row_and_column(size, recurrence):
    x, layer = random(2, *size, 16), CrissCross(16, recurrence=recurrence)
    variables = random_variables(layer, x, train=False)
    variables['params']['gamma'] = np.float32(0.7)
    np.testing.assert_allclose(run(layer, variables, x),
                               attention.criss_cross(x, variables['params'], recurrence), atol=1e-5)


def test_criss_cross_begins_as_the_identity_and_learns_its_gamma_first():
    x, layer = random(1, 2, 3, 8), CrissCross(8)
    variables = jax.jit(lambda: layer.init(jax.random.key(0), x, train=True))()
    np.testing.assert_array_equal(run(layer, variables, x), x)
    gradient = jax.jit(jax.grad(
        lambda params: jnp.sum(layer.apply({'params': params}, x, train=True) ** 2)))
    assert abs(gradient(variables['params'])['gamma']) > 1e-3


@pytest.mark.parametrize('layer, mask_bias, blocks', [
    (Axial(4, heads=1, position='none'), attends_to_its_line, 2),
    (WindowAttention(4, heads=1, window=2, position='none'), attends_to_its_window, 2),
    (CrissCross(4), None, 0), (LinearAttention(4, heads=1, position='none'), None, 0)],
                         ids=lambda case: type(case).__name__)
def test_the_gradient_of_a_layer_equals_the_differences_of_its_reference(layer, mask_bias, blocks):
    x, weights = random(1, 2, 3, 4), random(1, 2, 3, 4, seed=1)
    variables = random_variables(layer, x, train=False)
    params = variables['params']
    if isinstance(layer, CrissCross):
        params['gamma'] = np.float32(0.7)

    def slow(x):
        if isinstance(layer, CrissCross):
            return np.sum(attention.criss_cross(x, params, 2) * weights)
        if isinstance(layer, LinearAttention):
            y = attention.transformer(
                x, params, lambda q, k, v, i: attention.linear_attend(q, k, v), 1)
            return np.sum(y * weights)
        return np.sum(reference(layer, x, params, mask_bias, blocks) * weights)

    gradient = jax.jit(jax.grad(
        lambda x: jnp.sum(layer.apply(variables, x, train=False) * weights)))(x)
    np.testing.assert_allclose(gradient, central_differences(slow, x)[0], rtol=1e-3, atol=1e-4)


LAYERS = [SelfAttention(8, heads=2, position='relative'),
          SelfAttention(8, heads=2, position='learned', size=(4, 5)),
          Axial(8, heads=2, position='rope'), WindowAttention(8, heads=2, window=2),
          LinearAttention(8, heads=2), CrissCross(8)]


def test_parameters_trained_at_one_size_serve_another():
    for layer in LAYERS:
        shapes = [jax.eval_shape(functools.partial(layer.init, train=True), jax.random.key(0),
                                 jnp.zeros((1, *size, 8)))
                  for size in ((4, 5), (9, 2))]
        assert jax.tree.map(jnp.shape, shapes[0]) == jax.tree.map(jnp.shape, shapes[1])
