"""Metric states: hand-worked examples, slow references, invariances, large counts."""

import json
import math

import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.metrics.binary_counts import BinaryCounts
from jaxseg.metrics.calibration import Calibration
from jaxseg.metrics.confusion import Confusion
from jaxseg.metrics.images import ImageCounts
from tests.references import metrics as references


def names(classes: int) -> tuple[str, ...]:
    return tuple(f'class {i}' for i in range(classes))


def example(state: type, seed: int = 0):
    """Labels, predictions and valid of four images; class 5 is only predicted, 6 never occurs."""
    rng = np.random.default_rng(seed)
    if state is Confusion:
        labels = rng.integers(0, 5, (4, 6, 7))
        wrong = rng.integers(0, 6, labels.shape)
    else:
        occurs = np.arange(7) < 5
        labels = (rng.random((4, 6, 7, 7)) < 0.4) & occurs
        wrong = (rng.random(labels.shape) < 0.4) & (occurs | (np.arange(7) == 5))
    predictions = np.where(rng.random(labels.shape) < 0.5, labels, wrong)
    return labels.astype(np.int32), predictions.astype(np.uint8), rng.random(labels.shape) < 0.8


def values(state) -> np.ndarray:
    return state.matrix if isinstance(state, Confusion) else state.counts


each_state = pytest.mark.parametrize('state', [Confusion, BinaryCounts])


def test_confusion_of_three_classes_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 2, 255])
    guess = np.array([0, 0, 1, 1, 2, 2, 0])
    confusion = Confusion.empty(('a', 'b', 'c', 'never')).count(truth, guess, truth != 255)
    assert confusion.matrix.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    scores = confusion.per_class()
    np.testing.assert_allclose(scores['iou'], [2 / 3, 1 / 3, 1 / 2, math.nan])
    np.testing.assert_allclose(scores['accuracy'], [2 / 3, 1 / 2, 1, math.nan])
    np.testing.assert_allclose(scores['recall'], scores['accuracy'])
    np.testing.assert_allclose(scores['precision'], [1, 1 / 2, 1 / 2, math.nan])
    np.testing.assert_allclose(scores['dice'], [4 / 5, 1 / 2, 2 / 3, math.nan])
    summary = confusion.summary()
    assert next(iter(summary)) == 'miou'
    assert summary['miou'] == pytest.approx(1 / 2)
    assert summary['pixel_accuracy'] == pytest.approx(4 / 6)
    assert summary['mean_accuracy'] == pytest.approx(13 / 18)
    assert summary['frequency_weighted_iou'] == pytest.approx((3 * 2 / 3 + 2 / 3 + 1 / 2) / 6)


def test_binary_counts_of_three_classes_by_hand():
    truth = np.array([[1, 0, 0], [1, 0, 0], [1, 9, 0], [0, 0, 0], [0, 1, 0]])
    guess = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
    counts = BinaryCounts.empty(('a', 'b', 'never')).count(truth, guess, truth != 9)
    assert counts.counts.tolist() == [[[1, 1], [1, 2]], [[3, 0], [1, 0]], [[5, 0], [0, 0]]]
    scores = counts.per_class()
    np.testing.assert_allclose(scores['iou'], [2 / 4, 0, math.nan])
    np.testing.assert_allclose(scores['dice'], [4 / 6, 0, math.nan])
    np.testing.assert_allclose(scores['precision'], [2 / 3, math.nan, math.nan])
    np.testing.assert_allclose(scores['recall'], [2 / 3, 0, math.nan])
    np.testing.assert_allclose(scores['accuracy'], [3 / 5, 3 / 4, math.nan])
    summary = counts.summary()
    assert next(iter(summary)) == 'miou'
    assert summary == pytest.approx({
        'miou': 1 / 4, 'mean_dice': 1 / 3, 'mean_precision': 2 / 3, 'mean_recall': 1 / 3,
        'mean_accuracy': (3 / 5 + 3 / 4) / 2})


def test_a_class_that_is_only_predicted_has_iou_zero_and_counts_in_the_mean():
    confusion = Confusion.empty(('a', 'b')).add(np.array([[3, 1], [0, 0]]))
    assert confusion.per_class()['iou'].tolist() == [0.75, 0.0]
    assert confusion.summary()['miou'] == pytest.approx(0.375)
    assert confusion.summary()['mean_accuracy'] == pytest.approx(0.75)
    binary = BinaryCounts.empty(('a', 'b')).add([[[2, 1], [0, 3]], [[5, 1], [0, 0]]])
    assert binary.per_class()['iou'].tolist() == [0.75, 0.0]
    assert binary.summary()['miou'] == pytest.approx(0.375)


@each_state
@pytest.mark.parametrize('seed', range(3))
def test_scores_equal_the_slow_reference(state, seed):
    data = example(state, seed)
    counted = state.empty(names(7)).count(*data)
    expected = (references.per_class(*data, 7) if state is Confusion
                else references.per_binary_class(*data))
    scores = counted.per_class()
    assert set(scores) == set(expected[0])
    for name in scores:
        np.testing.assert_allclose(scores[name], [one[name] for one in expected])
    if state is Confusion:
        assert counted.summary() == pytest.approx(references.summary(*data, 7))
    else:
        assert counted.summary() == pytest.approx({
            name: references.mean(expected, name.removeprefix('mean_').replace('miou', 'iou'))
            for name in counted.summary()})


def test_confusion_counts_equal_a_python_loop():
    labels, predictions, valid = example(Confusion)
    expected = np.zeros((7, 7), int)
    for t, p, v in zip(labels.ravel(), predictions.ravel(), valid.ravel(), strict=True):
        expected[t, p] += v
    counted = Confusion.empty(names(7)).count(labels, predictions, valid)
    np.testing.assert_array_equal(counted.matrix, expected)


@each_state
def test_nothing_under_void_is_counted(state):
    labels, predictions, valid = example(state)
    rng = np.random.default_rng(1)
    wild = [np.where(valid, x, rng.choice([-7, 255, 2 ** 30], x.shape))
            for x in (labels, predictions)]
    np.testing.assert_array_equal(values(state.empty(names(7)).count(*wild, valid)),
                                  values(state.empty(names(7)).count(labels, predictions, valid)))


@each_state
def test_merging_equals_counting_at_once(state):
    data, empty = example(state), state.empty(names(7))
    images = [empty.count(*(x[i] for x in data)) for i in range(4)]
    one_by_one = empty
    for i in range(4):
        one_by_one = one_by_one.count(*(x[i] for x in data))
    merged = images[0].merge(images[1]).merge(images[2].merge(images[3]))
    for other in (one_by_one, merged):
        np.testing.assert_array_equal(values(other), values(empty.count(*data)))


@each_state
def test_permuted_classes_permute_the_scores(state):
    labels, predictions, valid = example(state)
    order = np.array([2, 0, 3, 6, 1, 5, 4])
    one = state.empty(names(7)).count(labels, predictions, valid)
    permuted = ((np.argsort(order)[x] for x in (labels, predictions)) if state is Confusion
                else (x[..., order] for x in (labels, predictions)))
    valid = valid if state is Confusion else valid[..., order]
    other = state.empty(names(7)).count(*permuted, valid)
    for name, score in one.per_class().items():
        np.testing.assert_allclose(score[order], other.per_class()[name])
    assert one.summary() == pytest.approx(other.summary())


@pytest.mark.parametrize('classes, dtype', [(19, np.uint8), (256, np.uint8), (300, np.uint16)])
def test_small_integer_types_do_not_overflow(classes, dtype):
    rng = np.random.default_rng(3)
    truth, guess = rng.integers(0, classes, (2, 40, 50))
    valid, empty = rng.random(truth.shape) < 0.7, Confusion.empty(names(classes))
    np.testing.assert_array_equal(
        empty.count(truth.astype(dtype), guess.astype(dtype), valid).matrix,
        empty.count(truth, guess, valid).matrix)


@pytest.mark.parametrize('labels, predictions', [
    ([0, 3], [0, 0]), ([0, -1], [0, 0]), ([0, 0], [3, 0])])
def test_values_outside_the_classes_are_an_error_of_the_caller(labels, predictions):
    valid = np.ones(2, bool)
    with pytest.raises(InputError, match='is none of 3 classes .* valid = labels != void'):
        Confusion.empty(names(3)).count(labels, predictions, valid)
    with pytest.raises(InputError, match='is none of 0 and 1 '):
        BinaryCounts.empty(names(2)).count(labels, predictions, valid)
    with pytest.raises(InputError, match='is none of 3 classes'):
        ImageCounts.empty(names(3)).count([labels], [predictions], valid[None], 'x')


@pytest.mark.parametrize('shapes, words', [
    (((2, 3), (2, 2), (2, 3)), r'labels \(2, 3\), predictions \(2, 2\) and valid \(2, 3\)'),
    (((2, 3), (2, 3), (2,)), r'valid \(2,\); give arrays of one shape')])
def test_arrays_of_other_shapes_are_an_error_of_the_caller(shapes, words):
    labels, predictions, valid = map(np.zeros, shapes, (int, int, bool))
    for metric in (Confusion, BinaryCounts):
        with pytest.raises(InputError, match=words):
            metric.empty(names(3)).count(labels, predictions, valid)
    with pytest.raises(InputError, match='one image at a time'):
        ImageCounts.empty(names(3)).count(*np.zeros((3, 9), bool), 'x')
    with pytest.raises(InputError, match=r'an array \(2, 3\) for 4 classes'):
        Calibration.empty(names(4)).count(np.zeros(2, int), np.zeros((2, 3)), np.ones(2, bool))
    with pytest.raises(InputError, match=r'labels \(2,\) .* probabilities \(5, 3\)'):
        Calibration.empty(names(3)).count(np.zeros(2, int), np.zeros((5, 3)), np.ones(2, bool))


def test_counts_beyond_32_bits_are_exact():
    big = np.array([[2 ** 31 - 1, 1], [0, 7]], np.int32)
    confusion = Confusion.empty(('a', 'b'))
    for _ in range(5):
        confusion = confusion.merge(Confusion.empty(('a', 'b')).add(big))
    assert confusion.matrix.tolist() == [[5 * (2 ** 31 - 1), 5], [0, 35]]
    assert confusion.merge(confusion).matrix.tolist() == [[10 * (2 ** 31 - 1), 10], [0, 70]]
    binary = BinaryCounts.empty(('a',)).add(big[None])
    assert binary.merge(binary).counts.tolist() == [[[2 ** 32 - 2, 2], [0, 14]]]


def test_the_report_of_a_confusion_is_json_and_its_table_is_aligned():
    matrix = np.array([[5, 1, 0], [2, 8, 0], [0, 0, 0]])
    confusion = Confusion.empty(('sky', 'building', 'never')).add(matrix)
    found = json.loads(json.dumps(confusion.json(), allow_nan=False))
    assert found['classes']['sky']['iou'] == 5 / 8 and found['classes']['never']['iou'] is None
    assert found['confusion_matrix'] == matrix.tolist()
    lines = confusion.table().splitlines()
    assert lines[1].split() == ['sky', '62.5', '83.3', '71.4', '83.3', '76.9', '37.5']
    assert lines[3].split() == ['never', *['nan'] * 5, '0.0']
    assert len({len(line) for line in lines[:4]}) == 1


def test_the_report_of_binary_counts_is_json_and_its_table_is_aligned():
    matrices = [[[5, 1], [1, 3]], [[10, 0], [0, 0]]]
    binary = BinaryCounts.empty(('lesion', 'no')).add(matrices)
    found = json.loads(json.dumps(binary.json(), allow_nan=False))
    assert found['miou'] == 0.6 and found['classes']['no']['accuracy'] is None
    assert found['counts'] == matrices
    lines = binary.table().splitlines()
    assert lines[1].split() == ['lesion', '60.0', '80.0', '75.0', '75.0', '75.0', '40.0']
    assert lines[2].split() == ['no', *['nan'] * 5, '0.0']


@each_state
def test_nothing_counted_is_nan_and_null_in_json(state):
    empty = state.empty(('a', 'b'))
    empty = empty.count(*(x[:0, ..., :2] for x in example(state)))  # no images either
    assert all(math.isnan(value) for value in empty.summary().values())
    assert empty.json()['miou'] is None
    assert empty.json()['classes']['a']['iou'] is None
    assert 'miou: nan' in empty.table()
