"""Initial values of recurrences: as in the papers, with states that last over a side of the map."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers.chrono_bias_init import REACH
from jaxseg.layers.linear_cells import LINEAR
from jaxseg.layers.recurrence import Recurrence


@functools.partial(jax.jit, static_argnums=0)
def run(layer, params, x):
    return layer.apply({'params': params}, x)[0]


@pytest.mark.parametrize('cell, keeps, lets_in', [
    ('gru', [1], []), ('lstm', [1], [0]), ('mgu', [], [0]), ('mingru', [], [0]),
    ('minlstm', [0], [1])])
def test_a_gated_cell_starts_with_half_lives_of_up_to_a_side_of_the_map(cell, keeps, lets_in):
    variables = Recurrence(500, cell).init(jax.random.key(0), np.zeros((1, 2, 2), np.float32))
    gates = np.asarray(variables['params']['input_bias']).reshape(-1, 500)
    for index, gate in enumerate(gates):
        if index in keeps:
            assert 0 <= gate.min() < 0.2 and np.log(REACH - 3) < gate.max() < np.log(REACH - 1)
            assert np.exp(gate).mean() == pytest.approx(REACH / 2, rel=0.1)
        elif index not in lets_in:
            np.testing.assert_array_equal(gate, 0)
    for index in lets_in:
        np.testing.assert_array_equal(gates[index],
                                      -gates[keeps[0]] if keeps else -np.abs(gates[index]))


def test_a_state_of_a_gated_cell_lasts_over_a_side_of_the_map_at_the_start():
    # The share of an input at the first position in the last of 24 states, with biases and without.
    x = np.zeros((1, 24, 8), np.float32)
    x[:, 0] = 1
    for cell in ('gru', 'mingru', 'minlstm', 'mgu'):
        layer = Recurrence(64, cell)
        params = jax.jit(layer.init)(jax.random.key(0), x)['params']
        flat = {**params, 'input_bias': jnp.zeros_like(params['input_bias'])}
        moved = [np.abs(run(layer, p, x)[0, -1] - run(layer, p, 0 * x)[0, -1]).mean()
                 for p in (params, flat)]
        assert moved[0] > 30 * moved[1] > 0


def test_decays_begin_where_the_papers_say():
    x = jnp.zeros((1, 2, 256))

    def start(cell):
        return jax.jit(Recurrence(256, cell).init)(jax.random.key(0), x)['params']

    decay = np.exp(-8 * np.log1p(np.exp(start('rglru')['decay'])))
    assert 0.9 <= decay.min() < 0.905 and 0.994 < decay.max() <= 0.999
    s6 = start('s6')
    np.testing.assert_allclose(np.exp(s6['log_decay'][3]), np.arange(1, 17), rtol=1e-5)
    step = np.log1p(np.exp(s6['step_bias']))
    assert 9e-4 < step.min() < 1.3e-3 and 0.08 < step.max() < 0.101
    lru = start('lru')
    radius = np.exp(-np.exp(lru['nu']))
    assert 0.899 < radius.min() < 0.91 and 0.99 < radius.max() < 0.9991
    np.testing.assert_allclose(np.exp(lru['log_gain']), np.sqrt(1 - radius ** 2), rtol=1e-3)
    phase = np.exp(lru['theta'])
    assert 9e-4 < phase.min() < 0.01 and 0.3 < phase.max() < 0.3142  # pi / 10


@pytest.mark.parametrize('cell', LINEAR)
def test_the_output_of_a_linear_cell_grows_no_faster_than_its_input(cell):
    # A thousand times the input: a product of x with functions of x would grow as a power of it.
    x, layer = (np.random.default_rng(0).normal(size=(1, 24, 16)).astype(np.float32),
                Recurrence(16, cell))
    params = jax.jit(layer.init)(jax.random.key(0), x)['params']
    small, large = (np.abs(run(layer, params, scale * x)).max() for scale in (1, 1000))
    assert large < 3000 * small
