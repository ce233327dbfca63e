"""Algorithms, layouts, optimizers, schedules, checkpoints and reports: exact values and equalities."""

import csv
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.build import build, build_losses
from jaxseg.data.device_transforms import Normalize
from jaxseg.errors import InputError
from jaxseg.layers.axis import mapped_over
from jaxseg.tasks.semantic import Semantic
from jaxseg.training import optimizer as optimizers
from jaxseg.training import schedule as schedules
from jaxseg.training.checkpoint import Checkpoints, shared_leaves
from jaxseg.training.layout import check_batch, init_key, make_layout, step_key
from jaxseg.training.loop import Intervals, train
from jaxseg.training.random import random_streams
from jaxseg.training.report import Report, draw_curves
from jaxseg.training.supervised import Supervised

LOSSES = dict(cross_entropy=dict(type='cross_entropy.cross_entropy'), dice=dict(type='dice.dice', weight=0.5))


def small_model(**fields) -> nn.Module:
    return build('model', dict(
        type='segmentation_model.SegmentationModel', encoder=dict(type='vgg_like.VGGLike', widths=[4, 8], depth=1),
        context=dict(type='identity.Identity'), decoder=dict(type='unet.UNet', widths=[4]), **fields), classes=3)


def some_batch(size: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (size, 12, 16)).astype(np.int32)
    return {'image': rng.integers(0, 256, (size, 12, 16, 3)).astype(np.uint8), 'label': label,
            # Unequal counts on every device: a mean of means would show.
            'valid': rng.random((size, 12, 16)) < np.linspace(0.1, 0.9, size)[:, None, None]}


def supervised(rate: float = 1.0, axis_name: str | None = None, rule=None, **fields) -> Supervised:
    """With plain gradient descent at rate 1 the change of the parameters is the gradient."""
    rule = rule or optimizers.sgd(learning_rate=rate, schedule=schedules.constant(steps=10), momentum=0.0, weight_decay=0.0)
    task = Semantic(('a', 'b', 'c'), build_losses(LOSSES), False)
    return Supervised(small_model(**fields), task, Normalize((0.5,) * 3, (0.25,) * 3), rule, axis_name)


def start(algorithm: Supervised):
    return jax.jit(lambda batch: algorithm.init(init_key(0), batch))(some_batch())


def largest_difference(a, b) -> float:
    return max(float(np.abs(np.asarray(x) - np.asarray(y)).max())
               for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize('parallel', ['jit', 'pmap'])
def test_four_devices_take_the_gradient_of_one_with_dropout_and_auxiliary_decoders(parallel):
    assert jax.device_count() == 4
    layout = make_layout(parallel, mapped_over)
    fields = dict(auxiliary=dict(type='fcn.FCN', widths=[4], dropout=0.3), head=dict(type='head.Head', dropout=0.5))
    single, several = (supervised(axis_name=axis, **fields) for axis in (None, layout.axis_name))
    state = start(single)
    one, one_metrics = jax.jit(lambda state, batch: single.step(state, batch, step_key(7, 3)))(state, some_batch())
    step = layout.compile_step(several.step, 7)
    many, many_metrics = step(layout.put_state(state), layout.put_batch(some_batch()), np.int32(3))
    many = layout.unreplicate(many)
    gradient = jax.tree.map(lambda before, after: np.asarray(before - after), state.params, one.params)
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 1e-5
    assert largest_difference(many.params, one.params) < 2e-6
    assert largest_difference(many.collections, one.collections) < 1e-5
    assert largest_difference(many_metrics, one_metrics) < 1e-5


def test_every_step_and_every_stream_has_random_numbers_of_its_own():
    keys = [jax.random.key_data(key) for key in (
        init_key(0), step_key(0, 0), step_key(0, 1), step_key(1, 0),
        *random_streams(init_key(0), ('params', 'dropout')).values(), *random_streams(step_key(0, 0), ('dropout',)).values())]
    assert len({tuple(map(int, key)) for key in keys}) == len(keys)
    both, alone = (random_streams(init_key(0), names)['dropout'] for names in (('params', 'dropout'), ('dropout',)))
    assert (jax.random.key_data(both) == jax.random.key_data(alone)).all()
    algorithm = supervised(head=dict(type='head.Head', dropout=0.5))
    state = start(algorithm)
    step = jax.jit(lambda index: algorithm.step(state, some_batch(), step_key(0, index))[1]['loss'])
    losses = [float(step(index)) for index in (0, 1, 0)]
    assert losses[0] == losses[2] != losses[1]


def test_a_model_may_draw_from_the_streams_that_it_names():
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            if train:
                x = x + sum(jax.random.normal(self.make_rng(name), x.shape) for name in ('drop_path', 'dropout'))
            return x

    algorithm = supervised()
    algorithm = Supervised(algorithm.model.clone(context=Noisy()), algorithm.task, algorithm.preprocess, algorithm.optimizer)
    state = start(algorithm)
    assert math.isfinite(jax.jit(lambda: algorithm.step(state, some_batch(), step_key(0, 0))[1]['loss'])())


def test_a_batch_that_does_not_divide_by_the_devices_is_refused_with_one_that_does():
    with pytest.raises(InputError, match='^batch_size: 6 .* 4 devices; give 8'):
        check_batch(6)


def test_pixels_under_void_change_nothing_in_a_step():
    algorithm = supervised()
    state, batch = start(algorithm), some_batch()
    step = jax.jit(lambda batch: algorithm.step(state, batch, step_key(0, 0)))
    garbled = {**batch, 'label': np.where(batch['valid'], batch['label'], 255)}
    (first, _), (second, _) = step(batch), step(garbled)
    assert largest_difference(first.params, second.params) == 0
    _, metrics = step({**batch, 'valid': np.zeros_like(batch['valid'])})
    assert float(metrics['loss']) == 0 and float(metrics['gradient_norm']) == 0


def test_the_metrics_of_a_step_are_the_losses_the_gradient_and_the_rate_that_was_applied():
    schedule = schedules.poly(steps=4, power=0.5)
    rule = optimizers.sgd(learning_rate=0.4, schedule=schedule, momentum=0.0, weight_decay=0.0)
    algorithm = supervised(rule=rule)
    state = start(algorithm)
    step = jax.jit(lambda state: algorithm.step(state, some_batch(), step_key(0, 0)))
    for index in range(3):
        after, metrics = step(state)
        assert set(metrics) == {'loss', 'cross_entropy', 'dice', 'gradient_norm', 'learning_rate'}
        np.testing.assert_allclose(metrics['loss'], metrics['cross_entropy'] + 0.5 * metrics['dice'], rtol=1e-5)
        np.testing.assert_allclose(metrics['learning_rate'], 0.4 * (1 - index / 4) ** 0.5, rtol=1e-6)
        change = optax.tree.norm(jax.tree.map(jnp.subtract, after.params, state.params))
        np.testing.assert_allclose(change, metrics['learning_rate'] * metrics['gradient_norm'], rtol=1e-4)
        state = after
    # An optimizer that reports no rate: the metric is left out.
    assert optimizers.applied_rate(optax.adam(1e-3).init({'kernel': jnp.ones(2)})) is None


def test_schedules_have_hand_worked_values():
    poly = schedules.poly(steps=100, warmup=0, power=0.9)
    assert float(poly(0)) == 1
    assert float(poly(50)) == pytest.approx(0.5 ** 0.9)
    assert float(poly(100)) == 0
    cosine = schedules.cosine(steps=110, warmup=10, floor=0.1)
    assert float(cosine(0)) == pytest.approx(1 / 11)
    assert float(cosine(10)) == pytest.approx(1)
    assert float(cosine(60)) == pytest.approx(0.55)
    assert float(cosine(110)) == pytest.approx(0.1)
    constant = schedules.constant(steps=10, warmup=4)
    assert [round(float(constant(i)), 6) for i in (0, 2, 4, 9)] == [0.2, 0.6, 1, 1]
    with pytest.raises(InputError, match='^schedule.warmup: 10 '):
        schedules.poly(steps=10, warmup=10)


@pytest.mark.parametrize('name', ['sgd', 'adamw', 'lion'])
def test_weight_decay_touches_kernels_only(name):
    params = {'pair': {'kernel': (jnp.ones(2), jnp.ones(2)), 'bias': (jnp.ones(2),)}, 'conv': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}, 'norm': {'scale': jnp.ones(2)},
              'cell': {'recurrent_kernel': jnp.ones((2, 2))}}
    rule = getattr(optimizers, name)(learning_rate=0.5, schedule=schedules.constant(steps=10), weight_decay=0.1)
    updates, _ = rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)
    after = optax.apply_updates(params, updates)
    np.testing.assert_allclose(after['conv']['kernel'], 0.95, rtol=1e-6)
    np.testing.assert_allclose(after['cell']['recurrent_kernel'], 0.95, rtol=1e-6)
    np.testing.assert_allclose(after['pair']['kernel'][1], 0.95, rtol=1e-6)
    np.testing.assert_array_equal(after['pair']['bias'][0], 1)
    np.testing.assert_array_equal(after['conv']['bias'], 1)
    np.testing.assert_array_equal(after['norm']['scale'], 1)


def updates_of(rule, params: dict, *gradients: dict) -> list[dict]:
    """The updates for some gradients in turn, the parameters staying as they are."""
    state, found = rule.init(params), []
    for gradient in gradients:
        updates, state = rule.update(gradient, state, params)
        found.append(jax.tree.map(np.asarray, updates))
    return found


def test_the_gradient_is_clipped_before_the_decay_is_added():
    rule = optimizers.sgd(learning_rate=0.5, schedule=schedules.constant(steps=2), momentum=0.0, weight_decay=0.1,
                          max_grad_norm=1.0)
    update, = updates_of(rule, {'kernel': jnp.array([10.0, 0.0])}, {'kernel': jnp.array([30.0, 40.0])})
    # -0.5 ((0.6, 0.8) + 0.1 (10, 0)); clipped afterwards its norm would be 0.5.
    np.testing.assert_allclose(update['kernel'], [-0.8, -0.4], rtol=1e-5)
    free = optimizers.sgd(learning_rate=1.0, schedule=schedules.constant(steps=2), momentum=0.0, weight_decay=0.0)
    update, = updates_of(free, {'kernel': jnp.zeros(2)}, {'kernel': jnp.array([30.0, 40.0])})
    np.testing.assert_allclose(update['kernel'], [-30, -40], rtol=1e-6)


def test_momentum_sums_the_gradients_of_earlier_steps():
    options = dict(learning_rate=0.1, schedule=schedules.constant(steps=9), weight_decay=0.0)
    gradients = [{'kernel': jnp.array([value])} for value in (1.0, 2.0, 0.0)]
    plain = updates_of(optimizers.sgd(**options), {'kernel': jnp.zeros(1)}, *gradients)
    # v: 1, 0.9 + 2, 0.81 + 1.8
    np.testing.assert_allclose([update['kernel'][0] for update in plain], [-0.1, -0.29, -0.261], rtol=1e-5)
    nesterov = updates_of(optimizers.sgd(**options, nesterov=True), {'kernel': jnp.zeros(1)}, *gradients)
    np.testing.assert_allclose([update['kernel'][0] for update in nesterov], [-0.19, -0.461, -0.2349], rtol=1e-5)


def test_adamw_and_lion_have_the_values_of_their_formulas():
    gradients = [{'kernel': jnp.array([2.0])}, {'kernel': jnp.array([-1.0])}]
    options = dict(schedule=schedules.constant(steps=9), weight_decay=0.0)
    adam = updates_of(optimizers.adamw(learning_rate=0.1, b1=0.8, b2=0.5, **options), {'kernel': jnp.zeros(1)}, *gradients)
    # m: 0.4, 0.12; v: 2, 1.5; corrected by 1 - 0.8^t and 1 - 0.5^t.
    second = -0.1 * (0.12 / 0.36) / math.sqrt(1.5 / 0.75)
    np.testing.assert_allclose([update['kernel'][0] for update in adam], [-0.1, second], rtol=1e-4)
    lion = updates_of(optimizers.lion(learning_rate=0.1, b1=0.5, b2=0.9, **options), {'kernel': jnp.zeros(1)}, *gradients)
    # Momentum after the first step 0.2: 0.5 * 0.2 - 0.5 is negative.
    np.testing.assert_allclose([update['kernel'][0] for update in lion], [-0.1, 0.1], rtol=1e-5)


def test_checkpoints_keep_the_two_latest_and_the_best_and_never_a_nan(tmp_path):
    algorithm = supervised()
    state, checkpoints = start(algorithm), Checkpoints(tmp_path)
    for step, miou in ((1, 0.5), (2, 0.9), (3, math.nan), (4, None), (5, 0.6)):
        checkpoints.save(step, state, algorithm.variables, miou)
    checkpoints.wait()
    assert (checkpoints.find('best'), checkpoints.find('latest'), checkpoints.find('4')) == (2, 5, 4)
    assert checkpoints.exists(4) and not checkpoints.exists(3)
    for which in ('3', '²', '-1', ''):
        with pytest.raises(InputError, match="is not in .* one of 2, 4, 5"):
            checkpoints.find(which)
    restored = checkpoints.restore_state(5, jax.eval_shape(lambda: state), algorithm.variables)
    assert largest_difference(restored, state) == 0
    checkpoints.close()


def averaged(state):
    return {'params': jax.tree.map(lambda leaf: leaf / 2, state['sum'])}


@pytest.mark.parametrize('variables, shared', [
    (lambda state: {'params': state['params']}, 2), (lambda state: {'params': state['sum'], 'more': state['sum']}, 2),
    (averaged, 0)], ids=['of the state', 'twice', 'computed'])
def test_any_state_is_saved_and_restored_and_nothing_twice(tmp_path, variables, shared):
    params = {'conv': {'kernel': jnp.arange(6.0).reshape(2, 3)}, 'scale': jnp.ones(3)}
    state = {'params': params, 'sum': jax.tree.map(lambda leaf: 3 * leaf, params), 'count': jnp.int32(4),
             'moments': optax.adam(1e-3).init(params)}
    assert len(shared_leaves(variables, state)) == shared
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, variables, 0.5)
    checkpoints.wait()
    restored = checkpoints.restore_state(1, jax.eval_shape(lambda: state), variables)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert largest_difference(restored, state) == 0
    model = checkpoints.restore_variables(1, jax.eval_shape(variables, state))
    assert largest_difference(model, variables(state)) == 0
    checkpoints.close()


def test_a_checkpoint_that_does_not_fit_names_the_parameter_and_both_shapes(tmp_path):
    algorithm = supervised()
    state, checkpoints = start(algorithm), Checkpoints(tmp_path)
    checkpoints.save(1, state, algorithm.variables, 0.5)
    checkpoints.wait()
    wider = jax.eval_shape(algorithm.variables, state)
    wider['params']['head']['kernel'] = jax.ShapeDtypeStruct((3, 3, 4, 7), jnp.float32)
    with pytest.raises(InputError, match=r'params/head/kernel is \(3, 3, 4, 3\) .* \(3, 3, 4, 7\)'):
        checkpoints.restore_variables(1, wider)
    other = supervised(rule=optax.adam(1e-3))
    with pytest.raises(InputError, match='opt_state.* is missing in the checkpoint'):
        checkpoints.restore_state(1, jax.eval_shape(lambda: start(other)), other.variables)
    with pytest.raises(InputError, match='no checkpoint yet'):
        Checkpoints(tmp_path / 'empty').find('best')
    checkpoints.close()


class Recorder:
    """A layout, a report and everything else that the loop calls, for an algorithm that counts."""

    def __init__(self, stop_at: int = 99, stop_in_evaluation: int = 99):
        self.events, self.stop_at, self.stop_in_evaluation, self.now = [], stop_at, stop_in_evaluation, 0

    def run(self, first: int, steps: int, **intervals) -> int:
        batches = map(self.batch, range(first, 99))
        _, done = train(
            100 * first, batches, layout=self, step=self.one_step, first=first, steps=steps, report=self,
            intervals=Intervals(**intervals), evaluate=self.evaluate, save=lambda *saved: self.events.append(('save', *saved)),
            stop_requested=lambda: self.now >= self.stop_at)
        return done

    last_batch = 99

    def batch(self, index: int) -> dict:
        if index > self.last_batch:
            raise InputError('a damaged file')
        return {'name': [f'b{index}'], 'x': index}

    put_state = put_batch = unreplicate = staticmethod(lambda value: value)

    def one_step(self, state, batch, index):
        assert index == batch['x'] and 'name' not in batch
        self.now = int(index) + 1
        return state + 1, {'loss': state}

    def evaluate(self, state):
        return None if self.now >= self.stop_in_evaluation else {'miou': state / 10}

    def step(self, step, metrics, names, write):
        self.events += [('report', step)] if write else []

    def flush(self):
        pass

    def evaluation(self, step, scores):
        self.events.append(('scores', step, scores['miou']))


def test_the_loop_reports_evaluates_and_saves_when_they_are_due_and_after_the_last_step():
    loop = Recorder()
    assert loop.run(0, 7, report=2, evaluate=4, save=3) == 7
    assert loop.events == [
        ('report', 2), ('save', 3, 3, None), ('report', 4), ('scores', 4, 0.4), ('save', 4, 4, {'miou': 0.4}), ('report', 6),
        ('save', 6, 6, None), ('report', 7), ('scores', 7, 0.7), ('save', 7, 7, {'miou': 0.7})]
    loop = Recorder()
    assert loop.run(5, 7, report=9, evaluate=None, save=9) == 7
    assert loop.events == [('report', 7), ('save', 7, 502, None)]
    assert Recorder().run(7, 7, report=1, evaluate=1, save=1) == 7


def test_a_fault_in_the_data_saves_the_steps_done_before_it_ends_the_run():
    loop = Recorder()
    loop.last_batch = 2
    with pytest.raises(InputError, match='damaged'):
        loop.run(0, 7, report=9, evaluate=None, save=9)
    assert loop.events == [('save', 3, 3, None)]


def test_a_stop_ends_the_loop_after_the_running_step_and_saves_without_an_evaluation():
    loop = Recorder(stop_at=4)
    assert loop.run(0, 7, report=9, evaluate=4, save=9) == 4
    assert loop.events == [('report', 4), ('save', 4, 4, None)]
    loop = Recorder(stop_in_evaluation=4)
    assert loop.run(0, 7, report=9, evaluate=2, save=9) == 4
    assert loop.events == [('scores', 2, 0.2), ('save', 2, 2, {'miou': 0.2}), ('save', 4, 4, None)]


def test_a_loss_that_is_not_finite_names_step_parts_rate_and_files(tmp_path):
    report = Report(tmp_path, first_step=0, steps=10, batch_size=2)
    report.step(7, {'loss': jnp.inf, 'dice': 0.25, 'learning_rate': 0.5}, ['a_1', 'b_2'], write=True)
    with pytest.raises(FloatingPointError) as error:
        report.flush()
    for word in ('step 7', 'loss inf', 'dice 0.25', 'learning_rate 0.5', 'a_1, b_2'):
        assert word in str(error.value)
    assert not (tmp_path / 'metrics.csv').exists()


def test_metrics_written_after_the_last_checkpoint_are_written_again(tmp_path):
    for first in (0, 2):
        report = Report(tmp_path, first_step=first, steps=4, batch_size=2)
        for step in range(first + 1, 5):
            report.step(step, {'loss': 10.0 * first + step, 'learning_rate': 0.5}, ['a'], write=True)
        report.flush()
        report.evaluation(4, {'miou': 0.25})
        report.close()
    with (tmp_path / 'metrics.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['step'], row['loss']) for row in rows] == [
        ('1', '1.0'), ('2', '2.0'), ('3', '23.0'), ('4', '24.0'), ('4', '')]
    assert rows[-1]['val_miou'] == '0.25'


def test_scores_of_no_pixel_stay_away_from_tensorboard(tmp_path, monkeypatch):
    class Board:
        scalars: list[tuple] = []

        def add_scalar(self, *scalar):
            self.scalars.append(scalar)

    monkeypatch.setattr('jaxseg.training.report._tensorboard', lambda *_: Board())
    report = Report(tmp_path, first_step=0, steps=4, batch_size=2)
    report.evaluation(4, {'miou': math.nan, 'pixel_accuracy': 0.5})
    assert Board.scalars == [('val_pixel_accuracy', 0.5, 4)]
    assert 'nan' in (tmp_path / 'metrics.csv').read_text()


def test_curves_of_a_run_without_validation_are_drawn_without_a_warning(tmp_path):
    draw_curves([{'step': 1, 'loss': 0.5}], tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').is_file()


@pytest.mark.parametrize('damage', [
    lambda text: text + '3,', lambda text: text + '3,0.12', lambda text: text + '\0\0\0\0', lambda text: text + 'x,y,z,u,v,w\n',
    lambda text: text + '3\n', lambda text: text.replace('\n', '\r\n'), lambda text: text + '\n\n', lambda text: text + '"3,1\n'])
def test_a_damaged_metrics_file_loses_the_damaged_rows_and_no_others(tmp_path, damage):
    report = Report(tmp_path, first_step=0, steps=4, batch_size=2)
    for step in (1, 2):
        report.step(step, {'loss': 0.5 * step}, ['a'], write=True)
    report.flush()
    report.close()
    path = tmp_path / 'metrics.csv'
    path.write_text(damage(path.read_text()))
    report = Report(tmp_path, first_step=4, steps=5, batch_size=2)
    report.step(5, {'loss': 2.5}, ['a'], write=True)
    report.flush()
    report.close()
    with path.open() as file:
        assert [(row['step'], row['loss']) for row in csv.DictReader(file)] == [('1', '0.5'), ('2', '1.0'), ('5', '2.5')]


def test_metrics_are_free_names_and_only_the_loss_and_the_gradient_must_be_finite(tmp_path, capsys):
    report = Report(tmp_path, first_step=0, steps=4, batch_size=2)
    report.step(1, {'teacher_agreement': math.nan, 'temperature': 2.0}, ['a'], write=True)
    report.flush()
    assert 'step 1/4' in capsys.readouterr().out and 'temperature' in (tmp_path / 'metrics.csv').read_text()
    report.step(2, {'gradient_norm': math.nan}, ['a'], write=False)
    with pytest.raises(FloatingPointError, match='gradient_norm nan'):
        report.flush()
