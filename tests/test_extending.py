"""Parts of one's own: every kind is one file outside of the package, named in a config.

The files are in tests/extension. `CONFIG` uses all of them but the algorithms, which come after.
"""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxseg
from jaxseg.build import build, build_function
from jaxseg.commands import main
from jaxseg.errors import InputError
from jaxseg.losses.weighted import WeightedSum
from jaxseg.training.optimizer import applied_rate
from jaxseg.training.supervised import Supervised
from tests.algorithms import CLASSES, example, largest_difference, make, run_in_two, steps
from tests.extension.adversarial import Adversarial
from tests.extension.data import Gradients
from tests.extension.loss import brier
from tests.extension.mean_teacher import MeanTeacher
from tests.extension.optimizer import signed
from tests.extension.task import Ordinal
from tests.extension.transform import Erase
from tests.selection import default_cases

CONFIG = dict(
    steps=60, batch_size=4, evaluate_every=60, report_every=20,
    data=dict(type='tests.extension.data:Gradients', samples=8),
    transforms=[dict(type='tests.extension.transform:Erase', p=0.5)],
    model=dict(
        type='segmentation_model.SegmentationModel',
        encoder=dict(type='tests.extension.encoder:Patches', patch=2),
        decoder=dict(type='tests.extension.decoder:SumOfStages', features=8),
    ),
    task=dict(type='tests.extension.task:Ordinal'),
    losses=dict(brier=dict(type='tests.extension.loss:brier', scale=2.0)),
    optimizer=dict(type='tests.extension.optimizer:signed', learning_rate=0.02),
    schedule=dict(type='schedule.cosine'),
)
ALGORITHMS = {
    'mean_teacher': dict(type='tests.extension.mean_teacher:MeanTeacher', decay=0.5),
    'adversarial': dict(type='tests.extension.adversarial:Adversarial'),
}

def test_a_run_of_ones_own_parts_learns_and_is_scored(tmp_path):
    """From the command line, as everything else: a file with a `get_config` that returns CONFIG."""
    experiment = tmp_path / 'experiment.py'
    experiment.write_text(f'def get_config():\n    return {CONFIG!r}\n')
    workdir = str(tmp_path / 'run')
    assert main(['train', f'--config={experiment}', f'--workdir={workdir}']) == 0
    assert main(['evaluate', f'--workdir={workdir}', '--num_images=0', '--trust=tests']) == 0
    scores = json.loads((tmp_path / 'run' / 'evaluation_val.json').read_text())
    assert scores['miou'] > 0.85
    assert np.sum(scores['confusion_matrix']) == 8 * 16 * 15  # the first column is void
    predict, sample = jaxseg.load(workdir, trust=['tests']), Gradients().source('val')[0]
    right = predict(sample['image']) == sample['mask']
    assert right[:, 1:].mean() > 0.85
    assert predict.probabilities(sample['image']).shape == (16, 16, 3)


@pytest.mark.parametrize('name', default_cases(ALGORITHMS, ('mean_teacher',)))
def test_an_algorithm_of_ones_own_continues_bit_for_bit(name, tmp_path):
    """Its state, whatever it holds, is saved and restored."""
    config = {**CONFIG, 'algorithm': ALGORITHMS[name], 'steps': 4, 'evaluate_every': 2}
    at_once, resumed = run_in_two(config, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, at_once, resumed)


@jax.jit
def compiled_loss(logits, labels, valid, *, power: float = 1.0):
    return (logits ** power).sum(), valid.sum()


@functools.lru_cache
def cached_schedule(*, steps: int):
    return lambda step: step / steps


def test_a_function_in_a_decorator_is_still_a_function():
    entry = dict(type='tests.test_extending:compiled_loss', power=2.0)
    loss = build_function('losses.own', entry)
    assert loss.func is compiled_loss and loss.keywords == {'power': 2.0}
    with pytest.raises(InputError, match='losses.own.power: expected float'):
        build_function('losses.own', {**entry, 'power': 'x'})
    schedule = build('schedule', dict(type='tests.test_extending:cached_schedule'), steps=4)
    assert schedule(2) == 0.5


# The algorithms by themselves: pure functions, which need no run around them.


@pytest.fixture(scope='module')
def supervised():
    return steps(make(Supervised))


def test_a_teacher_is_the_running_mean_of_its_student():
    algorithm = make(MeanTeacher, decay=0.75)
    states, _ = steps(algorithm, 3)
    expected = states[0].student.params
    for state in states[1:]:
        expected = jax.tree.map(lambda t, s: 0.75 * t + 0.25 * s, expected, state.student.params)
    assert largest_difference(states[-1].teacher, expected) < 1e-6
    assert algorithm.variables(states[-1])['params'] is states[-1].teacher
    assert largest_difference(states[-1].teacher, states[-1].student.params) > 1e-3


def test_a_discriminator_learns_beside_the_model(supervised):
    (start, alone), _ = supervised
    key, algorithm = jax.random.key(0), make(Adversarial)
    before = jax.jit(algorithm.init)(key, example()).replace(model=start)
    after, metrics = jax.jit(algorithm.step)(before, example(), key)
    assert largest_difference(after.model.params, alone.params) > 1e-4
    assert largest_difference(before.discriminator, after.discriminator) > 1e-4
    # Before its first step it is undecided about a patch: log 2 for each of two kinds.
    assert float(metrics['discriminator']) == pytest.approx(2 * np.log(2), rel=0.3)
    algorithm = dataclasses.replace(algorithm, weight=0.0)
    after, _ = jax.jit(algorithm.step)(before, example(), key)
    assert largest_difference(after.model.params, alone.params) < 1e-6


# Parts alone, by hand-worked values.


def test_values_of_the_loss():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [1.0, 1.0, 1.0], [jnp.nan, 0, 0]]))
    labels, valid = jnp.array([0, 1, 255]), jnp.array([True, True, False])
    total, count = brier(logits, labels, valid, scale=2.0)
    assert float(total) == pytest.approx(2 * (0.375 + 6 / 9)) and float(count) == 2


def test_values_of_the_task():
    task = Ordinal(CLASSES, WeightedSum({'brier': (1.0, brier)}))
    outputs = {'logits': jnp.array([[[[0.25], [-9.0], [9.0]]]])}
    probabilities = task.probabilities(outputs)
    above = 1 / (1 + np.exp([-0.75, 0.25]))
    np.testing.assert_allclose(
        probabilities[0, 0, 0], [1 - above[0], above[0] - above[1], above[1]], rtol=1e-6)
    np.testing.assert_allclose(probabilities.sum(-1), np.ones((1, 1, 3)), rtol=1e-6)
    assert task.predictions(outputs).tolist() == [[[1, 0, 2]]]


def test_values_of_the_transform():
    image, mask = np.zeros((8, 6, 3), np.uint8), np.zeros((8, 6), np.uint8)
    fill = Gradients().spec.fill
    changed, labels = Erase(1.0)(image, mask, rng=np.random.default_rng(0), fill=fill)
    erased = labels == 9
    assert erased.sum() == 4 * 3 and (changed[erased] == 127).all() and not changed[~erased].any()
    assert not mask.any() and not image.any()


def test_values_of_the_optimizer():
    optimizer = signed(learning_rate=0.5, schedule=lambda step: 1 / (step + 1))
    params = {'w': jnp.array([1.0, 2.0])}
    state = optimizer.init(params)
    for rate in (0.5, 0.25):
        updates, state = optimizer.update({'w': jnp.array([3.0, -0.1])}, state, params)
        np.testing.assert_allclose(updates['w'], [-rate, rate])
        assert float(applied_rate(state)) == rate


@pytest.mark.parametrize('name', ['mean_teacher', 'adversarial'])
def test_a_step_that_does_not_add_up_over_devices_refuses_pmap(name, tmp_path):
    config = {**CONFIG, 'algorithm': ALGORITHMS[name], 'parallel': {'strategy': 'pmap'}}
    with pytest.raises(jaxseg.InputError, match="config.parallel.strategy: 'pmap'"):
        jaxseg.run(**config, workdir=tmp_path / 'run')


@pytest.mark.parametrize('key, entry, place', [
    ('encoder', dict(type='tests.extension.encoder:Patches', pach=4), 'encoder.pach'),
    ('encoder', dict(type='tests.extension.encoder:Patches', patch='4'), 'encoder.patch'),
    ('encoder', dict(type='tests.extension.decoder:SumOfStages'), 'stride'),
    ('transforms', [dict(type='tests.extension.transform:Erase', p=2)], 'transforms.0.p'),
    ('optimizer', dict(type='tests.extension.optimizer:signed', learning_rate=0), 'learning_rate'),
    ('algorithm', dict(type='tests.extension.loss:brier'), 'algorithm'),
    ('algorithm', dict(type='tests.extension.nothing:A'), 'tests.extension.nothing'),
    ('data', dict(type='tests.extension.data:Gradient'), 'Gradients'),
])
def test_a_part_of_ones_own_is_checked_as_all_others(key, entry, place):
    with pytest.raises(jaxseg.InputError, match=place):
        build(key, entry)
