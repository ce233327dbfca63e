"""The supervised algorithm, layouts and checkpoints: exact values and equalities."""

import dataclasses
import errno
import math
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.build import build, build_losses
from jaxseg.data.device_transforms import Normalize
from jaxseg.errors import InputError
from jaxseg.tasks.semantic import Semantic
from jaxseg.training import optimizer as optimizers
from jaxseg.training import schedule as schedules
from jaxseg.training.checkpoint import Checkpoints, restore_state, shared_leaves
from jaxseg.training.layout import JitLayout, init_key, make_layout, step_key
from jaxseg.training.parallel import Parallel
from jaxseg.training.random import random_streams
from jaxseg.training.restore import Checkpoint, find, list_checkpoints, restore_variables
from jaxseg.training.selection import Progress
from jaxseg.training.supervised import Supervised, TrainState

LOSSES = dict(cross_entropy=dict(type='cross_entropy.cross_entropy'),
              dice=dict(type='dice.dice', weight=0.5))


def small_model(**fields) -> nn.Module:
    return build('model', dict(
        type='segmentation_model.SegmentationModel',
        encoder=dict(type='vgg_like.VGGLike', widths=[4, 8], depth=1),
        context=dict(type='identity.Identity'), decoder=dict(type='unet.UNet', widths=[4]),
        **fields), classes=3)


def some_batch(size: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (size, 12, 16)).astype(np.int32)
    return {'image': rng.integers(0, 256, (size, 12, 16, 3)).astype(np.uint8), 'label': label,
            # Unequal counts on every device: a mean of means would show.
            'valid': rng.random((size, 12, 16)) < np.linspace(0.1, 0.9, size)[:, None, None]}


def supervised(rate: float = 1.0, axis_name: str | None = None, rule=None, **fields) -> Supervised:
    """With plain gradient descent at rate 1 the change of the parameters is the gradient."""
    rule = rule or optimizers.sgd(learning_rate=rate, schedule=schedules.constant(steps=10),
                                  momentum=0.0, weight_decay=0.0)
    task = Semantic(('a', 'b', 'c'), build_losses(LOSSES), False)
    return Supervised(small_model(**fields), task, Normalize((0.5,) * 3, (0.25,) * 3), rule,
                      axis_name)


def start(algorithm: Supervised):
    return jax.jit(lambda batch: algorithm.init(init_key(0), batch))(some_batch())


def largest_difference(a, b) -> float:
    return max(float(np.abs(np.asarray(x) - np.asarray(y)).max())
               for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def place(layout: JitLayout, state):
    """A copy of a state as the step of a layout takes it."""
    return layout.replicate(jax.tree.map(
        lambda x, like: jax.device_put(np.array(x), like.sharding), state, layout.place(state)))


@pytest.mark.parametrize('strategy', ['jit', 'pmap'])
def test_four_devices_take_the_gradient_of_one_with_dropout_and_auxiliary_decoders(strategy):
    assert jax.device_count() == 4
    layout = make_layout(Parallel(strategy=strategy))
    fields = dict(auxiliary=dict(type='fcn.FCN', widths=[4], dropout=0.3),
                  head=dict(type='head.Head', dropout=0.5))
    single, several = (supervised(axis_name=axis, **fields) for axis in (None, layout.axis_name))
    state = start(single)
    step = jax.jit(lambda state, batch: single.step(state, batch, step_key(7, 3)))
    one, one_metrics = step(state, some_batch())
    step = layout.compile_step(several.step, 7, state, some_batch())
    many, many_metrics = step(place(layout, state), layout.put_batch(some_batch()), np.int32(3))
    many = layout.unreplicate(many)
    gradient = jax.tree.map(lambda before, after: np.asarray(before - after), state.params,
                            one.params)
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 1e-5
    assert largest_difference(many.params, one.params) < 2e-6
    assert largest_difference(many.collections, one.collections) < 1e-5
    assert largest_difference(many_metrics, one_metrics) < 1e-5


def test_every_step_and_every_stream_has_random_numbers_of_its_own():
    keys = (init_key(0), step_key(0, 0), step_key(0, 1), step_key(1, 0),
            *random_streams(init_key(0), ('params', 'dropout')).values(),
            *random_streams(step_key(0, 0), ('dropout',)).values())
    assert len({tuple(map(int, jax.random.key_data(key))) for key in keys}) == len(keys)
    both, alone = (random_streams(init_key(0), names)['dropout']
                   for names in (('params', 'dropout'), ('dropout',)))
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
                x = x + sum(jax.random.normal(self.make_rng(name), x.shape)
                            for name in ('drop_path', 'dropout'))
            return x

    plain = supervised()
    algorithm = dataclasses.replace(plain, model=plain.model.clone(context=Noisy()))
    state = start(algorithm)
    _, metrics = jax.jit(lambda: algorithm.step(state, some_batch(), step_key(0, 0)))()
    assert math.isfinite(metrics['loss'])


def test_pixels_under_void_change_nothing_in_a_step():
    algorithm = supervised()
    state, batch = start(algorithm), some_batch()
    step = jax.jit(lambda batch: algorithm.step(state, batch, step_key(0, 0)))
    changed = {**batch, 'label': np.where(batch['valid'], batch['label'], 255)}
    (first, _), (second, _) = step(batch), step(changed)
    assert largest_difference(first.params, second.params) == 0
    _, metrics = step({**batch, 'valid': np.zeros_like(batch['valid'])})
    assert float(metrics['loss']) == 0 and float(metrics['gradient_norm']) == 0


def test_a_step_and_its_statistics_see_the_batch_as_augmented_and_nothing_else_does():
    keys = []

    def preprocess(batch, key):
        keys.append(key)
        return Normalize((0.5,) * 3, (0.25,) * 3)(batch)

    algorithm = dataclasses.replace(supervised(), preprocess=preprocess)
    state = jax.eval_shape(algorithm.init, init_key(0), some_batch())
    assert keys.pop() is None
    for method, given in ((algorithm.step, state),
                          (algorithm.with_statistics, algorithm.variables(state))):
        jax.eval_shape(method, given, some_batch(), step_key(0, 0))
        assert keys.pop() is not None and not keys


def test_a_run_without_a_schedule_evaluates_the_average_of_what_it_trains():
    rule = optimizers.schedule_free_adamw(learning_rate=0.5, schedule=schedules.constant(steps=9))
    algorithm = dataclasses.replace(supervised(rule=rule), freeze=('encoder/.*',))
    frozen, trainable = ({part: {'kernel': jnp.ones((2, 2))}} for part in ('encoder', 'head'))
    _, moments = rule.update(trainable, rule.init(trainable), trainable)
    found = algorithm.variables(TrainState({**frozen, **trainable}, {'batch_stats': {}}, moments))
    average = optimizers.evaluated_params(moments, trainable)
    assert largest_difference(found, {'params': {**frozen, **average}, 'batch_stats': {}}) == 0
    assert largest_difference(average, trainable) > 0.05


def test_the_metrics_of_a_step_are_the_losses_the_gradient_and_the_rate_that_was_applied():
    schedule = schedules.poly(steps=4, power=0.5)
    rule = optimizers.sgd(learning_rate=0.4, schedule=schedule, momentum=0.0, weight_decay=0.0)
    algorithm = supervised(rule=rule)
    state = start(algorithm)
    step = jax.jit(lambda state: algorithm.step(state, some_batch(), step_key(0, 0)))
    for index in range(3):
        after, metrics = step(state)
        assert set(metrics) == {'loss', 'cross_entropy', 'dice', 'gradient_norm', 'learning_rate'}
        np.testing.assert_allclose(metrics['loss'],
                                   metrics['cross_entropy'] + 0.5 * metrics['dice'], rtol=1e-5)
        np.testing.assert_allclose(metrics['learning_rate'], 0.4 * (1 - index / 4) ** 0.5,
                                   rtol=1e-6)
        change = optax.tree.norm(jax.tree.map(jnp.subtract, after.params, state.params))
        np.testing.assert_allclose(change, metrics['learning_rate'] * metrics['gradient_norm'],
                                   rtol=1e-4)
        state = after
    # An optimizer that reports no rate: the metric is left out.
    assert optimizers.applied_rate(optax.adam(1e-3).init({'kernel': jnp.ones(2)})) is None


def test_checkpoints_keep_the_two_latest_and_the_best_and_never_a_nan(tmp_path):
    algorithm = supervised()
    state, checkpoints = start(algorithm), Checkpoints(tmp_path)
    for step, miou in ((1, 0.5), (2, 0.9), (3, math.nan), (4, None), (5, 0.6)):
        checkpoints.save(step, state, algorithm.variables, miou)
    checkpoints.close()
    found, damaged = list_checkpoints(tmp_path)
    assert sorted(found) == [2, 4, 5] and not damaged
    assert [find(tmp_path, found, which) for which in ('best', 'latest', '4')] == [2, 5, 4]
    assert found[5].progress == (0.9, 2, 5)
    for which in ('3', '²', '-1', ''):
        with pytest.raises(InputError, match="is not in .* one of 2, 4, 5"):
            find(tmp_path, found, which)
    with pytest.raises(InputError, match='is not in'):  # more digits than Python makes a number of
        restore_variables(tmp_path, '1' * 5000, jax.eval_shape(lambda: state.params))
    step, restored = restore_state(tmp_path, jax.eval_shape(lambda: state), algorithm.variables)
    assert step == 5 and largest_difference(restored, state) == 0


def test_of_equal_scores_the_latest_is_the_best(tmp_path):
    checkpoints = {step: Checkpoint(tmp_path, score, Progress(0.5, 0, 1), {}, {})
                   for step, score in ((2, 0.5), (4, 0.5), (6, 0.25))}
    assert find(tmp_path, checkpoints, 'best') == 4


def test_too_little_memory_or_too_many_files_are_no_damage_of_a_checkpoint(tmp_path, monkeypatch):
    state, checkpoints = {'params': jnp.ones(2)}, Checkpoints(tmp_path / 'checkpoints')
    for step in (1, 2):
        checkpoints.save(step, state, lambda state: state, 0.5)
    checkpoints.close()
    for error, raised in (
            (jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory'),
             jax.errors.JaxRuntimeError),
            (OSError(errno.EMFILE, 'Too many open files'), OSError),
            (ValueError("RESOURCE_EXHAUSTED: Error opening file [os_error_code='24']"), OSError),
            (OSError(errno.ENOMEM, 'Cannot allocate memory'), OSError)):
        monkeypatch.setattr('jaxseg.training.restore._check_readable',
                            mock.Mock(side_effect=error))
        with pytest.raises(raised):
            restore_state(tmp_path / 'checkpoints', state, lambda state: state)
        assert sorted(list_checkpoints(tmp_path / 'checkpoints')[0]) == [1, 2]


def test_a_checkpoint_that_was_saved_without_a_score_may_get_it_later(tmp_path):
    state, progress = {'params': jnp.ones(2)}, Progress(0.5, 0, 1)
    for saves in (((1, 0.5), (2, None)), ((2, 0.75), (3, 0.25), (4, math.nan))):
        checkpoints = Checkpoints(tmp_path, progress)
        for step, score in saves:
            checkpoints.save(step, state, lambda state: state, score)
        checkpoints.close()
    found, damaged = list_checkpoints(tmp_path)
    assert sorted(found) == [2, 3, 4] and not damaged and find(tmp_path, found, 'best') == 2
    assert found[2].score == 0.75 and found[4].progress == (0.75, 2, 4)


def averaged(state):
    return {'params': jax.tree.map(lambda leaf: leaf / 2, state['sum'])}


@pytest.mark.parametrize('variables, shared', [
    (lambda state: {'params': state['params']}, 2),
    (lambda state: {'params': state['sum'], 'more': state['sum']}, 2),
    (averaged, 0)], ids=['of the state', 'twice', 'computed'])
def test_any_state_is_saved_and_restored_and_nothing_twice(tmp_path, variables, shared):
    params = {'conv': {'kernel': jnp.arange(6.0).reshape(2, 3)}, 'scale': jnp.ones(3)}
    state = {'params': params, 'sum': jax.tree.map(lambda leaf: 3 * leaf, params),
             'count': jnp.int32(4), 'moments': optax.adam(1e-3).init(params)}
    assert len(shared_leaves(variables, state)) == shared
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, variables, 0.5)
    checkpoints.close()
    _, restored = restore_state(tmp_path, jax.eval_shape(lambda: state), variables)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert largest_difference(restored, state) == 0
    _, model = restore_variables(tmp_path, 'best', jax.eval_shape(variables, state))
    assert largest_difference(model, variables(state)) == 0


@pytest.mark.parametrize('model', [{'weight': jnp.ones(2)}, {}], ids=['all', 'nothing'])
def test_a_state_of_which_all_or_nothing_is_the_model_is_saved_and_restored(tmp_path, model):
    def variables(state):
        return {'params': state['model']}

    state = {'model': model} if model else {'model': {}, 'count': jnp.int32(3)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, variables, 0.5)
    checkpoints.close()
    step, restored = restore_state(tmp_path, jax.eval_shape(lambda: state), variables)
    assert step == 1 and jax.tree.structure(restored) == jax.tree.structure(state)
    assert largest_difference(restored, state) == 0
    _, found = restore_variables(tmp_path, 'best', {'params': model})
    assert str(found) == str({'params': model})
    more = {**state, 'moments': jnp.ones(1)}
    with pytest.raises(InputError, match='moments is missing in the checkpoint'):
        restore_state(tmp_path, more, variables)


def test_a_checkpoint_that_does_not_fit_names_the_parameter_and_both_shapes(tmp_path):
    algorithm = supervised()
    state, checkpoints = start(algorithm), Checkpoints(tmp_path)
    checkpoints.save(1, state, algorithm.variables, 0.5)
    checkpoints.close()
    wider = jax.eval_shape(algorithm.variables, state)
    wider['params']['head']['kernel'] = jax.ShapeDtypeStruct((3, 3, 4, 7), jnp.float32)
    with pytest.raises(InputError, match=r'kernel is float32 \(3, 3, 4, 3\) .* \(3, 3, 4, 7\)'):
        restore_variables(tmp_path, 'latest', wider)
    other = supervised(rule=optax.adam(1e-3))
    with pytest.raises(InputError, match='opt_state.* is missing in the checkpoint'):
        restore_state(tmp_path, jax.eval_shape(lambda: start(other)), other.variables)
    with pytest.raises(InputError, match='no checkpoint yet'):
        restore_variables(tmp_path / 'empty', 'best', wider)
    assert restore_state(tmp_path / 'empty', wider, other.variables) is None
