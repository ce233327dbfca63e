"""Scores of connected components: hand-worked objects, loops over sets of pixels, void."""

import json
import math

import numpy as np
import pytest

from jaxseg.metrics.objects import SIZES, Objects
from jaxseg.metrics.report import class_masks
from tests.metric_examples import example, names, wild
from tests.references import components

each_task = pytest.mark.parametrize('overlapping', [False, True], ids=['semantic', 'multilabel'])


def grid(*rows: str) -> np.ndarray:
    """The letters of a picture, (H, W, 1)."""
    return np.array([list(row) for row in rows])[..., None]


def only(state: Objects) -> dict[str, float]:
    """The scores of the only class."""
    return {name: values[0] for name, values in state.per_class().items()}


def count(truth: np.ndarray, guess: np.ndarray, probabilities: np.ndarray | None = None) -> Objects:
    """Of pictures with . outside of objects and ? for void."""
    valid = truth != '?'
    return Objects.empty(('a',)).count((truth != '.').astype(int), (guess != '.').astype(int),
                                       valid, probabilities)


TRUTH = grid('aa..bbb.', 'aa..bbb.', '........', 'c.......')
GUESS = grid('aa..bb..', 'aa..bb..', '........', '...dd...')


def test_three_objects_by_hand():
    # a is exact, of b four of six pixels are found, c is missed and d is wrong. By probability d is
    # first: precision 0 of 1, 1 of 2 and 2 of 3, at a recall of 0, 1/3 and 2/3.
    probabilities = np.select([letter == GUESS for letter in 'abd'], [0.9, 0.6, 0.95], 0.1)
    found = count(TRUTH, GUESS, probabilities)
    assert found.matches.tolist() == [[2, 1, 1, 1 + 4 / 6]]
    assert only(found) == pytest.approx({
        'pq': (5 / 3) / 3, 'sq': 5 / 6, 'rq': 2 / 3, 'ap50': 2 / 3 * 2 / 3, 'recall': 2 / 3,
        'pixel_recall': 8 / 11, 'objects': 3})
    assert found.summary()['mean_ap50'] == pytest.approx(4 / 9)
    # In the order a, d, b: precision 1, 1/2, 2/3.
    probabilities = np.select([letter == GUESS for letter in 'abd'], [0.9, 0.6, 0.8], 0.1)
    found = count(TRUTH, GUESS, probabilities)
    assert only(found)['ap50'] == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert np.argwhere(found.detections[0]).tolist() == [[600, 1], [800, 0], [900, 1]]


def test_without_probabilities_there_is_no_ap():
    found = only(count(TRUTH, GUESS))
    assert math.isnan(found['ap50']) and found['rq'] == pytest.approx(2 / 3)


def test_an_iou_of_one_half_is_no_match_and_corners_connect():
    half = count(grid('aa..'), grid('a...'))
    assert half.matches.tolist() == [[0, 1, 1, 0]]
    assert math.isnan(only(half)['sq']) and only(half)['pq'] == 0
    assert count(grid('aaa.'), grid('aa..')).matches.tolist() == [[1, 0, 0, 2 / 3]]
    assert only(count(grid('a.', '.a'), grid('a.', '.a')))['objects'] == 1


def test_an_object_that_could_lie_in_void_is_no_false_positive():
    # Two pixels beside three of void; then beside two, and beside one area of one and one of two.
    assert count(grid('..???'), grid('dd...')).matches.tolist() == [[0, 0, 0, 0]]
    assert count(grid('..??.'), grid('dd...')).matches.tolist() == [[0, 1, 0, 0]]
    assert count(grid('?..??.'), grid('.dd...')).matches.tolist() == [[0, 0, 0, 0]]
    assert count(grid('?..?..?'), grid('.dd....')).matches.tolist() == [[0, 1, 0, 0]]
    assert count(grid('...???'), grid('dd....')).matches.tolist() == [[0, 1, 0, 0]]
    assert count(grid('???', '...', '...'), grid('...', 'dd.', '...')).matches[0, 1] == 0
    # One with a match counts, and void cuts an object in two.
    ones = np.ones((1, 6, 1))
    found = count(grid('aa???a'), grid('aa...a'), 0.5 * ones)
    assert found.matches.tolist() == [[2, 0, 0, 2]] and only(found)['ap50'] == 1
    found = count(grid('..???.'), grid('dd....'), ones)
    assert math.isnan(only(found)['pq']) and not found.detections.any()


def test_objects_are_counted_by_their_size():
    state = Objects.empty(('a',))
    for area, covered in ((1, 1), (63, 10), (64, 40), (1023, 0), (1024, 1024)):
        truth = np.arange(2000).reshape(1, -1, 1) < area
        guess = np.arange(2000).reshape(1, -1, 1) < covered
        state = state.count(truth, guess, np.ones_like(truth))
    assert SIZES[:5] == (0, 64, 256, 1024, 4096)
    assert state.sizes[0].tolist() == [[2, 1, 64, 11], [1, 1, 64, 40], [1, 0, 1023, 0],
                                       [1, 1, 1024, 1024], [0] * 4, [0] * 4]
    found = state.recall_by_size()
    np.testing.assert_allclose(found['recall'], [[1 / 2, 1, 0, 1, math.nan, math.nan]])
    np.testing.assert_allclose(found['pixel_recall'][0, :2], [11 / 64, 40 / 64])


@each_task
@pytest.mark.parametrize('seed', range(2))
def test_scores_equal_loops_over_sets_of_pixels(overlapping, seed):
    labels, predictions, probabilities, valid = example(overlapping, seed, (30, 37))
    state = Objects.empty(names(4)).count(labels, predictions, valid, probabilities)
    found, matched = state.per_class(), 0
    for k, masks in enumerate(class_masks(labels, predictions, valid, 4)):
        matches, detections, objects = components.evaluate(*masks, probabilities[..., k])
        np.testing.assert_allclose(state.matches[k], matches)
        if objects:
            expected = components.average_precision(detections, len(objects))
            assert found['ap50'][k] == pytest.approx(expected)
        assert state.sizes[k, :, 0].sum() == len(objects)
        for i, column in enumerate(zip(*objects, strict=True)):
            assert state.sizes[k, :, (2, 1, 3)[i]].sum() == sum(column)
        matched += matches[0]
    assert matched > 3


@each_task
def test_nothing_under_void_changes_a_score(overlapping):
    labels, predictions, probabilities, valid = example(overlapping, size=(30, 37))
    empty = Objects.empty(names(4))
    one = empty.count(labels, predictions, valid, probabilities)
    for seed in range(3):
        other = empty.count(wild(labels, valid, seed), wild(predictions, valid, seed), valid,
                            wild(probabilities, valid, seed))
        for field in ('matches', 'sizes', 'detections', 'truths'):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@each_task
def test_merging_equals_counting_and_permuted_classes_permute_the_scores(overlapping):
    images = [example(overlapping, seed) for seed in range(3)]
    order, empty = np.array([2, 0, 3, 1]), Objects.empty(names(4))
    one_by_one, permuted = empty, empty
    for labels, predictions, probabilities, valid in images:
        one_by_one = one_by_one.count(labels, predictions, valid, probabilities)
        changed = ([x[..., order] for x in (labels, predictions, valid)] if overlapping else
                   [*(np.argsort(order)[x] for x in (labels, predictions)), valid])
        permuted = permuted.count(*changed, probabilities[..., order])
    states = [empty.count(labels, predictions, valid, probabilities)
              for labels, predictions, probabilities, valid in images]
    merged = states[0].merge(states[1].merge(states[2]))
    for name, values in one_by_one.per_class().items():
        np.testing.assert_allclose(values, merged.per_class()[name])
        np.testing.assert_allclose(values[order], permuted.per_class()[name])


def test_the_report_is_json_and_absent_classes_have_no_score():
    nothing = np.zeros((4, 8, 3))
    truth, guess = nothing.copy(), nothing.copy()
    truth[..., :1], guess[..., :1] = TRUTH != '.', GUESS != '.'
    guess[0, 0, 1] = 1
    state = Objects.empty(('a', 'predicted', 'never')).count(truth, guess, nothing == 0, nothing)
    found = json.loads(json.dumps(state.json(), allow_nan=False))
    assert found['classes']['predicted']['pq'] == found['classes']['predicted']['ap50'] == 0
    assert found['classes']['never'] == {**dict.fromkeys(found['classes']['a']), 'objects': 0}
    assert found['mean_rq'] == pytest.approx(1 / 3)
    assert found['sizes'] == list(SIZES) and found['recall_by_size']['a']['objects'][0] == 3
    lines = state.table().splitlines()
    assert lines[1].split() == ['a', '55.6', '83.3', '66.7', '44.4', '66.7', '72.7', '3.0']
    assert lines[-1] == 'objects from 0 pixels: 66.7 % found, 72.7 % of their pixels, 3 objects'
    assert len({len(line) for line in lines[:4]}) == 1
