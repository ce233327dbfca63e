"""Averages of weights: their closed forms, in checkpoints, over devices, and what is scored."""

import csv
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.training.accumulation import split_batch
from jaxseg.training.averaging import EMA, SWA, AveragedState
from jaxseg.training.layout import make_layout
from jaxseg.training.parallel import Parallel
from jaxseg.training.supervised import Supervised
from tests.algorithms import RUN, example, initial, largest_difference, make, run_in_two, steps


@dataclasses.dataclass(frozen=True)
class Walk:
    """An algorithm whose weights are 1, 4, 9, ... after each step, beside a counter."""

    axis_name = None

    def init(self, key, batch):
        return jnp.zeros((), jnp.int32)

    def step(self, state, batch, key):
        return state + 1, {}

    def variables(self, state):
        return {'w': jnp.float32(state) ** 2, 'count': state}


def averages(algorithm, count):
    """After every step."""
    state, found = algorithm.init(None, None), []
    step = jax.jit(algorithm.step)
    for _ in range(count):
        state, _ = step(state, None, None)
        found.append(float(algorithm.variables(state)['w']))
        assert int(algorithm.variables(state)['count']) == len(found)
        assert float(algorithm.compared(state)['raw']['w']) == len(found) ** 2
    return found


@pytest.mark.parametrize('decay', [0.5, 0.9999])
def test_a_moving_average_is_the_weighted_mean_of_all_steps(decay):
    expected = []
    for last in range(1, 6):
        weights = decay ** np.arange(last - 1, -1, -1.0)
        expected.append((weights * np.arange(1, last + 1) ** 2).sum() / weights.sum())
    np.testing.assert_allclose(averages(EMA(Walk(), decay), 5), expected, rtol=1e-5)
    if decay == 0.5:  # by hand: (0.5 1 + 4) / 1.5
        np.testing.assert_allclose(expected[1], 3)


def test_stochastic_weight_averaging_is_the_mean_of_the_late_steps():
    found = averages(SWA(Walk(), steps=6, start=0.5), 6)
    np.testing.assert_allclose(found, [1, 4, 9, 16, (16 + 25) / 2, (16 + 25 + 36) / 3], rtol=1e-6)
    np.testing.assert_allclose(averages(SWA(Walk(), steps=2, start=0.0), 2), [1, 2.5], rtol=1e-6)


def test_stochastic_weight_averaging_takes_the_statistics_of_the_averaged_weights():
    """Four devices, each with two microbatches, against one."""
    layout, algorithm = make_layout(Parallel(strategy='pmap')), make(Supervised, norm='batch')
    swa = SWA(dataclasses.replace(algorithm, accumulate=2, axis_name=layout.axis_name), steps=5,
              start=0.2)  # from step 2 on
    start, batch = initial(algorithm), jax.tree.map(lambda x: np.concatenate([x, x]), example())
    state = AveragedState(start, algorithm.variables(start), np.int32(0))
    step, state = layout.compile_step(swa.step, 0, state, batch), layout.replicate(state)
    for index in range(4):
        state, _ = step(state, layout.put_batch(batch), np.int32(index))
    found = layout.unreplicate(state).average
    _, *states = steps(dataclasses.replace(algorithm, accumulate=2), 4, state=start)[0]
    # By hand: a model with the mean weights of steps 2 and 3 sees a batch, with those of 2 to 4 the
    # next one, beginning with the statistics of step 2.
    images = split_batch(algorithm.preprocess(example(), None)['image'], 2)
    apply = jax.jit(lambda variables, x: algorithm.model.apply(
        variables, x, train=True, mutable=['batch_stats'])[1])
    statistics = states[1].collections
    for last in (3, 4):
        params = jax.tree.map(lambda *x: sum(x) / len(x),
                              *(state.params for state in states[1:last]))
        for x in images:
            statistics = apply({'params': params, **statistics}, x)
    assert largest_difference(found, {'params': params, **statistics}) < 1e-5
    assert largest_difference(statistics, states[3].collections) > 1e-3


def test_stochastic_weight_averaging_of_batch_norm_needs_a_method_for_its_statistics():
    class Other:
        axis_name = None

        def __init__(self, algorithm):
            self.init, self.step = algorithm.init, algorithm.step
            self.variables = algorithm.variables

    def step(norm):
        swa = SWA(Other(make(Supervised, norm=norm)), steps=5)
        jax.eval_shape(lambda batch: swa.step(
            swa.init(jax.random.key(0), batch), batch, jax.random.key(0)), example())

    step('group')
    with pytest.raises(InputError, match='algorithm.algorithm: Other has no method with_stat'):
        step('batch')


NESTED = {'type': 'averaging.EMA', 'decay': 0.5, 'algorithm': {
    'type': 'supervised.Supervised', 'accumulate': 2, 'freeze': ['encoder/.*']}}


@pytest.mark.parametrize('strategy', ['jit', 'pmap'])
def test_an_average_around_accumulation_and_a_frozen_part_is_a_run(strategy, tmp_path):
    """It continues bit for bit, and both the average and the last weights are scored."""
    config = {**RUN, 'algorithm': NESTED, 'batch_size': 8, 'parallel': {'strategy': strategy}}
    at_once, resumed = run_in_two(config, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, at_once, resumed)
    model, training = at_once
    raw = {tuple(name.split('.')[2:]): leaf for name, leaf in training.items()
           if name.startswith('inner.params.')}
    for path, leaf in raw.items():
        mean = model['params']
        for word in path:
            mean = mean[word]
        assert (np.abs(leaf - mean).max() > 0) == (path[0] != 'encoder'), path
    with (tmp_path / 'metrics.csv').open() as file:
        last = list(csv.DictReader(file))[-1]
    assert 0 < float(last['val_miou']) < 1 and 0 < float(last['val_raw_miou']) < 1
    assert last['val_miou'] != last['val_raw_miou']
