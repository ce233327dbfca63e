"""Every loss: hand-worked values, a slow reference, gradients, void, exact sums of microbatches."""

import doctest
import functools
import importlib
import inspect
import math
import pkgutil
import typing
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.errors import InputError
from jaxseg.fields import check_value
from jaxseg.losses.binary_cross_entropy import binary_cross_entropy
from jaxseg.losses.binary_dice import binary_dice
from jaxseg.losses.binary_focal import binary_focal
from jaxseg.losses.boundary import binary_boundary, boundary
from jaxseg.losses.cross_entropy import cross_entropy
from jaxseg.losses.dice import dice
from jaxseg.losses.focal import focal
from jaxseg.losses.hard_pixels import ohem_cross_entropy, topk_cross_entropy
from jaxseg.losses.lovasz import lovasz_softmax
from tests.references import losses as references

CLASSES = 4
WEIGHTS, ONES = (0.5, 2.0, 1.0, 3.0), (1.0,) * 4


class Case(NamedTuple):
    loss: Callable
    options: dict
    reference_options: dict  # where the reference states what is the loss's default
    scale: float = 1.0  # of the reference's sum

    @property
    def binary(self) -> bool:
        return self.loss.__name__.startswith('binary')

    def __call__(self, logits, labels, valid):
        return self.loss(logits, labels, valid, **self.options)

    def reference(self, logits, labels, valid):
        total, count = getattr(references, self.loss.__name__)(
            logits, labels, valid, **{**self.options, **self.reference_options})
        return self.scale * total, count


CASES = {
    'cross_entropy': Case(cross_entropy, {}, dict(class_weights=ONES, label_smoothing=0)),
    'cross_entropy weighted': Case(
        cross_entropy, dict(class_weights=WEIGHTS, label_smoothing=0.1), {}),
    'focal': Case(focal, dict(gamma=0.5), dict(class_weights=ONES)),
    'focal weighted': Case(focal, dict(gamma=2.5, class_weights=WEIGHTS), {}),
    'dice': Case(dice, dict(smooth=0.5), {}),
    'dice without smoothing': Case(dice, dict(smooth=0.0), {}),
    'lovasz': Case(lovasz_softmax, {}, {}),
    'binary_cross_entropy': Case(binary_cross_entropy, {}, dict(pos_weight=ONES)),
    'binary_cross_entropy weighted': Case(binary_cross_entropy, dict(pos_weight=WEIGHTS), {}),
    'binary_focal': Case(binary_focal, dict(gamma=1.5), dict(alpha=0.5), 2.0),
    'binary_focal weighted': Case(binary_focal, dict(gamma=0.5, alpha=0.25), {}),
    'binary_dice': Case(binary_dice, dict(smooth=0.5), {}),
    'topk': Case(topk_cross_entropy, dict(fraction=0.3), dict(class_weights=ONES)),
    'topk weighted': Case(topk_cross_entropy, dict(fraction=0.5, class_weights=WEIGHTS), {}),
    # Of the three images one has more unsure pixels than its share, of another it is the reverse.
    'ohem': Case(ohem_cross_entropy, dict(threshold=0.05, min_kept=0.4), dict(class_weights=ONES)),
    'ohem weighted': Case(
        ohem_cross_entropy, dict(threshold=0.6, min_kept=0.1, class_weights=WEIGHTS), {}),
    'boundary': Case(boundary, dict(max_distance=2), {}),
    'binary_boundary': Case(binary_boundary, dict(max_distance=3), {}),
}
each_loss = pytest.mark.parametrize('name', CASES)
BOUNDARIES = ('boundary', 'binary_boundary')  # which alone depend on where the pixels are
softmax_losses, sigmoid_losses = (
    list(dict.fromkeys(case.loss for case in CASES.values() if case.binary == binary))
    for binary in (False, True))


def example(binary: bool):
    """Three images with 10, 50 and 80 per cent void; one class does not occur in the second."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 6, CLASSES)).astype(np.float32) * 2
    labels = rng.integers(0, CLASSES, (3, 5, 6)).astype(np.int32)
    labels[1][labels[1] == 2] = 3
    if binary:
        labels = (labels[..., None] >= np.arange(CLASSES)).astype(np.int32)
        labels[1, ..., 2] = 0
    share = np.array([0.9, 0.5, 0.2]).reshape(3, *[1] * (labels.ndim - 1))
    return logits, labels, rng.random(labels.shape) < share


def per_logit(name: str, valid: np.ndarray) -> np.ndarray:
    if CASES[name].binary:
        return valid
    return np.broadcast_to(valid[..., None], (*valid.shape, CLASSES))


@functools.cache
def compiled(name: str):
    """`(logits, labels, valid) -> ((sum, count), gradient of the sum)`."""
    return jax.jit(jax.value_and_grad(CASES[name], has_aux=True))


def test_every_loss_of_the_package_is_in_the_table():
    modules = [importlib.import_module(f'jaxseg.losses.{found.name}')
               for found in pkgutil.iter_modules(losses.__path__)]
    found = {symbol for module in modules for symbol in vars(module).values()
             if inspect.isfunction(symbol) and symbol.__module__ == module.__name__
             and list(inspect.signature(symbol).parameters)[:3] == ['logits', 'labels', 'valid']}
    assert found == {case.loss for case in CASES.values()}


@pytest.mark.parametrize('loss', softmax_losses + sigmoid_losses)
def test_the_hand_worked_examples_of_the_docstrings_hold(loss):
    result = doctest.testmod(importlib.import_module(loss.__module__))
    assert result.attempted >= 2 and result.failed == 0


@each_loss
def test_sum_and_count_equal_the_slow_reference(name):
    data = example(CASES[name].binary)
    np.testing.assert_allclose(compiled(name)(*data)[0], CASES[name].reference(*data), rtol=2e-5)


def test_weighted_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
    total, count = cross_entropy(logits, jnp.array([0, 1]), jnp.ones(2, bool), class_weights=(1, 3))
    assert float(count) == 4
    assert float(total) == pytest.approx(np.log(2) + 3 * np.log(4 / 3))


@each_loss
def test_the_gradient_equals_finite_differences(name):
    logits, labels, valid = example(CASES[name].binary)
    direction = np.random.default_rng(1).normal(size=logits.shape)
    gradient = compiled(name)(logits, labels, valid)[1]
    above, below = (CASES[name].reference(logits + step * direction, labels, valid)[0]
                    for step in (1e-6, -1e-6))
    assert float((gradient * direction).sum()) == pytest.approx((above - below) / 2e-6, rel=1e-3)


@each_loss
def test_the_count_does_not_depend_on_the_logits(name):
    logits, labels, valid = example(CASES[name].binary)
    counts = [compiled(name)(x, labels, valid)[0][1]
              for x in (logits, 0 * logits, 1e4 * logits, logits * np.nan)]
    assert len(set(map(float, counts))) == 1
    gradient = jax.jit(jax.grad(lambda x: CASES[name](x, labels, valid)[1]))(logits)
    np.testing.assert_array_equal(gradient, 0)


@each_loss
def test_microbatches_of_unequal_void_add_up_to_the_batch_and_so_do_their_gradients(name):
    data = example(CASES[name].binary)
    whole, gradient = compiled(name)(*data)
    parts, gradients = zip(*(compiled(name)(*(x[i:i + 1] for x in data)) for i in range(3)),
                           strict=True)
    np.testing.assert_allclose(np.sum(parts, 0), whole, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(gradients), gradient, rtol=1e-4, atol=1e-6)


@each_loss
def test_void_pixels_do_not_matter(name):
    logits, labels, valid = example(CASES[name].binary)
    rng = np.random.default_rng(2)
    wild = rng.choice(np.float32([-1e4, 1e30, np.inf, -np.inf, np.nan]), logits.shape)
    clean = compiled(name)(logits, labels, valid)
    other = compiled(name)(np.where(per_logit(name, valid), logits, wild),
                           np.where(valid, labels, rng.choice([-1, 255], labels.shape)), valid)
    jax.tree.map(np.testing.assert_array_equal, other, clean)
    assert not np.asarray(clean[1])[~per_logit(name, valid)].any()


@each_loss
@pytest.mark.parametrize('scale', [1, 1e4])
def test_all_void_is_zero_with_a_zero_gradient(name, scale):
    logits, labels, valid = example(CASES[name].binary)
    (total, count), gradient = compiled(name)(logits * scale, labels + 200, np.zeros_like(valid))
    assert (float(total), float(count)) == (0, 0)
    np.testing.assert_array_equal(gradient, 0)


@each_loss
def test_extreme_logits_stay_finite(name):
    logits, labels, valid = example(CASES[name].binary)
    (total, _), gradient = compiled(name)(logits * 1e4, labels, valid)
    assert np.isfinite(total) and np.isfinite(gradient).all()


@pytest.mark.parametrize('name', [name for name in CASES if name not in BOUNDARIES])
def test_void_pixels_can_as_well_be_removed(name):
    data = example(CASES[name].binary)
    logits, labels, valid = (x[:1].reshape(1, 30, *x.shape[3:]) for x in data)
    if CASES[name].binary:
        valid = np.broadcast_to(valid[..., :1], valid.shape)
    keep = np.flatnonzero(valid[0] if valid.ndim == 2 else valid[0, :, 0])
    full, gradient = compiled(name)(logits, labels, valid)
    shorter = compiled(name)(logits[:, keep], labels[:, keep], valid[:, keep])
    np.testing.assert_allclose(full, shorter[0], rtol=1e-5)
    np.testing.assert_allclose(gradient[:, keep], shorter[1], rtol=1e-4, atol=1e-6)


@each_loss
def test_permuted_classes_give_the_same_loss(name):
    case, order = CASES[name], np.array([2, 0, 3, 1])
    logits, labels, valid = example(case.binary)
    options = {key: [value[i] for i in order] if isinstance(value, tuple) else value
               for key, value in case.options.items()}
    permuted = ((labels[..., order], valid[..., order]) if case.binary
                else (np.argsort(order)[labels].astype(np.int32), valid))
    np.testing.assert_allclose(case.loss(logits[..., order], *permuted, **options),
                               compiled(name)(logits, labels, valid)[0], rtol=1e-5)


@each_loss
def test_bfloat16_logits_are_summed_in_float32(name):
    logits, labels, valid = example(CASES[name].binary)
    rounded = jnp.asarray(logits, jnp.bfloat16)
    total, count = compiled(name)(rounded, labels, valid)[0]
    assert total.dtype == count.dtype == jnp.float32
    expected = CASES[name].reference(np.asarray(rounded, np.float32), labels, valid)
    np.testing.assert_allclose((total, count), expected, rtol=2e-5)


def test_focal_losses_without_focus_are_cross_entropies():
    np.testing.assert_allclose(focal(*example(False), gamma=0, class_weights=WEIGHTS),
                               cross_entropy(*example(False), class_weights=WEIGHTS), rtol=1e-6)
    np.testing.assert_allclose(binary_focal(*example(True), gamma=0),
                               binary_cross_entropy(*example(True)), rtol=1e-6)


@pytest.mark.parametrize('weights, value', [((1.0, 2.0), '2 values'), ((0.0,) * 4, 'all 4')])
@pytest.mark.parametrize('loss, key', [(cross_entropy, 'class_weights'), (focal, 'class_weights'),
                                       (ohem_cross_entropy, 'class_weights'),
                                       (binary_cross_entropy, 'pos_weight')])
def test_weights_not_one_for_every_class_or_all_zero_are_refused(loss, key, weights, value):
    with pytest.raises(InputError, match=f'{key}: {value}'):
        loss(*example(loss is binary_cross_entropy), **{key: weights})


@pytest.mark.parametrize('loss', softmax_losses + sigmoid_losses)
def test_labels_of_the_other_task_are_refused(loss):
    binary = loss in sigmoid_losses
    task = 'semantic.Semantic' if binary else 'multilabel.Multilabel'
    with pytest.raises(InputError, match=f'losses: {loss.__name__} .* {task}'):
        loss(*example(not binary))


@pytest.mark.parametrize('loss, option, bad', [
    (cross_entropy, 'label_smoothing', 1.0), (cross_entropy, 'class_weights', [1.0, -1.0]),
    (focal, 'gamma', -1.0), (focal, 'class_weights', [1.0, math.inf]), (dice, 'smooth', -1.0),
    (binary_cross_entropy, 'pos_weight', [-1.0]), (binary_focal, 'gamma', math.nan),
    (binary_focal, 'alpha', 1.5), (binary_dice, 'smooth', -1.0),
    (topk_cross_entropy, 'fraction', 0.0), (ohem_cross_entropy, 'min_kept', 1.1),
    (ohem_cross_entropy, 'threshold', 1.0), (boundary, 'max_distance', 0),
    (binary_boundary, 'max_distance', 65)])
def test_options_state_their_ranges(loss, option, bad):
    hint = typing.get_type_hints(loss, include_extras=True)[option]
    check_value(option, inspect.signature(loss).parameters[option].default, hint)
    with pytest.raises(InputError, match=f'{option}: .* out of range'):
        check_value(option, bad, hint)


def test_equal_pixels_share_what_is_left_of_the_number():
    logits, labels = jnp.zeros((1, 6, 2)), jnp.zeros((1, 6), int)
    gradient = jax.grad(lambda x: topk_cross_entropy(x, labels, labels == 0, fraction=0.5)[0])(
        logits)
    np.testing.assert_allclose(gradient[0, :, 0], -0.5 / 6, rtol=1e-6)


def test_all_pixels_or_none_unsure_is_the_cross_entropy_or_its_hardest_pixels():
    logits, labels, valid = (x[:1] for x in example(False))
    total, count = cross_entropy(logits, labels, valid)
    for loss, options in ((topk_cross_entropy, {'fraction': 1.0}),
                          (ohem_cross_entropy, {'threshold': 0.999999, 'min_kept': 0.01})):
        assert float(loss(logits, labels, valid, **options)[0]) == pytest.approx(
            float(total / count), rel=1e-5)
    kept = {'threshold': 1e-30, 'min_kept': 0.2}
    assert float(ohem_cross_entropy(logits, labels, valid, **kept)[0]) == pytest.approx(float(
        topk_cross_entropy(logits, labels, valid, fraction=0.2)[0]))


def test_an_error_weighs_by_its_distance_from_the_boundary():
    labels, valid = np.zeros((1, 9, 9), np.int32), np.ones((1, 9, 9), bool)
    labels[0, :, 6:] = 1

    def loss(column):
        logits = np.where(labels[..., None] == np.arange(2), 50.0, -50.0)
        logits[0, 4, column] *= -1
        return float(boundary(logits, labels, valid, max_distance=4)[0])

    # Two classes, each wrong by 1, half a pixel less far than the nearest column of the other.
    assert [loss(column) for column in (5, 3, 0, 6, 8)] == pytest.approx(
        [2 * 0.5 / 4, 2 * 2.5 / 4, 2 * 4 / 4, 2 * 0.5 / 4, 2 * 2.5 / 4])
