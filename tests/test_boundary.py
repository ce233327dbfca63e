"""Scores of outlines: hand-worked masks, loops over pixels, void, one side alone, invariances."""

import json
import math

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.errors import InputError
from jaxseg.metrics.boundary import SCORES, Boundary
from jaxseg.metrics.report import class_masks
from tests.metric_examples import example, names, wild
from tests.references import outlines

each_task = pytest.mark.parametrize('overlapping', [False, True], ids=['semantic', 'multilabel'])


def mask(*rows: str) -> np.ndarray:
    """(H, W, 1) int: 1 for #, 9 for ?, 0 for all else."""
    values = {'#': 1, '?': 9}
    return np.array([[values.get(letter, 0) for letter in row] for row in rows])[..., None]


def score(truth: np.ndarray, guess: np.ndarray, **settings: float) -> Boundary:
    return Boundary.empty(('a',), **settings).count(truth, guess, truth != 9)


def only(state: Boundary) -> dict[str, float]:
    """The scores of the only class."""
    return {name: values[0] for name, values in state.per_class().items()}


SQUARE = mask('.....', '.###.', '.###.', '.###.', '.....')
MOVED = mask('.....', '..###', '..###', '..###', '.....')


def test_a_square_that_is_moved_by_one_pixel_by_hand():
    # Both outlines are the eight pixels around the middle; four of them are in common, and four
    # are one pixel from the other.
    found = only(score(SQUARE, MOVED, surface_tolerance=0.5))
    assert found == pytest.approx({
        'boundary_iou': 4 / 12, 'boundary_f': 1 / 2, 'precision': 1 / 2, 'recall': 1 / 2,
        'nsd': 1 / 2, 'hd95': 1, 'one_sided': 0, 'hidden': 0})
    # A tolerance of one pixel, exactly: the diagonal of 3x4 is 5.
    truth, guess = mask('#...', '....', '....'), mask('.#..', '....', '....')
    assert only(score(truth, guess, tolerance=0.2))['boundary_f'] == 1
    assert only(score(truth, guess, tolerance=0.199))['boundary_f'] == 0
    assert only(score(truth, guess, surface_tolerance=1.0))['nsd'] == 1


def test_distances_and_unequal_outlines_by_hand():
    truth = mask('#....', '.....', '.....', '.....')
    guess = mask('#....', '.....', '.....', '....#')
    found = only(score(truth, guess))
    # One of the two predicted pixels is right, the other is 5 away: the 95th percentile of 0 and 5.
    assert found['precision'] == 1 / 2 and found['recall'] == 1
    assert found['boundary_f'] == pytest.approx(2 / 3)
    assert found['nsd'] == pytest.approx(2 / 3)
    assert found['hd95'] == only(score(guess, truth))['hd95'] == pytest.approx(4.75)
    assert found['boundary_iou'] == 1 / 2


def test_a_wide_band_reaches_farther_along_diagonals_than_an_outline():
    # The middle of a plus sign is not beside the outside, but touches it at four corners.
    plus = mask('.....', '..#..', '.###.', '..#..', '.....')
    state = score(plus, np.zeros_like(plus))
    assert state.regions.tolist() == [[0, 5]] and state.outlines.tolist() == [[0, 4]]
    full = np.ones((9, 12, 1), int)  # of a diagonal of 15
    assert score(full, full).regions.tolist() == [[108 - 7 * 10] * 2]
    assert score(full, full, dilation=0.2).regions.tolist() == [[108 - 3 * 6] * 2]


def test_void_is_no_outside():
    truth = mask('##?..', '##?..', '##?..', '##?..', '##?..')
    guess = mask('###..', '###..', '###..', '###..', '###..')
    found = score(truth, guess)
    # Of ten pixels seven are at the border of the image, and three beside void alone.
    assert found.outlines.tolist() == [[3, 10]] and found.regions.tolist() == [[7, 7]]
    assert only(found) == pytest.approx({
        'boundary_iou': 1, 'boundary_f': 1, 'precision': 1, 'recall': 1, 'nsd': 1, 'hd95': 0,
        'one_sided': 0, 'hidden': 0.3})
    beyond = mask('####.', '####.', '####.', '####.', '####.')
    assert only(score(truth, beyond))['precision'] == 7 / 12


def test_a_class_that_one_side_has_alone_scores_zero_and_has_no_distance():
    nothing = np.zeros_like(SQUARE)
    for truth, guess, missing in ((SQUARE, nothing, 'precision'), (nothing, SQUARE, 'recall')):
        found = only(score(truth, guess))
        assert [found[name] for name in ('boundary_iou', 'boundary_f', 'nsd')] == [0, 0, 0]
        other, = {'precision', 'recall'} - {missing}
        assert math.isnan(found[missing]) and found[other] == 0
        assert math.isnan(found['hd95']) and found['one_sided'] == 1
    assert all(map(math.isnan, only(score(nothing, nothing)).values()))
    # Means over images leave out what is undefined in one of them.
    both = score(SQUARE, nothing).merge(score(SQUARE, MOVED)).merge(score(nothing, nothing))
    found = only(both)
    assert (found['hd95'], found['one_sided'], found['boundary_f']) == (1, 1 / 2, 1 / 4)
    assert (found['precision'], found['recall']) == (1 / 2, 1 / 4)
    assert found['boundary_iou'] == 4 / (12 + 8)


@each_task
def test_scores_equal_loops_over_pixels(overlapping):
    settings = {'dilation': 0.09, 'tolerance': 0.06, 'surface_tolerance': 1.0}
    state, expected, regions = Boundary.empty(names(4), **settings), [], np.zeros((4, 2), int)
    for seed in range(2):
        labels, predictions, _, valid = example(overlapping, seed, (13, 17))
        state = state.count(labels, predictions, valid)
        masks = list(class_masks(labels, predictions, valid, 4))
        expected.append([outlines.scores(*one, 0.06, 1.0) for one in masks])
        regions += [outlines.region_counts(*one, 0.09) for one in masks]
    np.testing.assert_array_equal(state.regions, regions)
    found = state.per_class()
    for k, name in ((k, name) for k in range(4) for name in SCORES):
        known = [image[k][name] for image in expected if name in image[k]]
        wanted = np.mean(known) if known else math.nan
        np.testing.assert_allclose(found[name][k], wanted, err_msg=f'{name} of class {k}')
    assert 0 < found['boundary_f'][0] < 1 and found['hd95'][0] > 1


def test_boundary_iou_takes_two_hundredths_of_the_diagonal_by_default():
    truth, guess = np.zeros((2, 70, 90, 1), int)
    truth[30:37, 40:48], guess[31:38, 40:48] = 1, 1
    (found,) = score(truth, guess).regions.tolist()
    masks = (truth[..., 0] == 1, guess[..., 0] == 1, np.ones((70, 90), bool))
    assert found == outlines.region_counts(*masks, 0.02) != [6 * 8, 8 * 8]


def test_distances_equal_those_of_a_distance_transform():
    labels, predictions, _, valid = example(True, 3, (70, 90))
    found = Boundary.empty(names(4)).count(labels, predictions, valid).per_class()
    for k, masks in enumerate(class_masks(labels, predictions, valid, 4)):
        lines = [np.zeros((70, 90), bool) for _ in range(2)]
        for line, one in zip(lines, masks[:2], strict=True):
            line[tuple(zip(*outlines.outline(one, masks[2]), strict=True)) or []] = True
        if all(line.any() for line in lines):
            distances = [ndimage.distance_transform_edt(~lines[i])[lines[1 - i]] for i in range(2)]
            assert found['hd95'][k] == max(np.percentile(x, 95) for x in distances)
            assert found['precision'][k] == np.mean(distances[0] <= 0.0075 * math.hypot(70, 90))
            assert found['nsd'][k] == np.mean(np.concatenate(distances) <= 2)


@each_task
def test_nothing_under_void_changes_a_score(overlapping):
    labels, predictions, _, valid = example(overlapping)
    assert not valid.all()
    empty = Boundary.empty(names(4))
    one = empty.count(labels, predictions, valid)
    for seed in range(3):
        other = empty.count(wild(labels, valid, seed), wild(predictions, valid, seed), valid)
        for field in ('regions', 'sums', 'images', 'outlines'):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@each_task
def test_merging_equals_counting_and_permuted_classes_or_flipped_images_change_nothing(overlapping):
    images = [example(overlapping, seed) for seed in range(3)]
    order, empty = np.array([2, 0, 3, 1]), Boundary.empty(names(4))
    states = [empty.count(labels, predictions, valid) for labels, predictions, _, valid in images]
    one_by_one, permuted, flipped = empty, empty, empty
    for labels, predictions, _, valid in images:
        one_by_one = one_by_one.count(labels, predictions, valid)
        flipped = flipped.count(*(np.swapaxes(x, 0, 1)[::-1] for x in (labels, predictions, valid)))
        changed = ([x[..., order] for x in (labels, predictions, valid)] if overlapping else
                   [*(np.argsort(order)[x] for x in (labels, predictions)), valid])
        permuted = permuted.count(*changed)
    merged = states[0].merge(states[1].merge(states[2]))
    for name, values in one_by_one.per_class().items():
        for other in (merged.per_class()[name], flipped.per_class()[name],
                      permuted.per_class()[name][np.argsort(order)]):
            np.testing.assert_allclose(values, other)
    assert permuted.summary() == pytest.approx(merged.summary())


def test_a_tolerance_that_is_no_number_is_refused_and_others_do_not_merge():
    for settings in ({'tolerance': -0.1}, {'dilation': 0.0}, {'surface_tolerance': 'x'}):
        with pytest.raises(InputError, match=f'boundary.{next(iter(settings))}'):
            Boundary.empty(('a',), **settings)
    with pytest.raises(AssertionError):
        Boundary.empty(('a',)).merge(Boundary.empty(('a',), tolerance=0.01))


def test_the_report_is_json_and_its_table_has_distances_in_pixels():
    state = Boundary.empty(('a', 'never')).count(
        *(np.concatenate([x, 0 * x], -1) for x in (SQUARE, MOVED)), np.ones((5, 5, 2), bool))
    found = json.loads(json.dumps(state.json(), allow_nan=False))
    assert found['classes']['a']['hd95'] == 1 and found['classes']['never']['hd95'] is None
    assert found['images'] == {'a': 1, 'never': 0} and found['tolerance'] == 0.0075
    assert found['mean_boundary_iou'] == pytest.approx(1 / 3)
    lines = state.table().splitlines()
    assert lines[1].split() == ['a', '33.3', '50.0', '50.0', '50.0', '100.0', '1.0', '0.0', '0.0']
    assert lines[2].split() == ['never', *['nan'] * 8]
    assert len({len(line) for line in lines[:3]}) == 1
    assert 'mean hd95: 1.0000' in lines
