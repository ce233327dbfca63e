"""Calibration: hand-worked bins, a loop over pixels, void, merging, permuted classes."""

import json
import math

import numpy as np
import pytest

from jaxseg.metrics.calibration import Calibration
from tests.metric_examples import example, names, wild
from tests.references import metrics as references

each_task = pytest.mark.parametrize('overlapping', [False, True], ids=['semantic', 'multilabel'])


def by_hand() -> Calibration:
    """Four pixels, the last one void, of two bins and three classes; the last never occurs."""
    probabilities = np.array([[0.75, 0.25, 0], [0.25, 0.75, 0], [0.5, 0.25, 0.25], [0, 0, 1]])
    truth = np.array([0, 0, 1, 2])
    return Calibration.empty(('a', 'b', 'never'), bins=2).count(truth, probabilities, truth < 2)


def test_two_bins_by_hand():
    found = by_hand()
    # Of the most probable classes a, b, a the first is right; all of them are in the upper bin.
    assert found.overall.tolist() == [[0, 0, 0], [3, 2, 1]]
    # Of class a 0.25 is in the lower bin, and a is the label; 0.75 and 0.5 are in the upper one.
    assert found.by_class.tolist() == [
        [[1, 0.25, 1], [2, 1.25, 1]], [[2, 0.5, 1], [1, 0.75, 0]], [[3, 0.25, 0], [0, 0, 0]]]
    summary, scores = found.summary(), found.per_class()
    np.testing.assert_allclose(scores['ece'], [1 / 3, (0.5 + 0.75) / 3, math.nan])
    np.testing.assert_allclose(scores['confidence'], [1.5 / 3, 1.25 / 3, math.nan])
    np.testing.assert_allclose(scores['frequency'], [2 / 3, 1 / 3, math.nan])
    assert summary == pytest.approx({'ece': 1 / 3, 'classwise_ece': (1 / 3 + 1.25 / 3) / 2,
                                     'confidence': 2 / 3, 'accuracy': 1 / 3})
    np.testing.assert_allclose(found.reliability()['accuracy'], [math.nan, 1 / 3])
    np.testing.assert_allclose(found.class_reliability()['frequency'],
                               [[1, 1 / 2], [1 / 2, 0], [0, math.nan]])


def test_overlapping_masks_by_hand():
    probabilities = np.array([[[0.2, 0.9], [0.8, 1.0]]], np.float32)
    truth = np.array([[[0, 1], [1, 0]]])
    valid = np.array([[[True, True], [True, False]]])
    found = Calibration.empty(('a', 'b'), bins=2).count(truth, probabilities, valid)
    np.testing.assert_allclose(found.overall, [[1, 0.2, 0], [2, 1.7, 2]])
    assert found.summary()['ece'] == pytest.approx((0.2 + 0.3) / 3)
    np.testing.assert_allclose(found.per_class()['ece'], [0.2, 0.1], rtol=1e-6)


def test_a_class_that_is_only_predicted_has_an_error():
    empty = Calibration.empty(('a', 'b', 'c'))
    found = empty.count(np.zeros(4, int), np.tile([0.1, 0.9, 0.0], (4, 1)), np.ones(4, bool))
    np.testing.assert_allclose(found.per_class()['ece'], [0.9, 0.9, math.nan])
    flat = Calibration.empty(('a', 'b', 'c')).count(
        np.zeros((4, 3), int), np.tile([0.1, 0.9, 0.5], (4, 1)), np.ones((4, 3), bool))
    np.testing.assert_allclose(flat.per_class()['ece'], [math.nan, 0.9, math.nan])


@each_task
def test_scores_equal_a_loop_over_pixels(overlapping):
    labels, _, probabilities, valid = example(overlapping)
    found = Calibration.empty(names(4), bins=7).count(labels, probabilities, valid)
    truth = labels if overlapping else labels[..., None] == np.arange(4)
    known = valid if overlapping else np.repeat(valid[..., None], 4, -1)
    expected = [references.calibration_error(probabilities[..., k][known[..., k]],
                                             truth[..., k][known[..., k]], 7) for k in range(4)]
    np.testing.assert_allclose(found.per_class()['ece'][found.occurs],
                               np.array(expected)[found.occurs], rtol=1e-6)
    assert found.occurs.any()
    if overlapping:
        overall = probabilities[valid], truth[valid]
    else:
        overall = probabilities[valid].max(-1), probabilities[valid].argmax(-1) == labels[valid]
    assert found.summary()['ece'] == pytest.approx(references.calibration_error(*overall, 7))


@each_task
def test_nothing_under_void_is_counted(overlapping):
    labels, _, probabilities, valid = example(overlapping)
    empty = Calibration.empty(names(4))
    found = empty.count(labels, probabilities, valid)
    other = empty.count(wild(labels, valid), wild(probabilities, valid), valid)
    np.testing.assert_array_equal(found.overall, other.overall)
    np.testing.assert_array_equal(found.by_class, other.by_class)
    np.testing.assert_array_equal(found.occurs, other.occurs)


@each_task
def test_merging_equals_counting_at_once_and_permuted_classes_permute_the_scores(overlapping):
    images = [example(overlapping, seed) for seed in range(3)]
    labels, _, probabilities, valid = map(np.stack, zip(*images, strict=True))
    empty = Calibration.empty(names(4))
    at_once = empty.count(labels, probabilities, valid)
    parts = [empty.count(labels[i], probabilities[i], valid[i]) for i in range(3)]
    merged = parts[0].merge(parts[1].merge(parts[2]))
    order = np.array([2, 0, 3, 1])
    permuted = empty.count(labels[..., order] if overlapping else np.argsort(order)[labels],
                           probabilities[..., order], valid[..., order] if overlapping else valid)
    for name, values in at_once.per_class().items():
        np.testing.assert_allclose(merged.per_class()[name], values)
        np.testing.assert_allclose(permuted.per_class()[name], values[order])
    assert merged.summary() == pytest.approx(at_once.summary())
    assert permuted.summary() == pytest.approx(at_once.summary())


def test_of_equal_probabilities_the_first_class_is_the_prediction_as_the_task_decides():
    even = np.full((1, 2), 0.5, np.float32)
    for truth in (0, 1):
        found = Calibration.empty(('a', 'b')).count(np.array([truth]), even, even[:, 0] > 0)
        assert found.summary()['accuracy'] == 1 - truth == (truth == even.argmax())


def test_a_probability_of_one_belongs_to_the_last_bin():
    ones = np.ones((3, 1), np.float32)
    found = Calibration.empty(('a',), bins=4).count(np.ones((3, 1), int), ones, ones > 0)
    assert found.overall[:, 0].tolist() == [0, 0, 0, 3]


def test_the_report_is_json_and_its_table_is_aligned():
    found = json.loads(json.dumps(by_hand().json(), allow_nan=False))
    assert found['classes']['never']['ece'] is None
    assert found['reliability'] == {'pixels': [0, 3], 'confidence': [None, pytest.approx(2 / 3)],
                                    'accuracy': [None, pytest.approx(1 / 3)]}
    assert found['class_reliability']['b']['frequency'] == [0.5, 0]
    lines = by_hand().table().splitlines()
    assert lines[1].split() == ['a', '33.3', '50.0', '66.7']
    assert lines[-1] == ('0.50 to 1.00: confidence 0.667, accuracy 0.333, 100.0 % of the pixels')
    assert len({len(line) for line in lines[:4]}) == 1


def test_nothing_counted_is_nan():
    empty = Calibration.empty(('a', 'b'))
    empty = empty.count(np.zeros(3, int), np.full((3, 2), np.nan), np.zeros(3, bool))
    assert all(math.isnan(value) for value in empty.summary().values())
    assert empty.json()['ece'] is None and 'ece: nan' in empty.table()


def test_probabilities_out_of_range_are_an_error_of_the_caller():
    for wrong in (-0.1, 1.5, math.nan):
        with pytest.raises(AssertionError):
            Calibration.empty(('a',)).count(np.ones((1, 1)), np.full((1, 1), wrong),
                                            np.ones((1, 1), bool))
