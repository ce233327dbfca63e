"""Operations of JAX as ONNX: onnxruntime computes the same, at sizes that were not known."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx.checker
import onnxruntime
import pytest
from jax import lax

from jaxseg.export.images import Images
from jaxseg.export.onnx import convert
from jaxseg.export.onnx_graph import Graph, NotSupported
from tests.variables import random

NHWC = ('NHWC', 'HWIO', 'NHWC')


def session_of(function, *sides, dtype='float32'):
    program = convert(function, Images(*sides, dtype))
    onnx.checker.check_model(program, full_check=True)
    return onnxruntime.InferenceSession(program.SerializeToString())


def same(function, *sizes, sides=(None, None, None, 4), atol=1e-5):
    """Asserts that the graph, made once, computes what JAX does for images of all sizes."""
    session = session_of(function, *sides)
    for size in sizes or ((2, 3, 5, 4), (1, 6, 4, 4)):
        x = random(*size)
        found, = session.run(None, {'images': x})
        wanted = np.asarray(jax.jit(function)(x))
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=atol)


@pytest.mark.parametrize('function', [
    lambda x: jnp.log1p(jnp.exp(x)) * jnp.expm1(x) + jnp.sqrt(jnp.abs(x)) - lax.rsqrt(x * x + 1),
    lambda x: jax.nn.gelu(x, approximate=False) + lax.erfc(x) + jax.nn.silu(x) / (2 + jnp.sin(x)),
    lambda x: jnp.tanh(x) ** 3 + x ** 2 + jnp.exp2(x) + jnp.cos(x) + jnp.sign(x) * jnp.floor(x),
    lambda x: jnp.where((x > 0) & (x < 1) | (x != x), jnp.clip(x, -0.5, 0.5), jnp.ceil(x)),
    lambda x: (7 * x).astype(jnp.int32) // 3 + lax.rem((9 * x).astype(jnp.int32), 4),
    lambda x: jnp.isfinite(1 / jnp.maximum(x, 0)).astype(jnp.uint8)],
    ids=['log', 'gelu', 'powers', 'choices', 'integers', 'finite'])
def test_operations_on_elements(function):
    same(function)


@pytest.mark.parametrize('function', [
    lambda x: jnp.flip(x, (1, 3)).transpose(0, 2, 1, 3)[:, 1:-1][:, :, :-1][..., ::2],
    lambda x: x.reshape(x.shape[0], -1, 2, 2).swapaxes(1, 2)[..., 0],
    lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)), constant_values=3.0),
    lambda x: jnp.stack([x, 2 * x], 1), lambda x: jnp.stack([x, x * x], -1),
    lambda x: lax.pad(x, 1.0, ((0, 0, 0), (-1, 2, 0), (1, -1, 0), (0, 0, 0))),
    lambda x: jnp.concatenate([x, jnp.broadcast_to(x[:, :1], x.shape)], -1) + jnp.split(
        jnp.concatenate([x, x, x], -1), [1, 9], -1)[1],
    lambda x: jnp.arange(x.shape[1])[None, :, None] * jnp.arange(x.shape[2] * 4).reshape(
        1, 1, x.shape[2], 4)[..., 0] + 0 * x[..., 0],
    lambda x: x / (x.shape[1] * x.shape[2] - -x.shape[1] // 4 + -x.shape[2] % 3)],
    ids=['slices', 'reshape', 'pad', 'stack', 'last', 'crop', 'concatenate', 'iota', 'sizes'])
def test_operations_on_shapes(function):
    same(function)


@pytest.mark.parametrize('function', [
    lambda x: jax.nn.softmax(x, (1, 2)) + x.min((1, 2), keepdims=True) + jnp.prod(x, -1)[..., None],
    lambda x: jnp.any(x > 1, -1) & ~jnp.all(x > -1, -1), lambda x: x.argmax(-1).astype(jnp.uint8),
    lambda x: lax.argmin(x, 1, jnp.int32), lambda x: jnp.cumsum(x, 1), lambda x: lax.cumsum(
        x, 2, reverse=True)], ids=['sums', 'any', 'argmax', 'argmin', 'cumsum', 'backward'])
def test_operations_over_axes(function):
    same(function)


def test_a_border_of_no_width_for_any_number_of_images():
    def edges(x):  # the sides that stay are concatenated with arrays without a position
        return jnp.pad(x, ((0, 0), (0, 2), (0, 0), (0, 0)), mode='edge')

    same(edges, (2, 5, 6, 4), (1, 5, 6, 4), sides=(None, 5, 6, 4))


@pytest.mark.parametrize('options', [
    {'window_strides': (1, 1), 'padding': ((1, 1), (0, 2))},
    {'window_strides': (2, 1), 'padding': ((2, 2), (-1, 2)), 'rhs_dilation': (2, 1)},
    {'window_strides': (1, 1), 'padding': ((2, 2), (2, 1)), 'lhs_dilation': (2, 3)},
    {'window_strides': (1, 2), 'padding': ((1, 1), (1, 1)), 'feature_group_count': 2}])
def test_convolutions(options):
    kernel = random(3, 3, 4 // options.get('feature_group_count', 1), 6, seed=1)
    same(lambda x: lax.conv_general_dilated(x, kernel, dimension_numbers=NHWC, **options),
         (2, 7, 8, 4), (1, 5, 6, 4))


def test_pooling():
    window, strides, margins = (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 1), (0, 0))
    same(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, window, strides, margins)
         + lax.reduce_window(x, 0.0, lax.add, window, strides, margins), (2, 7, 8, 4))


@pytest.mark.parametrize('function', [
    lambda x: x @ random(4, 6), lambda x: jnp.einsum('bhwc,bhvc->bhwv', x, x),
    lambda x: jnp.einsum('ic,bhwc->bhiw', random(5, 4), x),
    lambda x: jnp.einsum('bhwc,bhwd->bcd', x, x), lambda x: jnp.einsum('bhwc,bhwc->bh', x, x)],
    ids=['layer', 'attention', 'rows', 'gram', 'norm'])
def test_matrix_products(function):
    same(function)


@pytest.mark.parametrize('function', [
    lambda x: jnp.take(x, jnp.array([2, 0, 0, 5]), 1, mode='clip'), lambda x: x[:, 1, ::2, 2],
    lambda x: jnp.take(x, jnp.array([[2, 0], [1, 1]]), 3),
    lambda x: x[:, jnp.array([0, 2]), jnp.array([1, 0])],
    lambda x: x[jnp.array([0, 0]), jnp.array([0, 2])]],
    ids=['rows', 'one', 'channels', 'pixels', 'samples'])
def test_reading_at_indices(function):
    same(function)


@pytest.mark.parametrize('start', [-9, 1, 9])
def test_blocks_are_moved_inside(start):
    same(lambda x: lax.dynamic_slice(x, (0, start + x.argmax() // 999, 0, 1), (1, 2, 3, 2)),
         (2, 6, 5, 4), sides=(None, 6, 5, 4))


def test_loops():
    def accumulate(x):
        h, y = lax.scan(lambda h, x: (0.5 * h + x, h * x), jnp.zeros_like(x[:, 0]),
                        x.swapaxes(0, 1), reverse=True)
        h = lax.fori_loop(0, 3, lambda i, h: h * (i + 0.5), h)
        _, h = lax.while_loop(lambda state: state[0] < 4,
                              lambda state: (state[0] + 1, state[1] + h), (1, h))
        h = lax.cond(h.sum() > 1e9, lambda h: h, lambda h: 2 * h, h)
        return y + h[None]

    same(accumulate)


def test_functions_with_their_own_gradients_are_written_out():
    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, g: (g,))
    same(lambda x: jax.checkpoint(lambda x: jax.nn.relu(double(x)))(x))


def test_operations_that_change_nothing_are_left_out():
    """onnxruntime would remove their constants, and then miss them elsewhere."""
    same(lambda x: jnp.maximum((x - 0.0) * 1.0 / 1.0 + 0.0, 0.0) * (1.0 * x + 1.0))
    program = convert(lambda x: 0.0 + (x - 0.0) * 1.0, Images(1, 2, 3, 4, 'float32'))
    assert [node.op_type for node in program.graph.node] == ['Identity']


def test_a_constant_is_stored_once():
    weights = random(4, 300)
    program = convert(lambda x: (x @ weights) + (x @ weights), Images(1, 2, 3, 4, 'float32'))
    assert program.ByteSize() < 1.5 * weights.nbytes


@pytest.mark.parametrize('text, value', [
    ('h', 7), ('- 32*floordiv(- h, 32)', 32), ('mod(- h, 4) + 2*h*w - 3', 68), ('h^2', 49),
    ('max(h, 9) - min(h, w)', 4), ('floordiv(h*w, 2)', 17)])
def test_sizes_are_computed_as_jax_does(text, value):
    graph = Graph({})
    for name, side in (('h', 7), ('w', 5)):
        graph.name_side(name, side)
    assert graph.side(text) == value


def test_what_has_no_rule_is_named():
    for function, words in ((lambda x: lax.sort(x), 'sort, which has no rule'),
                            (lambda x: jnp.fft.fft(x).real, 'fft'),
                            (lambda x: lax.pad(x, 0.0, ((0, 0, 1),) * 4), 'zeros between')):
        with pytest.raises(NotSupported, match=words):
            convert(function, Images(1, 2, 3, 4, 'float32'))
