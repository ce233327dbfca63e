"""Counts of every image: hand-worked scores, the confusion matrix, void, and the CSV."""

import json
import math

import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.metrics.binary_counts import BinaryCounts
from jaxseg.metrics.confusion import Confusion
from jaxseg.metrics.images import ImageCounts
from tests.metric_examples import example, names, wild

each_task = pytest.mark.parametrize('overlapping', [False, True], ids=['semantic', 'multilabel'])


def by_hand() -> ImageCounts:
    """Two images of three classes, of which the last never occurs; one pixel is void."""
    counts = ImageCounts.empty(('a', 'b', 'never'))
    for name, truth, guess in (('x', [[0, 0, 1, 9]], [[0, 1, 1, 0]]), ('y', [[0, 0]], [[0, 0]])):
        truth, guess = np.array(truth), np.array(guess)
        counts = counts.count(truth, guess, truth != 9, name)
    return counts


def test_two_images_by_hand():
    counts = by_hand()
    assert counts.names == ('x', 'y')
    assert counts.tp.tolist() == [[1, 1, 0], [2, 0, 0]]
    assert counts.fp.tolist() == [[0, 1, 0], [0, 0, 0]]
    assert counts.fn.tolist() == [[1, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(counts.iou(), [[1 / 2, 1 / 2, math.nan], [1, math.nan, math.nan]])
    np.testing.assert_allclose(counts.image_miou(), [1 / 2, 1])
    assert counts.lowest() == 'x'
    scores = counts.per_class()
    np.testing.assert_allclose(scores['mean'], [3 / 4, 1 / 2, math.nan])
    np.testing.assert_allclose(scores['median'], [3 / 4, 1 / 2, math.nan])
    np.testing.assert_allclose(scores['lowest'], [1 / 2, 1 / 2, math.nan])
    np.testing.assert_allclose(scores['images'], [1, 1 / 2, 0])
    assert counts.summary() == pytest.approx({
        'image_miou': 3 / 4, 'median_image_miou': 3 / 4, 'lowest_image_miou': 1 / 2})


@each_task
def test_the_sum_of_all_images_is_that_of_the_data_set(overlapping):
    counts = ImageCounts.empty(names(4))
    total = (BinaryCounts if overlapping else Confusion).empty(names(4))
    for seed in range(3):
        labels, predictions, _, valid = example(overlapping, seed)
        counts = counts.count(labels, predictions, valid, str(seed))
        total = total.count(labels, predictions, valid)
    tp, fp, fn = (part.sum(0) for part in (counts.tp, counts.fp, counts.fn))
    scores = total.per_class()
    np.testing.assert_allclose(tp / (tp + fp + fn), scores['iou'])
    np.testing.assert_allclose(tp / (tp + fp), scores['precision'])
    assert counts.tp.dtype == np.int64


@each_task
def test_nothing_under_void_is_counted_and_merging_equals_counting(overlapping):
    labels, predictions, _, valid = example(overlapping)
    empty = ImageCounts.empty(names(4))
    one = empty.count(labels, predictions, valid, 'a')
    other = empty.count(wild(labels, valid), wild(predictions, valid), valid, 'b')
    both = empty.merge(one, other)
    at_once = one.count(labels, predictions, valid, 'b')
    assert both.names == at_once.names == ('a', 'b')
    for part in ('tp', 'fp', 'fn'):
        np.testing.assert_array_equal(getattr(both, part), getattr(at_once, part))


def test_an_image_without_valid_pixels_has_no_score():
    empty = ImageCounts.empty(('a',))
    assert empty.tp.shape == (0, 1)
    assert math.isnan(empty.summary()['image_miou']) and empty.lowest() == ''
    zero = np.zeros((2, 2), int)
    counts = empty.count(zero, zero, zero > 0, 'void').count(zero, zero, zero == 0, 'x')
    np.testing.assert_array_equal(counts.image_miou(), [math.nan, 1])
    assert counts.summary()['image_miou'] == 1 and counts.lowest() == 'x'
    assert json.loads(json.dumps(counts.json(), allow_nan=False))['classes']['a']['images'] == 0.5
    assert counts.table().splitlines()[1].split() == ['a', '100.0', '100.0', '100.0', '50.0']


def test_the_csv_is_read_as_it_was_written(tmp_path):
    assert by_hand().csv().splitlines()[:4] == [
        'image,class,tp,fp,fn', 'x,a,1,0,1', 'x,b,1,1,0', 'x,never,0,0,0']
    path = tmp_path / 'images.csv'
    strange = ('a,b', '"', 'line\nbreak', '\r', 'é', ' ', '')
    zero = np.zeros((1, 1), int)
    counts = ImageCounts.empty(('c,d', 'e\n', 'f'))
    for value, name in enumerate(strange):
        counts = counts.count(zero, zero + value % 3, zero == 0, name)
    counts.write(path)
    found = ImageCounts.read(path)
    assert found.names == strange and found.classes == counts.classes
    for part in ('tp', 'fp', 'fn'):
        np.testing.assert_array_equal(getattr(found, part), getattr(counts, part))
    ImageCounts.empty(('a',)).count(zero, zero, zero == 0, 'no\udcffunicode').write(path)
    assert ImageCounts.read(path).names == ('no\\udcffunicode',)


@pytest.mark.parametrize('change, words', [
    (lambda text: '', 'first line'),
    (lambda text: text.replace('class', 'klass'), 'first line'),
    (lambda text: text.split('\r\n')[0], 'no image'),
    (lambda text: text[:-9], 'line 7 '),
    (lambda text: text.replace('x,b,1', 'x,b,-1'), 'line 3 '),
    (lambda text: text.replace('x,b,1', 'x,b,1.0'), 'line 3 '),
    (lambda text: text.replace('x,b,1', 'x,b,²'), 'line 3 '),
    (lambda text: text.replace('x,b,1', 'x,b,' + '9' * 30), 'line 3 '),
    (lambda text: text.replace('x,b,1', 'x,a,1'), "line 3 has image 'x' and class 'a' again"),
    (lambda text: text.replace('x,b,1', 'x,"b'), 'not a table'),
    (lambda text: text.replace('y,never', 'y,once'), "image 'y' has the classes a, b, once"),
    (lambda text: text.replace('y', 'x'), 'again'),
    (lambda text: text + 'z,a,1,1,1\r\n', "image 'z' has the classes a,"),
    (lambda text: '\ud800', 'not a table')])
def test_a_damaged_csv_is_refused(tmp_path, change, words):
    path = tmp_path / 'images.csv'
    path.write_bytes(change(by_hand().csv()).encode('utf-8', 'surrogatepass'))
    with pytest.raises(InputError, match='images.csv: ') as error:
        ImageCounts.read(path)
    assert words in str(error.value) and '\n' not in str(error.value)


def test_a_csv_that_is_missing_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / 'none.csv', tmp_path):
        with pytest.raises(InputError, match='jaxseg evaluate'):
            ImageCounts.read(path)
