"""Optimizers and schedules: exact values of their formulas."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jaxseg.errors import InputError
from jaxseg.training import optimizer as optimizers
from jaxseg.training import schedule as schedules
from jaxseg.training.parameters import named, nested
from tests.variables import random

OPTIMIZERS = ('sgd', 'adamw', 'lion', 'muon', 'schedule_free_adamw')


def test_schedules_have_hand_worked_values():
    poly = schedules.poly(steps=100, warmup=0, power=0.9)
    assert float(poly(0)) == 1
    assert float(poly(50)) == pytest.approx(0.5 ** 0.9)
    assert float(poly(100)) == 0
    poly = schedules.poly(steps=100, warmup=20, power=0.9)
    assert float(poly(60)) == pytest.approx(0.5 ** 0.9)
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


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_weight_decay_applies_to_kernels_only(name):
    params = {'pair': {'kernel': (jnp.ones(2), jnp.ones(2)), 'bias': (jnp.ones(2),)},
              'conv': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)},
              'norm': {'scale': jnp.ones(2)}, 'cell': {'recurrent_kernel': jnp.ones((2, 2))}}
    rule = getattr(optimizers, name)(learning_rate=0.5, schedule=schedules.constant(steps=10),
                                     weight_decay=0.1)
    updates, _ = rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)
    after = optax.apply_updates(params, updates)
    np.testing.assert_allclose(after['conv']['kernel'], 0.95, rtol=1e-6)
    np.testing.assert_allclose(after['cell']['recurrent_kernel'], 0.95, rtol=1e-6)
    np.testing.assert_allclose(after['pair']['kernel'][1], 0.95, rtol=1e-6)
    np.testing.assert_allclose(after['pair']['bias'][0], 1, rtol=1e-6)
    np.testing.assert_allclose(after['conv']['bias'], 1, rtol=1e-6)
    np.testing.assert_allclose(after['norm']['scale'], 1, rtol=1e-6)


def updates_of(rule, params: dict, *gradients: dict) -> list[dict]:
    """The updates for some gradients in turn, the parameters staying as they are."""
    state, found = rule.init(params), []
    for gradient in gradients:
        updates, state = rule.update(gradient, state, params)
        found.append(jax.tree.map(np.asarray, updates))
    return found


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_every_optimizer_applies_the_rate_of_its_schedule_at_every_step(name):
    rule = getattr(optimizers, name)(learning_rate=0.5, schedule=lambda step: 0.5 ** step)
    params = {'kernel': random(3, 2)}
    state, rates = rule.init(params), []
    for _ in range(3):
        _, state = rule.update(params, state, params)
        rates.append(float(optimizers.applied_rate(state)))
    assert rates == [0.5, 0.25, 0.125]


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_every_optimizer_takes_the_gradients_as_they_are_after_clipping(name):
    def rule(**options):
        return getattr(optimizers, name)(learning_rate=1.0, weight_decay=0.0, **options,
                                         schedule=schedules.constant(steps=9))

    params = {'kernel': random(4, 3), 'bias': random(3)}
    # In the momentum the second would vanish beside the first if they were not clipped.
    gradients = [{'kernel': scale * random(4, 3, seed=seed), 'bias': scale * random(3, seed=seed)}
                 for seed, scale in ((1, 1000.0), (2, 1.0))]
    units = [optax.tree.scale(1 / optax.tree.norm(gradient), gradient) for gradient in gradients]
    clipped = updates_of(rule(max_grad_norm=1.0), params, *gradients)
    expected, free = (updates_of(rule(), params, *given) for given in (units, gradients))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), clipped,
                 expected)
    assert np.abs(free[1]['kernel'] - expected[1]['kernel']).max() > 0.1


def test_the_gradient_is_clipped_before_the_decay_is_added():
    rule = optimizers.sgd(learning_rate=0.5, schedule=schedules.constant(steps=2), momentum=0.0,
                          weight_decay=0.1, max_grad_norm=1.0)
    update, = updates_of(rule, {'kernel': jnp.array([10.0, 0.0])},
                         {'kernel': jnp.array([30.0, 40.0])})
    # -0.5 ((0.6, 0.8) + 0.1 (10, 0)); clipped afterwards its norm would be 0.5.
    np.testing.assert_allclose(update['kernel'], [-0.8, -0.4], rtol=1e-5)
    free = optimizers.sgd(learning_rate=1.0, schedule=schedules.constant(steps=2), momentum=0.0,
                          weight_decay=0.0)
    update, = updates_of(free, {'kernel': jnp.zeros(2)}, {'kernel': jnp.array([30.0, 40.0])})
    np.testing.assert_allclose(update['kernel'], [-30, -40], rtol=1e-6)


def test_momentum_sums_the_gradients_of_earlier_steps():
    options = dict(learning_rate=0.1, schedule=schedules.constant(steps=9), weight_decay=0.0)
    gradients = [{'kernel': jnp.array([value])} for value in (1.0, 2.0, 0.0)]
    plain = updates_of(optimizers.sgd(**options), {'kernel': jnp.zeros(1)}, *gradients)
    # v: 1, 0.9 + 2, 0.81 + 1.8
    np.testing.assert_allclose([update['kernel'][0] for update in plain], [-0.1, -0.29, -0.261],
                               rtol=1e-5)
    nesterov = updates_of(optimizers.sgd(**options, nesterov=True),
                          {'kernel': jnp.zeros(1)}, *gradients)
    np.testing.assert_allclose([update['kernel'][0] for update in nesterov],
                               [-0.19, -0.461, -0.2349], rtol=1e-5)


def test_adamw_and_lion_have_the_values_of_their_formulas():
    gradients = [{'kernel': jnp.array([2.0])}, {'kernel': jnp.array([-1.0])}]
    options = dict(schedule=schedules.constant(steps=9), weight_decay=0.0)
    adam = updates_of(optimizers.adamw(learning_rate=0.1, b1=0.8, b2=0.5, **options),
                      {'kernel': jnp.zeros(1)}, *gradients)
    # m: 0.4, 0.12; v: 2, 1.5; corrected by 1 - 0.8^t and 1 - 0.5^t.
    second = -0.1 * (0.12 / 0.36) / math.sqrt(1.5 / 0.75)
    np.testing.assert_allclose([update['kernel'][0] for update in adam], [-0.1, second], rtol=1e-4)
    lion = updates_of(optimizers.lion(learning_rate=0.1, b1=0.5, b2=0.9, **options),
                      {'kernel': jnp.zeros(1)}, *gradients)
    # Momentum after the first step 0.2: 0.5 * 0.2 - 0.5 is negative.
    np.testing.assert_allclose([update['kernel'][0] for update in lion], [-0.1, 0.1], rtol=1e-5)


def test_muon_makes_the_momentum_of_kernels_orthogonal_and_leaves_the_rest_to_adam():
    rule = optimizers.muon(learning_rate=0.5, schedule=schedules.constant(steps=9),
                           weight_decay=0.0)
    rng = np.random.default_rng(0)
    shapes = {'conv': (3, 3, 2, 4), 'depthwise': (3, 3, 1, 4), 'dense': (6, 3), 'head': (6, 3)}
    params = {name: {'kernel': jnp.zeros(shape), 'bias': jnp.zeros(shape[-1:])}
              for name, shape in shapes.items()}
    gradient = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)
    update, _ = jax.jit(rule.update)(gradient, rule.init(params), params)
    for name, rows in (('conv', 18), ('dense', 6)):
        # U S V^T -> U S' V^T with S' between 0.5 and 1.5, times 0.2 sqrt(rows) and the rate.
        matrix = np.asarray(gradient[name]['kernel']).reshape(rows, -1)
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        middle = left.T @ update[name]['kernel'].reshape(rows, -1) @ right.T
        middle /= -0.5 * 0.2 * np.sqrt(rows)
        assert np.abs(middle - np.diag(np.diag(middle))).max() < 1e-3
        assert np.diag(middle).min() > 0.5 and np.diag(middle).max() < 1.5
    for name, part in (('head', 'kernel'), ('depthwise', 'kernel'), ('conv', 'bias')):
        # The first step of Adam, here with Nesterov's momentum, goes by the sign.
        steps = np.asarray(update[name][part]) / np.sign(gradient[name][part])
        np.testing.assert_allclose(steps, steps.flat[0], rtol=1e-3)
        assert steps.flat[0] < 0


def test_one_iteration_of_muon_is_its_polynomial_of_the_singular_values():
    rule = optimizers.muon(learning_rate=0.5, schedule=schedules.constant(steps=9), iterations=1,
                           weight_decay=0.0)
    gradient = {'kernel': random(6, 3)}
    params = {'kernel': jnp.zeros((6, 3))}
    update, _ = rule.update(gradient, rule.init(params), params)
    left, values, right = np.linalg.svd(np.asarray(gradient['kernel']), full_matrices=False)
    values /= np.sqrt((values ** 2).sum())  # the Frobenius norm
    expected = left * (3.4445 * values - 4.775 * values ** 3 + 2.0315 * values ** 5) @ right
    np.testing.assert_allclose(update['kernel'], -0.5 * 0.2 * np.sqrt(6) * expected, atol=1e-4)


def test_muon_leaves_the_heads_and_arrays_of_several_matrices_to_adam():
    """The output of a self-attention (heads, channels of one, features) is a matrix, and Muon's."""
    shapes = {'context/layers_0/recurrence_gate_kernel': (8, 4, 4),
              'context/layers_0/corners/input/kernel': (4, 5, 6),
              'auxiliary/heads_0/kernel': (1, 1, 5, 3), 'head/kernel': (1, 1, 5, 3),
              'context/layers_0/out0/kernel': (2, 3, 6),
              'auxiliary/decoders_0/conv0/kernel': (1, 1, 5, 3)}
    gradient = nested({name: random(*shape) for name, shape in shapes.items()})
    rule = optimizers.muon(learning_rate=1.0, schedule=schedules.constant(steps=9), iterations=1,
                           weight_decay=0.0)
    update, = updates_of(rule, gradient, gradient)
    # The first step of Adam goes by the sign.
    by_sign = {name: np.abs(leaf).std() < 1e-3 for name, leaf in named(update).items()}
    assert by_sign == dict(zip(shapes, [True] * 4 + [False] * 2, strict=True))


@pytest.mark.parametrize('iterations', [1, 3, 5, 12])
def test_muon_is_the_one_of_optax(iterations):
    """Tall, wide, square and singular kernels, and the parameters that are left to Adam."""
    shapes = {'tall': (3, 3, 4, 8), 'wide': (1, 1, 3, 20), 'square': (6, 6), 'singular': (9, 5)}
    params = {name: {'kernel': random(*shape), 'bias': random(shape[-1])}
              for name, shape in shapes.items()}

    def axes(params):
        return {name: {'kernel': contrib.MuonDimensionNumbers(
            tuple(range(part['kernel'].ndim - 1)), part['kernel'].ndim - 1), 'bias': None}
            for name, part in params.items()}

    rules = (optimizers.muon(learning_rate=1.0, schedule=schedules.constant(steps=9),
                             iterations=iterations, weight_decay=0.0, momentum=0.8, b1=0.7,
                             b2=0.6),
             contrib.muon(1.0, ns_steps=iterations, consistent_rms=0.2, beta=0.8, adam_b1=0.7,
                          adam_b2=0.6, muon_weight_dimension_numbers=axes))
    states = [rule.init(params) for rule in rules]
    for step in range(3):
        gradient = {name: {'kernel': random(*shape, seed=step), 'bias': random(shape[-1])}
                    for name, shape in shapes.items()}
        gradient['singular']['kernel'][:, 2:] = 0
        updates, states = zip(*(jax.jit(rule.update)(gradient, state, params)
                                for rule, state in zip(rules, states, strict=True)), strict=True)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), *updates)


def test_schedule_free_evaluates_the_mean_of_its_steps():
    """With gradients that do not depend on the weights Adam's steps are known."""
    rule = optimizers.schedule_free_adamw(
        learning_rate=0.1, schedule=schedules.constant(steps=9), weight_decay=0.0, b1=0.75, b2=0.5)
    params = {'kernel': jnp.array([1.0])}
    state = rule.init(params)
    np.testing.assert_allclose(optimizers.evaluated_params(state, params)['kernel'], 1, rtol=1e-6)
    for mean in (0.9, (0.9 + 0.8) / 2, (0.9 + 0.8 + 0.7) / 3):  # z: 0.9, 0.8, 0.7
        updates, state = rule.update({'kernel': jnp.array([2.0])}, state, params)
        params = optax.apply_updates(params, updates)
        found = optimizers.evaluated_params(state, params)['kernel']
        np.testing.assert_allclose(found, [mean], rtol=1e-5)
    np.testing.assert_allclose(params['kernel'], [0.75 * mean + 0.25 * 0.7], rtol=1e-5)
    assert float(optimizers.applied_rate(state)) == pytest.approx(0.1)
    assert optimizers.evaluated_params(optax.adam(0.1).init(params), params) is params
