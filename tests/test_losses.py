"""Losses: hand-worked values, slow references, gradients, and nothing from under void."""

import doctest
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.losses import cross_entropy as cross_entropy_module
from jaxseg.losses import dice as dice_module
from jaxseg.losses import focal as focal_module
from jaxseg.losses import lovasz as lovasz_module
from jaxseg.losses.weighted import WeightedSum
from tests.references import losses as references

WEIGHTS = (0.5, 2.0, 1.0, 3.0)
LOSSES = {
    'plain': (cross_entropy_module.cross_entropy, functools.partial(
        references.cross_entropy, class_weights=np.ones(4), smoothing=0)),
    'weighted': (functools.partial(cross_entropy_module.cross_entropy, class_weights=WEIGHTS, label_smoothing=0.1),
                 functools.partial(references.cross_entropy, class_weights=WEIGHTS, smoothing=0.1)),
    'focal': (functools.partial(focal_module.focal, gamma=1.5), functools.partial(
        references.focal, gamma=1.5, class_weights=np.ones(4))),
    'focal weighted': (functools.partial(focal_module.focal, gamma=2.5, class_weights=WEIGHTS),
                       functools.partial(references.focal, gamma=2.5, class_weights=WEIGHTS)),
    'dice': (functools.partial(dice_module.dice, smooth=0.5), functools.partial(references.dice, smooth=0.5)),
    'lovasz': (lovasz_module.lovasz_softmax, references.lovasz_softmax),
}
each_loss = pytest.mark.parametrize('name', LOSSES)


def example(seed: int = 0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(3, 5, 6, 4)).astype(np.float32) * 2
    labels = rng.integers(0, 4, (3, 5, 6)).astype(np.int32)
    labels[1][labels[1] == 2] = 3  # a class that one image does not hold
    return logits, labels, rng.random((3, 5, 6)) < 0.7


def mean(name: str, logits, labels, valid):
    total, count = LOSSES[name][0](logits, labels, valid)
    return total / jnp.maximum(count, 1e-9)


@each_loss
def test_sum_and_count_equal_the_slow_reference(name):
    loss, reference = LOSSES[name]
    np.testing.assert_allclose(loss(*example()), reference(*example()), rtol=2e-5)


@pytest.mark.parametrize('module', [cross_entropy_module, focal_module, dice_module, lovasz_module])
def test_the_hand_worked_examples_of_the_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted >= 2 and result.failed == 0


def test_weighted_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
    total, count = cross_entropy_module.cross_entropy(logits, jnp.array([0, 1]), jnp.ones(2, bool), class_weights=(1, 3))
    assert float(count) == 4
    assert float(total) == pytest.approx(np.log(2) + 3 * np.log(4 / 3))


@each_loss
def test_the_gradient_equals_finite_differences(name):
    logits, labels, valid = example()
    direction = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
    slope = float((jax.grad(functools.partial(mean, name))(logits, labels, valid) * direction).sum())
    reference = LOSSES[name][1]
    ends = [reference(logits.astype(float) + step * direction, labels, valid) for step in (1e-6, -1e-6)]
    assert slope == pytest.approx((ends[0][0] / ends[0][1] - ends[1][0] / ends[1][1]) / 2e-6, rel=1e-3)


@each_loss
def test_void_pixels_do_not_matter(name):
    logits, labels, valid = example()
    value, gradient = jax.value_and_grad(functools.partial(mean, name))(logits, labels, valid)
    wild = np.where(valid[..., None], logits, np.random.default_rng(2).choice([-1e4, np.inf, 1e30], logits.shape))
    other, other_gradient = jax.value_and_grad(functools.partial(mean, name))(
        wild.astype(np.float32), np.where(valid, labels, 255), valid)
    np.testing.assert_array_equal(value, other)
    np.testing.assert_array_equal(gradient, other_gradient)
    assert not np.asarray(gradient)[~valid].any()


@each_loss
@pytest.mark.parametrize('scale', [1, 1e4])
def test_all_void_is_zero_with_a_zero_gradient(name, scale):
    logits, labels, valid = example()
    loss = LOSSES[name][0]
    total, count = loss(logits * scale, labels + 200, np.zeros_like(valid))
    assert (float(total), float(count)) == (0, 0)
    gradient = jax.grad(lambda x: loss(x, labels + 200, np.zeros_like(valid))[0])(logits * scale)
    np.testing.assert_array_equal(gradient, 0)


@each_loss
def test_extreme_logits_stay_finite(name):
    logits, labels, valid = example()
    value, gradient = jax.value_and_grad(functools.partial(mean, name))(logits * 1e4, labels, valid)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@each_loss
def test_a_batch_adds_up_from_its_parts(name):
    loss, data = LOSSES[name][0], example()
    whole = loss(*data)
    parts = [loss(*(x[i:i + 1] for x in data)) for i in range(3)]
    np.testing.assert_allclose(whole, np.sum(parts, 0), rtol=1e-5)


@each_loss
def test_jit_and_vmap_give_the_same(name):
    loss, data = LOSSES[name][0], example()
    expected = loss(*data)
    np.testing.assert_allclose(jax.jit(loss)(*data), expected, rtol=1e-5)
    mapped = jax.jit(jax.vmap(loss))(*(x[:, None] for x in data))
    np.testing.assert_allclose([part.sum() for part in mapped], expected, rtol=1e-5)


@each_loss
def test_void_pixels_can_as_well_be_removed(name):
    logits, labels, valid = (x[:1].reshape(1, 30, *x.shape[3:]) for x in example())
    keep = np.flatnonzero(valid[0])
    shorter = logits[:, keep], labels[:, keep], valid[:, keep]
    np.testing.assert_allclose(LOSSES[name][0](logits, labels, valid), LOSSES[name][0](*shorter), rtol=1e-5)
    slope = jax.grad(functools.partial(mean, name))
    np.testing.assert_allclose(slope(logits, labels, valid)[:, keep], slope(*shorter), rtol=1e-4, atol=1e-7)


@each_loss
def test_permuted_classes_give_the_same_loss(name):
    logits, labels, valid = example()
    order = np.array([2, 0, 3, 1])
    loss = LOSSES[name][0]
    if 'weighted' in name:
        loss = functools.partial(loss, class_weights=[WEIGHTS[i] for i in order])
    np.testing.assert_allclose(LOSSES[name][0](logits, labels, valid), loss(
        logits[..., order], np.argsort(order)[labels].astype(np.int32), valid), rtol=1e-5)


@each_loss
def test_bfloat16_logits_are_summed_in_float32(name):
    logits, labels, valid = example()
    total, count = LOSSES[name][0](jnp.asarray(logits, jnp.bfloat16), labels, valid)
    assert total.dtype == count.dtype == jnp.float32
    np.testing.assert_allclose(total, LOSSES[name][1](logits, labels, valid)[0], rtol=2e-2)


def test_focal_without_focus_is_cross_entropy():
    np.testing.assert_allclose(focal_module.focal(*example(), gamma=0, class_weights=WEIGHTS),
                               cross_entropy_module.cross_entropy(*example(), class_weights=WEIGHTS), rtol=1e-6)


@pytest.mark.parametrize('loss', [cross_entropy_module.cross_entropy, focal_module.focal])
def test_as_many_class_weights_as_classes(loss):
    with pytest.raises(InputError, match='class_weights: 2 weights for 4 classes'):
        loss(*example(), class_weights=(1.0, 2.0))


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match=r'label_smoothing: 1.0 is outside \[0, 1\)'):
        cross_entropy_module.cross_entropy(*example(), label_smoothing=1.0)
    with pytest.raises(InputError, match='gamma: -1 is negative'):
        focal_module.focal(*example(), gamma=-1)


def test_a_weighted_sum_divides_once_and_counts_nothing_as_zero():
    losses = WeightedSum({'a': (2.0, lambda *_: (jnp.array(6.0), jnp.array(4.0))),
                          'b': (0.5, lambda *_: (jnp.array(0.0), jnp.array(0.0)))})
    parts = losses(None, None, None)
    assert float(losses.total(parts)) == 3.0
    assert {name: float(value) for name, value in losses.means(parts).items()} == {'a': 1.5, 'b': 0.0}
