"""The confusion matrix and its scores: a hand-worked example, a slow reference, invariances, large counts."""

import json
import math

import jax
import numpy as np
import pytest

from jaxseg.metrics.confusion import SCORES, Confusion, confusion_counts
from tests.references import metrics as references


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


@pytest.mark.parametrize('seed', range(3))
def test_scores_equal_the_slow_reference(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, (4, 6, 7))
    guess = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, 6, truth.shape))  # class 5 is only predicted
    valid = rng.random(truth.shape) < 0.8
    confusion = Confusion.empty(tuple('abcdefg'))  # class 6 never occurs
    for i in range(4):
        confusion = confusion.add(count(truth[i], guess[i], valid[i], 7))
    scores, expected = confusion.per_class(), references.per_class(truth, guess, valid, 7)
    for name in SCORES:
        np.testing.assert_allclose(scores[name], [one[name] for one in expected])
    assert confusion.summary() == pytest.approx(references.summary(truth, guess, valid, 7))


@pytest.mark.parametrize('classes', [16, 19, 256])
def test_masks_in_8_bits_are_counted_like_others(classes):
    rng = np.random.default_rng(3)
    truth, guess = rng.integers(0, classes, (2, 40, 50))
    valid = rng.random(truth.shape) < 0.7
    np.testing.assert_array_equal(count(truth.astype(np.uint8), guess.astype(np.uint8), valid, classes),
                                  count(truth, guess, valid, classes))


def test_one_cell_beyond_the_whole_numbers_of_float32_is_exact():
    pixels = np.zeros(2 ** 24 + 3, np.uint8)
    assert count(pixels, pixels, pixels == 0, 2).tolist() == [[2 ** 24 + 3, 0], [0, 0]]


def test_the_report_is_json_and_the_table_is_aligned():
    confusion = Confusion.empty(('sky', 'building', 'never')).add(np.array([[5, 1, 0], [2, 8, 0], [0, 0, 0]]))
    found = json.loads(json.dumps(confusion.json(), allow_nan=False))
    assert found['classes']['sky']['iou'] == 5 / 8 and found['classes']['never']['iou'] is None
    assert found['confusion_matrix'] == [[5, 1, 0], [2, 8, 0], [0, 0, 0]]
    lines = confusion.table().splitlines()
    assert lines[1].split() == ['sky', '62.5', '83.3', '71.4', '83.3', '76.9', '37.5']
    assert lines[3].split() == ['never', *['nan'] * 5, '0.0']
    assert len({len(line) for line in lines[:4]}) == 1


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
    assert confusion.merge(confusion).matrix.tolist() == [[10 * (2 ** 31 - 1), 10], [0, 70]]  # more than 32 bits come in


def test_nothing_counted_is_nan_and_null_in_json():
    confusion = Confusion.empty(('a', 'b'))
    assert all(math.isnan(value) for value in confusion.summary().values())
    assert confusion.json()['miou'] is None
    assert confusion.json()['classes']['a']['iou'] is None
    assert 'miou: nan' in confusion.table()
