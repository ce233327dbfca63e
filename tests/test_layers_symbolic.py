"""Sizes that are known only when the program runs: windows, zeros, quotients, context layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxseg.build import build, fields_of, parts_of
from jaxseg.layers.symbolic import pad_zeros, quotient
from jaxseg.layers.windows import attend_within, join, partition, regions
from tests.variables import at_any_size, random


def attention(shift):
    """Attention within windows of 2x3."""
    def function(x):
        window, size = (2, 3), x.shape[1:3]
        parts = partition(x, window, shift)[..., None, :]
        numbers = regions(size, window, shift)
        return join(attend_within(numbers, None, parts, parts, parts)[..., 0, :], size, window,
                    shift)

    return function


@pytest.mark.parametrize('shift', [(0, 0), (1, 1)])
def test_windows_that_are_traced_once_are_those_of_every_size(shift):
    traced = at_any_size(attention(shift), 1, 0, 0, 4)
    for size in ((4, 6), (5, 7)):
        x = random(1, *size, 4)
        np.testing.assert_allclose(traced(x), jax.jit(attention(shift))(x), atol=1e-5)


def test_zeros_are_added_at_sizes_that_are_not_known():
    x = random(2, 3, 4, 1)
    traced = at_any_size(lambda x: pad_zeros(x, (x.shape[1] + 1, 2 * x.shape[2])), 2, 0, 0, 1)
    wanted = np.pad(x, ((0, 0), (0, 1), (0, 4), (0, 0)))
    np.testing.assert_array_equal(traced(x), wanted)
    np.testing.assert_array_equal(pad_zeros(jnp.asarray(x), (4, 8)), wanted)


def test_a_quotient_is_an_integer_whatever_the_symbols_are():
    h, = export.symbolic_shape('h')
    padded = -(-h // 32) * 32
    assert quotient(padded, padded // 8) == 8
    assert quotient(h, 2) is None and quotient(12, 4) == 3 and quotient(12, 5) is None


# Their programs depend on the size of the map.
OF_ONE_SIZE = ('mdrnn.MDRNN2D', 'window_attention.WindowAttention')


@pytest.mark.parametrize('name', sorted({*parts_of('context')} - {*OF_ONE_SIZE}))
def test_a_context_layer_takes_any_number_of_images_of_any_size(name):
    features = fields_of(parts_of('context')[name]).get('features')
    needed = features is not None and features.default is features.empty
    layer = build('context', {'type': name, **({'features': 8} if needed else {})}, classes=5)
    variables = jax.eval_shape(lambda: layer.init(
        {name: jax.random.key(0) for name in ('params', 'dropout', 'drop_path')},
        jnp.zeros((2, 8, 8, 16)), train=False))
    sides = export.symbolic_shape('b, h, w, 16')
    found = jax.eval_shape(lambda variables, x: layer.apply(variables, x, train=False), variables,
                           jax.ShapeDtypeStruct(sides, jnp.float32))
    assert found.shape[:3] == sides[:3]
