"""Steps, optimizers, schedules, checkpoints and reports: exact values and equalities."""

import csv
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.build import build, build_losses
from jaxseg.errors import InputError
from jaxseg.training import optimizer as optimizers
from jaxseg.training import schedule as schedules
from jaxseg.training.checkpoint import Checkpoints
from jaxseg.training.parallel import spread
from jaxseg.training.report import Report, draw_curves
from jaxseg.training.state import make_init
from jaxseg.training.step import make_train_step

LOSSES = dict(cross_entropy=dict(type='cross_entropy.cross_entropy'), dice=dict(type='dice.dice', weight=0.5))


def small_model(**fields) -> nn.Module:
    return build('model', dict(
        type='segmenter.Segmenter', encoder=dict(type='vgg_like.VGGLike', widths=[4, 8], depth=1),
        context=dict(type='identity.Identity'), decoder=dict(type='unet.UNet', widths=[4]), **fields), classes=3)


def some_batch(size: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (size, 12, 16)).astype(np.int32)
    return {'image': rng.normal(size=(size, 12, 16, 3)).astype(np.float32), 'label': label,
            # Unequal counts on every device: a mean of means would show.
            'valid': rng.random((size, 12, 16)) < np.linspace(0.1, 0.9, size)[:, None, None]}


def make(model: nn.Module, rate: float = 0.1):
    schedule = schedules.constant(steps=10)
    rule = optimizers.sgd(learning_rate=rate, schedule=schedule)
    step = make_train_step(model=model, losses=build_losses(LOSSES), optimizer=rule, schedule=lambda i: rate,
                           normalize=lambda x: x, seed=0)
    return step, make_init(model, rule, (12, 16, 3))(0)


def largest_difference(a, b) -> float:
    return max(float(np.abs(np.asarray(x) - np.asarray(y)).max())
               for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize('how', ['jit', 'pmap'])
def test_four_devices_take_the_same_steps_as_one(how):
    assert jax.device_count() == 4
    step, state = make(small_model(auxiliary=dict(type='fcn.FCN', widths=[4])))
    spreading = spread(step, how=how, batch_size=8)
    many, one = spreading.put_state(state), state
    compiled = jax.jit(step)
    for _ in range(3):
        many, many_metrics = spreading.step(many, spreading.put_batch(some_batch()))
        one, one_metrics = compiled(one, some_batch())
    assert int(spreading.one(many).step) == 3
    assert largest_difference(spreading.one(many).variables, one.variables) < 1e-5
    assert largest_difference(many_metrics, one_metrics) < 1e-5
    assert largest_difference(one.params, state.params) > 1e-3


def test_a_batch_that_does_not_divide_by_the_devices_is_refused_with_one_that_does():
    with pytest.raises(InputError, match='batch_size: 6 .* 4 devices; give 8'):
        spread(lambda *_: None, how='jit', batch_size=6)
    with pytest.raises(InputError, match="'tensor' is unknown; known: jit, pmap"):
        spread(lambda *_: None, how='tensor', batch_size=8)


def test_pixels_under_void_change_nothing_in_a_step():
    step, state = make(small_model())
    batch = some_batch()
    garbled = {**batch, 'label': np.where(batch['valid'], batch['label'], 255)}
    first, second = (jax.jit(step)(state, each)[0] for each in (batch, garbled))
    assert largest_difference(first.params, second.params) == 0
    nothing = {**batch, 'valid': np.zeros_like(batch['valid'])}
    _, metrics = jax.jit(step)(state, nothing)
    assert float(metrics['loss']) == 0 and float(metrics['gradient_norm']) == 0


def test_the_auxiliary_head_learns_from_the_same_labels():
    step, state = make(small_model(auxiliary=dict(type='fcn.FCN', widths=[4])))
    after, _ = jax.jit(step)(state, some_batch())
    assert largest_difference(after.params['auxiliary'], state.params['auxiliary']) > 1e-4


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
    with pytest.raises(InputError, match='schedule.warmup: 10 does not fit into 10 steps'):
        schedules.poly(steps=10, warmup=10)


@pytest.mark.parametrize('name', ['sgd', 'adamw', 'lion'])
def test_weight_decay_touches_kernels_only(name):
    params = {'conv': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}, 'norm': {'scale': jnp.ones(2)},
              'cell': {'recurrent_kernel': jnp.ones((2, 2))}}
    rule = getattr(optimizers, name)(learning_rate=0.5, schedule=schedules.constant(steps=10), weight_decay=0.1)
    updates, _ = rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)
    after = optax.apply_updates(params, updates)
    np.testing.assert_allclose(after['conv']['kernel'], 0.95, rtol=1e-6)
    np.testing.assert_allclose(after['cell']['recurrent_kernel'], 0.95, rtol=1e-6)
    np.testing.assert_array_equal(after['conv']['bias'], 1)
    np.testing.assert_array_equal(after['norm']['scale'], 1)


def test_clipping_bounds_the_norm_of_the_gradient():
    rule = optimizers.sgd(learning_rate=1.0, schedule=schedules.constant(steps=2), weight_decay=0.0, clip=1.0)
    params = {'kernel': jnp.zeros(2)}
    updates, _ = rule.update({'kernel': jnp.array([30.0, 40.0])}, rule.init(params), params)
    np.testing.assert_allclose(updates['kernel'], [-0.6, -0.8], rtol=1e-5)


def test_a_learning_rate_must_be_positive():
    with pytest.raises(InputError, match='optimizer.learning_rate: -1'):
        optimizers.adamw(learning_rate=-1, schedule=schedules.constant(steps=2))


def test_checkpoints_keep_the_two_latest_and_the_best_and_never_a_nan(tmp_path):
    _, state = make(small_model())
    checkpoints = Checkpoints(tmp_path)
    for step, miou in ((1, 0.5), (2, 0.9), (3, math.nan), (4, None), (5, 0.6)):
        checkpoints.save(state.replace(step=jnp.asarray(step)), miou)
    checkpoints.wait()
    assert (checkpoints.find('best'), checkpoints.find('latest'), checkpoints.find('4')) == (2, 5, 4)
    with pytest.raises(InputError, match="'3' is not in .* one of 2, 4, 5"):
        checkpoints.find('3')
    restored = checkpoints.restore_state(5, jax.eval_shape(lambda: state))
    assert int(restored.step) == 5
    assert largest_difference((restored.variables, restored.opt_state), (state.variables, state.opt_state)) == 0
    checkpoints.close()


def test_a_checkpoint_that_does_not_fit_names_the_parameter_and_both_shapes(tmp_path):
    _, state = make(small_model())
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state.replace(step=jnp.asarray(1)), 0.5)
    checkpoints.wait()
    wider = jax.eval_shape(lambda: state).variables
    wider['params']['head']['kernel'] = jax.ShapeDtypeStruct((3, 3, 4, 7), jnp.float32)
    with pytest.raises(InputError, match=r'params/head/kernel is \(3, 3, 4, 3\) .* \(3, 3, 4, 7\) in the model'):
        checkpoints.restore_variables(1, wider)
    with pytest.raises(InputError, match='no checkpoint yet'):
        Checkpoints(tmp_path / 'empty').find('best')
    checkpoints.close()


def test_a_loss_that_is_not_finite_names_step_parts_rate_and_files(tmp_path):
    report = Report(tmp_path, first_step=0, steps=10, batch_size=2)
    report.step(7, {'loss': jnp.inf, 'dice': 0.25, 'learning_rate': 0.5}, ['a_1', 'b_2'], write=True)
    with pytest.raises(FloatingPointError) as error:
        report.settle()
    for word in ('step 7', 'loss inf', 'dice 0.25', 'learning rate 0.5', 'a_1, b_2'):
        assert word in str(error.value)
    assert not (tmp_path / 'metrics.csv').exists()


def test_metrics_written_after_the_last_checkpoint_are_written_again(tmp_path):
    for first in (0, 2):
        report = Report(tmp_path, first_step=first, steps=4, batch_size=2)
        for step in range(first + 1, 5):
            report.step(step, {'loss': 10.0 * first + step, 'learning_rate': 0.5}, ['a'], write=True)
        report.settle()
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
