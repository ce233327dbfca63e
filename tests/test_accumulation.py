"""Accumulated gradients are those of the whole batch, under void and over devices."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.errors import InputError
from jaxseg.losses.dice import dice
from jaxseg.losses.weighted import WeightedSum
from jaxseg.training.accumulation import split_batch
from jaxseg.training.layout import make_layout
from jaxseg.training.parallel import Parallel
from jaxseg.training.supervised import Supervised
from tests.algorithms import example, given, initial, largest_difference, make, steps
from tests.selection import default_cases


def one_step(**options):
    """The states before and after a step, and its metrics."""
    algorithm = make(Supervised, **options)
    return steps(algorithm, state=initial(algorithm))


@pytest.fixture(scope='module')
def supervised():
    return one_step()


@pytest.mark.parametrize('count', default_cases([2, 4], [4]))
def test_accumulated_gradients_are_those_of_the_whole_batch(count, supervised):
    (_, whole), metrics = supervised
    (_, parts), accumulated = one_step(accumulate=count)
    assert largest_difference(parts.params, whole.params) < 1e-6
    assert accumulated.keys() == metrics.keys()
    for name in ('loss', 'cross_entropy', 'dice', 'gradient_norm'):
        np.testing.assert_allclose(accumulated[name], metrics[name], rtol=1e-5)


def test_accumulation_over_mapped_devices_is_that_of_one(supervised):
    (start, whole), metrics = supervised
    layout = make_layout(Parallel(strategy='pmap'))
    algorithm = make(Supervised, accumulate=2, axis_name=layout.axis_name)
    batch = jax.tree.map(lambda x: np.concatenate([x, x]), example())
    state, found = layout.compile_step(algorithm.step, 0, start, batch)(
        layout.replicate(start), layout.put_batch(batch), np.int32(0))
    assert largest_difference(layout.unreplicate(state).params, whole.params) < 1e-6
    np.testing.assert_allclose(found['loss'], metrics['loss'], rtol=1e-5)


def test_the_mean_of_gradients_is_not_the_gradient_of_the_whole_batch(supervised):
    """The examples are unequal enough to show what `task.counts` is for."""
    (state, whole), _ = supervised
    step, batch = jax.jit(make(Supervised).step), example()
    halves = [step(state, jax.tree.map(lambda x, i=i: x[i::2], batch), jax.random.key(0))[0].params
              for i in (0, 1)]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *halves)
    assert largest_difference(mean, whole.params) > 1e-3


def test_running_statistics_take_the_update_of_every_microbatch_in_turn():
    (start, end), _ = one_step(rate=0.0, norm='batch', accumulate=2)
    step, state = jax.jit(make(Supervised, rate=0.0, norm='batch').step), start
    microbatches = split_batch(example(), 2)
    for index in (0, 1):
        state, _ = step(state, jax.tree.map(lambda x, i=index: x[i], microbatches),
                        jax.random.key(0))
    assert largest_difference(end.collections, state.collections) < 1e-5
    assert largest_difference(end.collections, start.collections) > 1e-3


def test_every_microbatch_has_images_of_every_device():
    batch = {'x': np.arange(8)}  # of four devices: 0 and 1, 2 and 3, 4 and 5, 6 and 7
    assert split_batch(batch, 2)['x'].tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_what_cannot_be_accumulated_is_refused():
    key, algorithm = jax.random.key(0), make(Supervised, accumulate=3)
    state = jax.eval_shape(algorithm.init, key, example())
    with pytest.raises(InputError, match='^algorithm.accumulate: a batch of 4 .* batch_size=6'):
        jax.eval_shape(algorithm.step, state, example(), key)
    algorithm = dataclasses.replace(algorithm, accumulate=2)
    with (jax.set_mesh(make_layout(Parallel()).mesh),
          pytest.raises(InputError, match='each of 4 devices; .* batch_size=8')):
        jax.eval_shape(algorithm.step, state, example(), key)
    algorithm = dataclasses.replace(algorithm, task=WithoutCounts(given()['task']))
    with pytest.raises(InputError, match='accumulate: WithoutCounts has no method `counts`'):
        jax.eval_shape(algorithm.step, state, example(), key)


def test_the_name_of_a_loss_may_have_a_slash():
    algorithm = make(Supervised, accumulate=2)
    task = dataclasses.replace(algorithm.task, terms=WeightedSum({'edges/dice': (1.0, dice)}))
    algorithm = dataclasses.replace(algorithm, task=task)
    state = jax.eval_shape(algorithm.init, jax.random.key(0), example())
    _, metrics = jax.eval_shape(algorithm.step, state, example(), jax.random.key(0))
    assert 'edges/dice' in metrics


class Draw(nn.Module):
    """Outputs a random number an image."""

    @nn.compact
    def __call__(self, x, *, train):
        weight = self.param('weight', nn.initializers.ones, ())
        return weight * jax.random.uniform(self.make_rng('dropout'), (len(x),))


class Moments:
    """A task whose losses are the mean of the outputs and that of their squares."""

    def losses(self, outputs, batch):
        counts = self.counts(batch)
        return {'mean': (outputs.sum(), counts['mean']),
                'square': ((outputs ** 2).sum(), counts['square'])}

    def counts(self, batch):
        return dict.fromkeys(('mean', 'square'), jnp.float32(len(batch['image'])))

    def total(self, parts):
        return parts['mean'][0] / parts['mean'][1]

    def metrics(self, parts):
        return {name: value / count for name, (value, count) in parts.items()}


def test_every_microbatch_has_random_numbers_of_its_own():
    algorithm = Supervised(Draw(), Moments(), lambda batch, key: batch, optax.sgd(0.0),
                           accumulate=4)
    batch = {'image': jnp.zeros((4, 2, 2, 1))}
    state = algorithm.init(jax.random.key(0), batch)
    _, found = algorithm.step(state, batch, jax.random.key(1))
    assert found['square'] - found['mean'] ** 2 > 1e-3  # equal numbers have no variance


class WithoutCounts:
    """A task whose counts are not known in advance."""

    def __init__(self, task):
        self.losses, self.total, self.metrics = task.losses, task.total, task.metrics
