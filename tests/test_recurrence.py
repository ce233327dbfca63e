"""Recurrences: equal to plain loops, in every schedule, in pieces, padded, with extreme values."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.layers.linear_cells import LINEAR, softplus
from jaxseg.layers.linear_recurrence import SCHEDULES, linear_recurrence
from jaxseg.layers.nonlinear_cells import NONLINEAR
from jaxseg.layers.recurrence import CELLS, Recurrence
from tests.references import recurrence
from tests.references.gradient import central_differences
from tests.selection import as_trials, default_cases
from tests.variables import random, random_variables


def decays(*shape: int) -> np.ndarray:
    """Between 0 and 1, and some of them exactly 0 or 1."""
    a = np.random.default_rng(7).uniform(-0.2, 1.2, shape)
    return np.clip(a, 0, 1).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def run(layer, params, x, state=None, valid=None):
    return layer.apply({'params': params}, x, state, valid)


@functools.partial(jax.jit, static_argnames=('schedule', 'reverse'))
def recur(a, b, start=None, schedule='auto', reverse=False):
    return linear_recurrence(a, b, start, schedule=schedule, reverse=reverse)


# The function h_t = a_t h_(t-1) + b_t

def test_four_steps_by_hand():
    a, b = (jnp.array([[0.5, 0.0, 1.0, 2.0]])[..., None],
            jnp.array([[1.0, 2.0, 3.0, 4.0]])[..., None])
    for schedule in SCHEDULES:
        h, last = recur(a, b, jnp.array([[8.0]]), schedule)
        np.testing.assert_array_equal(h[0, :, 0], [5, 2, 5, 14])
        assert last[0, 0] == 14
        h, last = recur(a, b, jnp.array([[8.0]]), schedule, True)
        np.testing.assert_array_equal(h[0, :, 0], [2, 2, 23, 20])
        assert last[0, 0] == 2


@pytest.mark.parametrize('reverse, length', default_cases(
    itertools.product([False, True], [1, 2, 3, 16, 23]), [(False, 1), (True, 3), (False, 23)]))
def test_every_schedule_equals_the_loop_and_the_others_forward_and_backward(length, reverse):
    a, b, start = decays(2, length, 3), random(2, length, 3), random(2, 3, seed=1)
    flipped = (lambda x: x[:, ::-1]) if reverse else (lambda x: x)
    expected = flipped(recurrence.linear(flipped(a), flipped(b), start))
    gradients = {}
    for schedule in SCHEDULES:
        h, last = recur(a, b, start, schedule, reverse)
        np.testing.assert_allclose(h, expected, atol=1e-5)
        np.testing.assert_array_equal(last, h[:, 0 if reverse else -1])
        gradients[schedule] = jax.jit(jax.grad(lambda *args, schedule=schedule: sum(
            jnp.sum(jnp.sin(part))
            for part in linear_recurrence(*args, schedule=schedule, reverse=reverse)),
            (0, 1, 2)))(a, b, start)

    def loss(a, b, start):
        h = recurrence.linear(flipped(a), flipped(b), start)
        return np.sin(h).sum() + np.sin(h[:, -1]).sum()

    differences = central_differences(loss, a, b, start)
    for gradient in gradients.values():
        for one, other in zip(gradient, differences, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_time_may_be_the_first_axis(schedule):
    a, b, start = decays(2, 7, 3), random(2, 7, 3), random(2, 3, seed=1)
    first = jax.jit(functools.partial(linear_recurrence, schedule=schedule, reverse=True, axis=0))
    h, last = first(*(np.swapaxes(x, 0, 1) for x in (a, b)), start)
    expected, expected_last = recur(a, b, start, schedule, True)
    np.testing.assert_array_equal(np.swapaxes(h, 0, 1), expected)
    np.testing.assert_array_equal(last, expected_last)


def test_complex_decays_rotate_the_state():
    @functools.partial(jax.jit, static_argnums=1)
    def turned(angle, schedule):
        a = jnp.full((1, 4, 1), jnp.exp(1j * angle))
        return linear_recurrence(a, jnp.zeros((1, 4, 1)), jnp.ones((1, 1)),
                                 schedule=schedule)[0][0, :, 0]

    for schedule in SCHEDULES:
        np.testing.assert_allclose(turned(np.pi / 2, schedule), [1j, -1, -1j, 1], atol=1e-6)
        # The real part of e^(4 i t) has the derivative -4 sin(4 t).
        gradient = jax.jit(jax.grad(
            lambda angle, schedule=schedule: turned(angle, schedule)[-1].real))(0.3)
        np.testing.assert_allclose(gradient, -4 * np.sin(1.2), rtol=1e-5)


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_decays_of_zero_and_one_are_exact(schedule):
    b = random(2, 50, 3)
    keeps, _ = recur(np.ones((2, 50, 3), np.float32), np.zeros((2, 50, 3), np.float32), b[:, 0],
                     schedule)
    np.testing.assert_array_equal(keeps, np.repeat(b[:, :1], 50, 1))
    forgets, _ = recur(np.zeros((2, 50, 3), np.float32), b, b[:, 0], schedule)
    np.testing.assert_array_equal(forgets, b)


def test_a_sequence_in_pieces_is_the_whole_bit_for_bit():
    a, b, start = decays(3, 40, 4), random(3, 40, 4), random(3, 4, seed=1)
    for reverse in (False, True):
        whole, last = recur(a, b, start, 'sequential', reverse)
        pieces, carry = [], start
        for piece in [np.s_[:, 33:], np.s_[:, 7:33], np.s_[:, :7]][::1 if reverse else -1]:
            h, carry = recur(a[piece], b[piece], carry, 'sequential', reverse)
            pieces.append(h)
        np.testing.assert_array_equal(np.concatenate(pieces[::-1] if reverse else pieces, 1), whole)
        np.testing.assert_array_equal(carry, last)


def test_an_unknown_schedule_is_named():
    with pytest.raises(InputError,
                       match="schedule: 'parallel' is unknown; known: auto, sequential"):
        linear_recurrence(jnp.ones((1, 2, 1)), jnp.ones((1, 2, 1)), schedule='parallel')


# Cells

# 37 steps are three chunks of S6, the last one padded.
@pytest.mark.parametrize('reverse, length', default_cases(
    itertools.product([False, True], [5, 37]), [(True, 37)]))
@pytest.mark.parametrize('cell', CELLS)
def test_every_cell_equals_its_loop(cell, reverse, length):
    x, layer = random(2, length, 4), Recurrence(6, cell, reverse)
    params = random_variables(layer, x)['params']
    y, _ = run(layer, params, x)
    assert y.shape == (2, length, 6)
    np.testing.assert_allclose(y, recurrence.recur(cell, x, params, reverse=reverse), atol=1e-5)


@pytest.mark.parametrize('reverse', default_cases([False, True], [True]))
@pytest.mark.parametrize('cell, length', [*((cell, 3) for cell in CELLS), *as_trials(('s6', 37))])
def test_the_gradient_of_every_cell_equals_the_differences_of_its_loop(cell, length, reverse):
    x, weights, layer = (random(1, length, 2), random(1, length, 2, seed=1),
                         Recurrence(2, cell, reverse))
    params = random_variables(layer, x)['params']
    gradient = jax.jit(jax.grad(
        lambda params, x: jnp.sum(layer.apply({'params': params}, x)[0] * weights), (0, 1)))
    gradient = gradient(params, x)
    expected = central_differences(
        lambda params, x: np.sum(recurrence.recur(cell, x, params, reverse=reverse) * weights),
        params, x)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize('reverse', default_cases([False, True], [False]))
@pytest.mark.parametrize('cell', CELLS)
def test_pieces_of_a_sequence_with_the_state_handed_on_give_the_whole(cell, reverse):
    x, layer = random(2, 13, 4), Recurrence(4, cell, reverse)
    params = random_variables(layer, x)['params']
    whole, last = run(layer, params, x)
    first, second = (x[:, 8:], x[:, :8]) if reverse else (x[:, :5], x[:, 5:])
    one, state = run(layer, params, first)
    two, state = run(layer, params, second, state)
    np.testing.assert_allclose(np.concatenate([two, one] if reverse else [one, two], 1), whole,
                               atol=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), state, last)


@pytest.mark.parametrize('reverse', default_cases([False, True], [True]))
@pytest.mark.parametrize('cell', CELLS)
def test_a_padded_row_gives_what_the_row_gives(cell, reverse):
    x, layer = random(2, 6, 4), Recurrence(4, cell, reverse)
    params = random_variables(layer, x)['params']
    padded = np.concatenate([x, np.full((2, 3, 4), 50, np.float32)], 1)
    valid = np.arange(9)[None] < np.array([[6], [6]])
    out, state = run(layer, params, padded, None, valid)
    expected, last = run(layer, params, x)
    np.testing.assert_allclose(out[:, :6], expected, atol=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), state, last)

    def loss(x):
        return jnp.sum(jnp.square(layer.apply({'params': params}, x, None, valid)[0][:, :6]))

    gradient = jax.jit(jax.grad(loss))(padded)
    assert not np.any(gradient[:, 6:]) and np.any(gradient[:, :6])


@pytest.mark.parametrize('cell', default_cases(CELLS, ('gru', 'mingru', 's6', 'lru')))
def test_4096_steps_of_bfloat16_stay_finite_forward_and_backward(cell):
    x = (3 * random(1, 4096, 8)).astype(jnp.bfloat16)
    layer = Recurrence(8, cell)
    params = jax.jit(layer.init)(jax.random.key(0), x)['params']

    def loss(params, x):
        y, state = layer.apply({'params': params}, x)
        assert y.dtype == jnp.bfloat16
        assert all(part.dtype in (jnp.float32, jnp.complex64) for part in jax.tree.leaves(state))
        return jnp.mean(jnp.square(y.astype(jnp.float32)))

    value, gradient = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x)
    assert np.isfinite(value) and value > 0
    for leaf in jax.tree.leaves(gradient):
        values = np.asarray(leaf, np.float32)
        assert np.isfinite(values).all() and np.any(values)


@pytest.mark.parametrize('cell', LINEAR)
def test_gates_that_are_driven_shut_or_open_leave_finite_gradients(cell):
    layer = Recurrence(4, cell)
    gradients = jax.jit(jax.grad(
        lambda params, x: jnp.sum(layer.apply({'params': params}, x)[0]), (0, 1)))
    for size in (0.0, 1e4, -1e4):
        x = np.full((1, 6, 4), size, np.float32)
        gradient = gradients(random_variables(layer, x)['params'], x)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_the_state_of_a_recurrence_is_float32_under_bfloat16():
    # An update gate near 1 keeps the state: increments of 2 ** -10 vanish next to 1 in bfloat16,
    # not in float32.
    layer, x = Recurrence(1), jnp.ones((1, 40, 1), jnp.bfloat16)
    params = {'input_kernel': jnp.array([[0.0, 7.0, 4.0]]), 'input_bias': jnp.zeros(3),
              'recurrent_kernel': jnp.zeros((1, 3)), 'recurrent_bias': jnp.zeros(1)}
    out, _ = layer.apply({'params': params}, x)
    assert out.dtype == jnp.bfloat16
    keep = 1 / (1 + np.exp(-7.0))
    np.testing.assert_allclose(float(out[0, -1, 0]), np.tanh(4) * (1 - keep ** 40), rtol=5e-3)


def test_softplus_keeps_its_last_digits():
    x = np.concatenate([np.linspace(-100, 100, 2001), [0.0, -17.0]]).astype(np.float32)
    expected = np.log1p(np.exp(-np.abs(x.astype(float)))) + np.maximum(x, 0)
    np.testing.assert_allclose(jax.jit(softplus)(x), expected, rtol=5e-7, atol=1e-37)
    np.testing.assert_allclose(jax.vmap(jax.grad(softplus))(x), jax.nn.sigmoid(x), rtol=1e-6)


@pytest.mark.parametrize('cell', CELLS)
def test_every_cell_runs_in_bfloat16_at_the_width_of_a_model(cell):
    # Some products of bfloat16 compile on CPU and then fail, from a certain size on.
    x, layer = random(20, 45, 128).astype(jnp.bfloat16), Recurrence(128, cell)
    params = jax.eval_shape(layer.init, jax.random.key(0), x)['params']
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01), params)
    y, _ = run(layer, params, x)
    assert y.dtype == jnp.bfloat16 and np.isfinite(np.asarray(y, np.float32)).all()


@pytest.mark.parametrize('reverse', default_cases([False, True], [True]))
@pytest.mark.parametrize('cell', NONLINEAR)
def test_unrolling_and_chunks_change_nothing_but_time_and_memory(cell, reverse):
    x, weights = random(2, 11, 3), random(2, 11, 4, seed=1)
    plain = Recurrence(4, cell, reverse)
    params = random_variables(plain, x)['params']

    def gradient(layer):
        def loss(params, x):
            y, state = layer.apply({'params': params}, x)
            return jnp.sum(y * weights) + sum(map(jnp.sum, jax.tree.leaves(state)))

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x)

    expected = gradient(plain)
    for options in ({'unroll': 4}, {'remat': 4}):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5),
                     gradient(plain.clone(**options)), expected)


def test_chunks_keep_the_memory_of_the_backward_pass_small():
    x = jax.ShapeDtypeStruct((8, 4096, 32), jnp.float32)

    def temporary(remat):
        layer = Recurrence(32, 'gru', remat=remat)
        params = jax.eval_shape(layer.init, jax.random.key(0), x)
        loss = jax.grad(lambda params, x: jnp.sum(layer.apply(params, x)[0][:, -1]))
        return jax.jit(loss).lower(params, x).compile().memory_analysis().temp_size_in_bytes

    assert temporary(64) < 0.35 * temporary(0)


def test_options_that_a_cell_does_not_have_are_refused():
    x = jnp.zeros((1, 2, 3))
    for options, words in (({'cell': 'gru', 'schedule': 'chunked'}, "schedule: 'chunked'.*'gru'"),
                           ({'cell': 'mingru', 'remat': 4}, "unroll, remat: 1 and 4.*'mingru'")):
        with pytest.raises(InputError, match=words):
            jax.eval_shape(Recurrence(4, **options).init, jax.random.key(0), x)
