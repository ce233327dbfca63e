"""Scores over thresholds: hand-worked counts, the task's own decision, void, the best one."""

import json
import math

import numpy as np
import pytest

from jaxseg.metrics.binary_counts import BinaryCounts
from jaxseg.metrics.thresholds import Thresholds
from tests.metric_examples import example, names, wild

each_task = pytest.mark.parametrize('overlapping', [False, True], ids=['semantic', 'multilabel'])


def by_hand() -> Thresholds:
    """Five pixels, the last one void, of two overlapping classes, with thresholds 1/4, 1/2, 3/4."""
    probabilities = np.array([[0.9, 0], [0.6, 0], [0.3, 0], [0.5, 0], [1, 1]], np.float32)
    truth = np.array([[1, 0], [1, 0], [0, 0], [0, 0], [0, 1]])
    valid = np.arange(5)[:, None] < [4, 4]
    return Thresholds.empty(('a', 'never'), 3).count(truth, probabilities, valid)


def test_three_thresholds_by_hand():
    found = by_hand()
    assert found.thresholds.tolist() == [0.25, 0.5, 0.75]
    # Below 1/4 nothing, up to 1/2 two negatives (one of them is 1/2), then one positive each.
    assert found.counts.tolist() == [[[0, 0], [2, 0], [0, 1], [0, 1]], [[4, 0], *[[0, 0]] * 3]]
    curves = found.curves()
    np.testing.assert_allclose(curves['iou'], [[2 / 4, 1, 1 / 2], [math.nan] * 3])
    np.testing.assert_allclose(curves['precision'], [[2 / 4, 1, 1], [math.nan] * 3])
    np.testing.assert_allclose(curves['recall'], [[1, 1, 1 / 2], [math.nan] * 3])
    np.testing.assert_allclose(curves['dice'], [[2 / 3, 1, 2 / 3], [math.nan] * 3])
    scores = found.per_class()
    assert {name: values[0] for name, values in scores.items()} == {
        'threshold': 0.5, 'iou': 1, 'dice': 1, 'precision': 1, 'recall': 1, 'iou_at_half': 1}
    assert all(math.isnan(values[1]) for values in scores.values())
    assert found.summary() == {'best_miou': 1, 'miou_at_half': 1}


def test_the_best_threshold_may_be_far_from_one_half_and_of_equal_ones_the_middle_is_chosen():
    probabilities = np.array([0.2, 0.3, 0.33, 0.9])[:, None]
    truth = np.array([0, 1, 1, 1])[:, None]
    found = Thresholds.empty(('a',)).count(truth, probabilities, truth >= 0)
    assert found.per_class()['threshold'] == pytest.approx([0.29])  # of 0.20 to 0.29
    assert found.per_class()['iou_at_half'] == pytest.approx([1 / 3])
    two = np.array([0.1, 0.9])[:, None]
    found = Thresholds.empty(('a',)).count(np.array([[0], [1]]), two, two > 0)
    assert found.per_class()['threshold'] == [0.5]


@each_task
@pytest.mark.parametrize('threshold', [0.01, 0.29, 0.5, 0.99])
def test_counts_equal_those_of_the_decision_at_that_threshold(overlapping, threshold):
    labels, _, probabilities, valid = example(overlapping)
    probabilities.ravel()[::5] = threshold  # on the threshold itself nothing is predicted
    found = Thresholds.empty(names(4)).count(labels, probabilities, valid)
    truth = labels if overlapping else (labels[..., None] == np.arange(4)).astype(int)
    known = valid if overlapping else np.repeat(valid[..., None], 4, -1)
    decided = (probabilities > threshold).astype(np.uint8)
    expected = BinaryCounts.empty(names(4)).count(truth, decided, known).per_class()
    index = round(100 * threshold) - 1
    for name in ('iou', 'dice', 'precision', 'recall'):
        np.testing.assert_allclose(found.curves()[name][:, index], expected[name])
    if threshold == 0.5:
        np.testing.assert_allclose(found.per_class()['iou_at_half'], expected['iou'])
    best = found.per_class()
    known = ~np.isnan(best['iou'])
    np.testing.assert_allclose(best['iou'][known], np.nanmax(found.curves()['iou'][known], 1))


@each_task
def test_void_merging_and_permuted_classes(overlapping):
    images = [example(overlapping, seed) for seed in range(2)]
    labels, _, probabilities, valid = map(np.stack, zip(*images, strict=True))
    order, empty = np.array([2, 0, 3, 1]), Thresholds.empty(names(4))
    at_once = empty.count(labels, probabilities, valid)
    one, other = (empty.count(wild(labels[i], valid[i]), wild(probabilities[i], valid[i]), valid[i])
                  for i in range(2))
    np.testing.assert_array_equal(one.merge(other).counts, at_once.counts)
    permuted = empty.count(labels[..., order] if overlapping else np.argsort(order)[labels],
                           probabilities[..., order], valid[..., order] if overlapping else valid)
    np.testing.assert_array_equal(permuted.counts, at_once.counts[order])


def test_of_two_classes_the_curve_of_one_mirrors_that_of_the_other():
    labels, _, probabilities, valid = example(False, classes=2)
    labels = (probabilities[..., 1] > 0.3).astype(int)
    probabilities = (np.round(64 * probabilities + 0.5) - 0.5) / 64  # on no threshold
    probabilities[..., 0] = 1 - probabilities[..., 1]
    found = Thresholds.empty(('other', 'object'), 31).count(labels, probabilities, valid)
    np.testing.assert_array_equal(found.counts[0], found.counts[1, ::-1, ::-1])


def test_the_report_is_json_and_its_table_is_aligned():
    found = json.loads(json.dumps(by_hand().json(), allow_nan=False))
    assert found['thresholds'] == [0.25, 0.5, 0.75] and found['best_miou'] == 1
    assert found['curves']['a']['recall'] == [1, 1, 0.5]
    assert found['curves']['never']['iou'] == [None] * 3
    lines = by_hand().table().splitlines()
    assert lines[1].split() == ['a', '50.0', *['100.0'] * 5]
    assert lines[2].split() == ['never', *['nan'] * 6]
    assert len({len(line) for line in lines[:3]}) == 1


def test_nothing_counted_and_a_class_that_is_only_predicted():
    empty = Thresholds.empty(('a',))
    assert all(math.isnan(value) for value in empty.summary().values())
    found = empty.count(np.zeros((3, 1)), np.full((3, 1), 0.7), np.ones((3, 1), bool)).per_class()
    assert math.isnan(found['threshold'][0]) and found['iou_at_half'][0] == 0
    with pytest.raises(AssertionError):
        empty.count(np.zeros((1, 1)), np.full((1, 1), np.nan), np.ones((1, 1), bool))
