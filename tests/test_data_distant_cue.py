"""DistantCue: the cue alone determines the label, and the ceiling is the score of guessing."""

import cv2
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.data.synthetic import CUE, CUE_COLORS, DistantCue
from jaxseg.errors import InputError

KINDS = ('corner', 'line')


def cues(image):
    """(row, column, label) of every red or blue square at the border, where no circles are."""
    found = []
    for label in (1, 2):
        near = (np.abs(image.astype(int) - CUE_COLORS[label]).max(-1) < 48).astype(np.uint8)
        whole = cv2.erode(near, np.ones((CUE, CUE), np.uint8), anchor=(0, 0),
                          borderType=cv2.BORDER_CONSTANT, borderValue=0)
        rows, columns = np.nonzero(whole)
        border = (rows == 0) | (columns == 0)
        border |= (rows == image.shape[0] - CUE) | (columns == image.shape[1] - CUE)
        found += [(int(row), int(column), label)
                  for row, column in zip(rows[border], columns[border], strict=True)]
    return found


def circles(mask):
    """(boolean map, label) of every circle."""
    for label in (1, 2):
        count, parts = cv2.connectedComponents((mask == label).astype(np.uint8), connectivity=4)
        yield from ((parts == part, label) for part in range(1, count))


def own_cue(circle, found):
    """The label of the square at the border on the rows or the columns of the circle."""
    rows, columns = (np.flatnonzero(circle.any(axis)) for axis in (1, 0))
    for row, column, label in found:
        sideways = column in (0, circle.shape[1] - CUE) and rows[0] <= row + CUE // 2 <= rows[-1]
        at_border = row in (0, circle.shape[0] - CUE)
        upright = at_border and columns[0] <= column + CUE // 2 <= columns[-1]
        if sideways or upright:
            return label
    return None


@pytest.mark.parametrize('kind', KINDS)
def test_the_cue_says_the_class_of_every_circle(kind):
    source = DistantCue(kind).source('test')
    for index in range(40):
        sample = source[index]
        found, shown = cues(sample['image']), list(circles(sample['mask']))
        assert shown
        if kind == 'corner':
            assert len(found) == 1 and all(label == found[0][2] for _, label in shown)
        else:
            assert len(found) == len(shown) and all(own_cue(circle, found) == label
                                                    for circle, label in shown)


@pytest.mark.parametrize('kind', KINDS)
def test_every_circle_is_far_from_its_cue(kind):
    dataset = DistantCue(kind)
    for index in range(40):
        sample = dataset.source('train')[index]
        for circle, _ in circles(sample['mask']):
            own = [cue for cue in cues(sample['image']) if kind == 'corner'
                   or own_cue(circle, [cue])]
            for row, column, _ in own:
                square = np.ones(circle.shape, np.uint8)
                square[row:row + CUE, column:column + CUE] = 0
                assert cv2.distanceTransform(square, cv2.DIST_L2,
                                             5)[circle].min() >= dataset.distance - 1


def test_another_class_changes_the_squares_and_nothing_else(monkeypatch):
    """With both squares in one color, no pixel depends on the classes."""
    same, plain = {}, {}
    for colors, kept in ((CUE_COLORS, plain), ((CUE_COLORS[0],) * 3, same)):
        monkeypatch.setattr('jaxseg.data.synthetic.CUE_COLORS', colors)
        kept.update({index: DistantCue().source('train')[index] for index in range(10)})
    for index in range(10):
        differs = (plain[index]['image'] != same[index]['image']).any(-1)
        assert CUE * CUE // 2 < differs.sum() <= CUE * CUE
        assert not plain[index]['mask'][differs].any()
        (row, column, label), = cues(plain[index]['image'])
        assert not differs[:row].any() and not differs[row + CUE:].any()
        assert label in np.unique(plain[index]['mask'])


@pytest.mark.parametrize('kind', KINDS)
def test_classes_are_balanced_and_the_ceiling_is_that_of_guessing(kind):
    dataset = DistantCue(kind)
    source = dataset.source('test')
    masks = np.stack([source[i]['mask'] for i in range(len(source))])
    red, blue = (int((masks == label).sum()) for label in (1, 2))
    assert 0.8 < red / blue < 1.25
    ceiling = dataset.ceiling('test')
    assert abs(ceiling - 5 / 9) < 0.005
    # No better by trying: pixels of circles called red with any probability.
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.5, 0.8, 1.0):
        called = np.where(masks > 0, np.where(rng.random(masks.shape) < share, 1, 2), 0)
        ious = [((called == label) & (masks == label)).sum()
                / ((called == label) | (masks == label)).sum() for label in range(3)]
        assert np.mean(ious) <= ceiling + 0.003
        assert share != 0.5 or np.mean(ious) > ceiling - 0.003


def test_a_picture_depends_on_seed_split_and_index_only():
    dataset = build('data', {'type': 'synthetic.DistantCue', 'kind': 'line',
                             'samples': {'train': 3, 'test': 3}})
    assert dataset.spec.splits == ('train', 'test') and len(dataset.source('test')) == 3
    again = DistantCue('line', samples={'train': 3, 'test': 3})
    np.testing.assert_array_equal(dataset.source('train')[1]['image'],
                                  again.source('train')[1]['image'])
    assert (dataset.source('train')[1]['image'] != dataset.source('test')[1]['image']).any()
    assert (dataset.source('train')[1]['image']
            != DistantCue('line', seed=1).source('train')[1]['image']).any()


@pytest.mark.parametrize('options, key, value', [
    ({'kind': 'diagonal'}, 'data.kind', "'diagonal'"),
    ({'size': (40, 64)}, 'data.size', '(40, 64)'),
    ({'distance': 30}, 'data.size', 'at least 55'),
    ({'samples': {'valid': 3}}, 'data.samples', "'valid'"),
    ({'distance': 0}, 'data.distance', '0'), ({'seed': 'x'}, 'data.seed', "'x'")])
def test_options_that_leave_nothing_to_see_are_refused(options, key, value):
    with pytest.raises(InputError) as error:
        DistantCue(**options)
    assert str(error.value).startswith(key) and value in str(error.value)
