"""Attention, dense and by chunks, and its positions."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, use_abstract_mesh

from jaxseg.errors import InputError
from jaxseg.layers.attention import DENSE_SCORES, attend
from jaxseg.layers.platform import traced_for
from jaxseg.layers.position import LearnedPosition, relative_bias, rotate_2d
from tests.references import attention
from tests.references.gradient import central_differences
from tests.variables import random

CHUNKS = dict(method='chunked', query_chunk=4, key_chunk=3)


@functools.partial(jax.jit, static_argnames=('method', 'query_chunk', 'key_chunk'))
def attended(query, key, value, **options):
    return attend(query, key, value, **options)


def tokens(n: int, m: int, d: int = 4) -> tuple[np.ndarray, ...]:
    return random(2, n, 2, d), random(2, m, 2, d, seed=1), random(2, m, 2, d, seed=2)


@pytest.mark.parametrize('options',
                         [dict(method='dense'), dict(method='chunked'),
                          dict(method='chunked', key_chunk=1)], ids=str)
def test_scores_0_and_log_3_weigh_one_to_three(options):
    query, key, value = (jnp.array(numbers).reshape(1, -1, 1, 1)
                         for numbers in ([1.0], [0.0, np.log(3)], [4.0, 8.0]))
    np.testing.assert_allclose(attended(query, key, value, **options).ravel(), [7], rtol=1e-6)


@pytest.mark.parametrize('n, m, options', [
    (7, 5, dict(method='dense')), (7, 5, CHUNKS), (8, 6, CHUNKS), (1, 1, CHUNKS), (2, 10, CHUNKS),
    (7, 5, dict(method='chunked', query_chunk=1, key_chunk=1)), (7, 5, dict(method='chunked'))],
    ids=str)
def test_attention_equals_the_dense_softmax_formula_for_every_chunk(n, m, options):
    np.testing.assert_allclose(attended(*tokens(n, m), **options),
                               attention.attend(*tokens(n, m)), atol=1e-5)


@pytest.mark.parametrize('method', ['dense', 'chunked'])
def test_the_gradient_of_attention_equals_the_differences_of_the_loop(method):
    arrays, table, weights = tokens(5, 4), random(2, 3, 5, seed=3), random(2, 5, 2, 4, seed=4)

    def loss(query, key, value, table):
        out = attend(query, key, value, bias=relative_bias(table, 3), method=method, query_chunk=2,
                     key_chunk=3)
        return jnp.sum(out * weights)

    def slow(query, key, value, table):
        return np.sum(attention.attend(query, key, value,
                                       attention.offsets(table, (2, 3))[:, :5, :4]) * weights)

    gradient = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*arrays, table)
    for a, b in zip(gradient, central_differences(slow, *arrays, table), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_chunks_change_neither_value_nor_gradient():
    arrays, weights, table = tokens(37, 50, 8), random(2, 37, 2, 8, seed=3), random(2, 5, 7, seed=4)

    def loss(arrays, table, options):
        out = attend(*arrays, bias=relative_bias(table, 6), **options)
        return jnp.sum(out * weights), out

    methods = (dict(method='dense'), dict(method='chunked', query_chunk=16, key_chunk=11))
    both = [jax.jit(jax.grad(functools.partial(loss, options=options), (0, 1), has_aux=True))
            for options in methods]
    both = [gradient(arrays, table) for gradient in both]
    (dense, out), (chunked, out_chunked) = both
    np.testing.assert_allclose(out_chunked, out, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), chunked,
                 dense)


@pytest.mark.parametrize('options', [dict(method='dense'), CHUNKS], ids=str)
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_scores_of_ten_thousand_overflow_neither_forward_nor_backward(options, dtype):
    signs = np.array([1, -1, 1, -1, 1], np.float32)
    key = jnp.asarray(200 * signs[:, None] * np.eye(5, 4)[[0, 1, 2, 3, 3]], dtype)[None, :, None]
    value = jnp.arange(20).reshape(1, 5, 1, 4).astype(dtype)
    # Query i meets key i with a score of +-20,000, the last two each other's negative.
    @jax.jit
    def with_gradient(*arrays):
        out, vjp_fn = jax.vjp(functools.partial(attend, **options), *arrays)
        return out, vjp_fn(out)

    out, gradient = with_gradient(key, key, value)
    np.testing.assert_allclose(np.asarray(out, np.float32), np.asarray(value, np.float32),
                               atol=1e-3)
    assert out.dtype == dtype
    for slope in gradient:
        assert slope.dtype == dtype and np.isfinite(np.asarray(slope, np.float32)).all()


def test_chunks_at_90_by_120_take_less_than_a_tenth_of_the_memory():
    array = jax.ShapeDtypeStruct((1, 90 * 120, 1, 8), jnp.float32)

    def memory(function):
        compiled = jax.jit(function).lower(array, array, array).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def loss(*arrays, method):
        return jnp.sum(attend(*arrays, method=method) ** 2)

    for made in (lambda f: f, lambda f: jax.grad(f, (0, 1, 2))):
        dense, chunked = (memory(made(functools.partial(loss, method=method)))
                          for method in ('dense', 'chunked'))
        assert 0 < chunked < dense / 10


def test_many_tokens_go_by_chunks_and_few_do_not():
    for n, chunked in ((64, False), (DENSE_SCORES // 64 + 1, True)):
        arrays = [jax.ShapeDtypeStruct((1, length, 1, 4), jnp.float32) for length in (n, 64, 64)]
        assert ('scan' in str(jax.make_jaxpr(attend)(*arrays))) == chunked


@pytest.mark.parametrize('capability, dtype, d, biased, chosen', [
    ('9.0', 'bfloat16', 32, False, 'cudnn'), ('8.0', 'float16', 128, False, 'cudnn'),
    ('12.0', 'bfloat16', 8, False, 'cudnn'), ('7.5', 'bfloat16', 32, False, 'xla'),
    ('gfx942', 'bfloat16', 32, False, 'xla'), (None, 'bfloat16', 32, False, 'xla'),
    ('9.0', 'float32', 32, False, 'xla'), ('9.0', 'bfloat16', 136, False, 'xla'),
    ('9.0', 'bfloat16', 12, False, 'xla'), ('9.0', 'bfloat16', 32, True, 'xla')])
def test_the_fused_kernel_is_used_only_where_it_is_supported(monkeypatch, capability, dtype, d,
                                                             biased, chosen):
    known = {} if capability is None else dict(compute_capability=capability)
    device = types.SimpleNamespace(**known)
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    monkeypatch.setattr(jax, 'devices', lambda: [device])
    monkeypatch.setattr(jax.nn, 'dot_product_attention',
                        lambda *args, implementation: implementation)
    array = np.zeros((1, 8, 1, d), dtype)
    bias = relative_bias(jnp.zeros((1, 1, 1)), 8) if biased else None
    assert attend(array, array, array, bias=bias) == chosen


def test_the_fused_kernel_is_neither_used_in_files_nor_where_tokens_are_split(monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    monkeypatch.setattr(jax, 'devices', lambda: [types.SimpleNamespace(compute_capability='9.0')])
    monkeypatch.setattr(jax.nn, 'dot_product_attention',
                        lambda *args, implementation: implementation)
    array = np.zeros((1, 8, 1, 32), 'bfloat16')
    mesh = AbstractMesh((1, 1, 2), ('data', 'fsdp', 'space'), axis_types=(AxisType.Auto,) * 3)
    for context in (traced_for('cpu'), use_abstract_mesh(mesh)):
        with context:
            assert attend(array, array, array) == 'xla'
    assert attend(array, array, array) == 'cudnn'


def test_chunks_with_a_bias_work_inside_vmap_scan_and_remat():
    query, key, value = (array[None].repeat(3, 0) for array in tokens(5, 7))

    def loss(query, table, options):
        one = jax.vmap(lambda *arrays: attend(*arrays, bias=relative_bias(table, 3), **options))

        @jax.checkpoint
        def step(total, arrays):
            return total + jnp.sum(one(*(array[None] for array in arrays)) ** 2), None

        return jax.lax.scan(step, 0.0, (query, key, value))[0]

    gradients = [jax.jit(jax.grad(functools.partial(loss, options=options), (0, 1)))
                 for options in (dict(method='dense'), CHUNKS)]
    dense, chunked = (gradient(query, random(2, 5, 5, seed=3)) for gradient in gradients)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), chunked,
                 dense)


def test_an_unknown_method_is_named():
    with pytest.raises(InputError, match="method: 'fast' is unknown; known: auto, dense, chunked"):
        attend(*tokens(2, 2), method='fast')


# Positions.

def test_rotations_equal_the_loop_over_planes():
    x = random(2, 3, 5, 2, 8)
    np.testing.assert_allclose(np.asarray(rotate_2d(x)).reshape(2, 15, 2, 8),
                               attention.rotate(x.reshape(2, 15, 2, 8), 3, 5), atol=1e-5)


def test_rotated_attention_depends_on_offsets_alone():
    query, key, value = (random(1, 3, 4, 2, 8, seed=seed) for seed in range(3))

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def moved(down: int, right: int) -> jax.Array:
        """The same tokens somewhere in a larger map, attending to each other."""
        place = ((0, 0), (down, 0), (right, 0), (0, 0), (0, 0))
        q, k = (rotate_2d(jnp.pad(array, place))[:, down:, right:] for array in (query, key))
        return attend(*(array.reshape(1, 12, 2, 8) for array in (q, k, value)))

    for down, right in ((5, 0), (0, 7), (60, 90)):
        np.testing.assert_allclose(moved(down, right), moved(0, 0), atol=2e-5)
    plain = attend(*(array.reshape(1, 12, 2, 8) for array in (query, key, value)))
    assert np.abs(np.asarray(plain) - moved(0, 0)).max() > 1e-2


def test_rotations_rotate_half_of_the_head_by_the_row_and_half_by_the_column():
    out = np.asarray(rotate_2d(np.ones((1, 3, 4, 1, 8), np.float32)))[0, :, :, 0]
    np.testing.assert_array_equal(out[..., [0, 1, 4, 5]], out[:, :1, [0, 1, 4, 5]].repeat(4, 1))
    np.testing.assert_array_equal(out[..., [2, 3, 6, 7]], out[:1, :, [2, 3, 6, 7]].repeat(3, 0))
    np.testing.assert_array_equal(out[0, 0], np.ones(8))


def test_learned_positions_are_a_row_plus_a_column_stretched_linearly():
    layer = LearnedPosition(5, (3, 4))
    params = {'rows': random(3, 5), 'columns': random(4, 5, seed=1)}
    own = layer.apply({'params': params}, 3, 4)
    np.testing.assert_allclose(own, params['rows'][:, None] + params['columns'][None], atol=1e-6)
    other = np.asarray(layer.apply({'params': params}, 6, 9))
    for i, j, c in np.ndindex(6, 9, 5):
        row = np.interp((i + 0.5) * 3 / 6 - 0.5, np.arange(3), params['rows'][:, c])
        column = np.interp((j + 0.5) * 4 / 9 - 0.5, np.arange(4), params['columns'][:, c])
        assert abs(other[i, j, c] - row - column) < 1e-5
