"""Parts of one's own: every kind is one file outside of the package, named in a config.

The files are in tests/extension. `CONFIG` uses all of them but the algorithms, which come after.
"""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import jaxseg
from jaxseg.build import build
from jaxseg.commands import main
from jaxseg.data.device_transforms import Normalize
from jaxseg.decoders.fcn import FCN
from jaxseg.losses.cross_entropy import cross_entropy
from jaxseg.losses.dice import dice
from jaxseg.losses.weighted import WeightedSum
from jaxseg.models.segmentation_model import SegmentationModel
from jaxseg.tasks.semantic import Semantic
from jaxseg.training.layout import make_layout
from jaxseg.training.optimizer import applied_rate
from jaxseg.training.parallel import Parallel
from jaxseg.training.supervised import Supervised
from tests.extension.accumulation import Accumulated
from tests.extension.adversarial import Adversarial
from tests.extension.data import Gradients
from tests.extension.decoder import SumOfStages
from tests.extension.encoder import Patches
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
    'accumulation': dict(type='tests.extension.accumulation:Accumulated', microbatches=2),
}
CLASSES = ('a', 'b', 'c')


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
    jaxseg.run(**config, workdir=tmp_path)
    last = tmp_path / 'checkpoints' / '4'
    at_once = saved(last)
    shutil.rmtree(last)
    jaxseg.run(**config, workdir=tmp_path)  # from step 2
    resumed = saved(last)
    assert jax.tree.structure(at_once) == jax.tree.structure(resumed)
    for a, b in zip(jax.tree.leaves(at_once), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def saved(checkpoint):
    """Everything that a checkpoint holds."""
    return [ocp.StandardCheckpointer().restore(checkpoint / item) for item in ('model', 'training')]


# The algorithms by themselves: pure functions, which need no run around them.


def make(algorithm, rate=0.1, **options):
    """An algorithm with a small model that has an auxiliary head, under plain gradient descent."""
    task = Semantic(CLASSES, WeightedSum({
        'cross_entropy': (1.0, functools.partial(cross_entropy, class_weights=(1, 2, 4))),
        'dice': (0.5, dice)}), False)
    model = SegmentationModel(Patches(2), SumOfStages(), 3, auxiliary=FCN((8,), norm='group'))
    return algorithm(model, task, Normalize((0.5,) * 3, (0.25,) * 3), optax.sgd(rate), **options)


def example():
    """Four images with very unequal shares of void."""
    rng = np.random.default_rng(0)
    share = np.array([1, 0.6, 0.3, 0.02])[:, None, None]
    return {'image': rng.integers(0, 256, (4, 8, 8, 3), np.uint8),
            'label': rng.integers(0, 3, (4, 8, 8), np.int32),
            'valid': rng.random((4, 8, 8)) < share}


def steps(algorithm, count=1):
    state = jax.jit(algorithm.init)(jax.random.key(0), example())
    step, states = jax.jit(algorithm.step), [state]
    for index in range(count):
        state, metrics = step(states[-1], example(), jax.random.key(index))
        states.append(state)
    return states, metrics


def largest_difference(a, b):
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), a, b)))


@pytest.fixture(scope='module')
def supervised():
    return steps(make(Supervised))


@pytest.mark.parametrize('microbatches', default_cases([2, 4], [4]))
def test_accumulated_gradients_are_those_of_the_whole_batch(microbatches, supervised):
    (_, whole), metrics = supervised
    (_, parts), accumulated = steps(make(Accumulated, microbatches=microbatches))
    assert largest_difference(parts.params, whole.params) < 1e-6
    for name in ('loss', 'cross_entropy', 'dice', 'gradient_norm'):
        np.testing.assert_allclose(accumulated[name], metrics[name], rtol=1e-5)


def test_accumulation_over_mapped_devices_is_that_of_one(supervised):
    (start, whole), metrics = supervised
    layout = make_layout(Parallel(strategy='pmap'))
    algorithm = make(Accumulated, microbatches=2, axis_name=layout.axis_name)
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
