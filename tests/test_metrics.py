"""The confusion matrix and its scores: a hand-worked example, a slow reference, invariances, large counts."""

import math

import jax
import numpy as np
import pytest

from jaxseg.metrics.confusion import Confusion, confusion_counts


def count(labels, predictions, valid, classes):
    return np.asarray(jax.jit(confusion_counts, static_argnums=3)(labels, predictions, valid, classes))


def test_three_classes_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 2, 255])
    guess = np.array([0, 0, 1, 1, 2, 2, 0])
    matrix = count(truth, guess, truth != 255, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    confusion = Confusion.empty(('a', 'b', 'c', 'never')).add(matrix)
    scores = confusion.per_class()
    np.testing.assert_allclose(scores['iou'], [2 / 3, 1 / 3, 1 / 2, math.nan])
    np.testing.assert_allclose(scores['accuracy'], [2 / 3, 1 / 2, 1, math.nan])
    np.testing.assert_allclose(scores['recall'], scores['accuracy'])
    np.testing.assert_allclose(scores['precision'], [1, 1 / 2, 1 / 2, math.nan])
    np.testing.assert_allclose(scores['dice'], [4 / 5, 1 / 2, 2 / 3, math.nan])
    summary = confusion.summary()
    assert summary['miou'] == pytest.approx(1 / 2)
    assert summary['pixel_accuracy'] == pytest.approx(4 / 6)
    assert summary['mean_accuracy'] == pytest.approx(13 / 18)
    assert summary['frequency_weighted_iou'] == pytest.approx((3 * 2 / 3 + 2 / 3 + 1 / 2) / 6)


def test_a_class_that_is_predicted_but_never_true_has_iou_zero_and_counts():
    confusion = Confusion.empty(('a', 'b')).add(np.array([[3, 1], [0, 0]]))
    assert confusion.per_class()['iou'].tolist() == [0.75, 0.0]
    assert confusion.summary()['miou'] == pytest.approx(0.375)
    assert confusion.summary()['mean_accuracy'] == pytest.approx(0.75)


def test_counts_equal_a_python_loop_and_ignore_what_is_under_void():
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 5, (2, 3, 8, 9))
    valid = rng.random((3, 8, 9)) < 0.6
    expected = np.zeros((5, 5), int)
    for t, g, v in zip(truth.ravel(), guess.ravel(), valid.ravel(), strict=True):
        expected[t, g] += v
    np.testing.assert_array_equal(count(truth, guess, valid, 5), expected)
    garbage = np.where(valid, truth, rng.choice([-7, 255, 2 ** 30], truth.shape))
    np.testing.assert_array_equal(count(garbage, guess, valid, 5), expected)


def test_permuted_classes_permute_the_scores():
    rng = np.random.default_rng(1)
    matrix, order = rng.integers(0, 100, (4, 4)), [2, 0, 3, 1]
    one = Confusion.empty(tuple('abcd')).add(matrix)
    other = Confusion.empty(tuple('abcd')).add(matrix[np.ix_(order, order)])
    np.testing.assert_allclose(one.per_class()['iou'][order], other.per_class()['iou'])
    assert one.summary() == pytest.approx(other.summary())


def test_counts_beyond_32_bits_are_exact():
    big = np.array([[2 ** 31 - 1, 1], [0, 7]], np.int32)
    confusion = Confusion.empty(('a', 'b'))
    for _ in range(5):
        confusion = confusion.merge(Confusion.empty(('a', 'b')).add(big))
    assert confusion.matrix.tolist() == [[5 * (2 ** 31 - 1), 5], [0, 35]]


def test_nothing_counted_is_nan_and_null_in_json():
    confusion = Confusion.empty(('a', 'b'))
    assert all(math.isnan(value) for value in confusion.summary().values())
    assert confusion.json()['miou'] is None
    assert confusion.json()['classes']['a']['iou'] is None
    assert 'miou: nan' in confusion.table()
