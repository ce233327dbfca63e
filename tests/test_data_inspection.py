"""Class frequencies by hand, measured ranges, and what no model should see."""

import dataclasses

import numpy as np
import pytest

from jaxseg.data.inspection import look_through, split_to_score
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

SPEC = DatasetSpec('toys', ('a', 'b', 'c'), mean=(0.5,), std=(0.25,))
OVERLAPPING = DatasetSpec('toys', ('a', 'b'), mean=(0.5,), std=(0.25,), overlapping=True)


class Masks:
    """A source of given masks, and images that hold their number."""

    def __init__(self, *masks, dtype=np.uint8):
        self.masks, self.dtype = [np.asarray(mask) for mask in masks], dtype

    def __len__(self):
        return len(self.masks)

    def __getitem__(self, index):
        mask = self.masks[index]
        image = np.full((*mask.shape[:2], 1), index, self.dtype)
        return {'image': image, 'mask': mask, 'name': f'p{index}'}


def test_weights_are_median_frequency_over_frequency():
    first = [[0, 0, 0, 1], [0, 0, 0, 1]]  # 6 of a, 2 of b
    second = [[0, 0, 2, 2], [0, 2, 2, 255]]  # 3 of a, 4 of c, 1 void
    problems, found = look_through(Masks(first, second), SPEC)
    assert not problems
    assert (found.pixels.tolist(), found.images.tolist(),
            found.area.tolist()) == ([9, 2, 4], [2, 1, 1], [16, 8, 8])
    assert (found.labelled, found.void, found.samples) == (15, 1, 2)
    # Frequencies 9/16, 1/4 and 1/2: the median is 1/2, the mean would be 7/16.
    np.testing.assert_allclose(found.weights(), [8 / 9, 2.0, 1.0])
    rows = [line.split() for line in found.table().splitlines()]
    assert rows == [['class', 'pixels', '%', 'images', '%', 'weight'],
                    ['a', '60.00', '100.0', '0.889'],
                    ['b', '13.33', '50.0', '2.000'], ['c', '26.67', '50.0', '1.000'],
                    ['(void)', '6.25', 'of', 'all', 'pixels']]


def test_a_class_that_never_occurs_has_no_weight():
    _, found = look_through(Masks([[0, 0, 0, 1]]), SPEC)
    np.testing.assert_allclose(found.weights(), [2 / 3, 2.0, np.nan])


def test_frequencies_of_overlapping_masks():
    mask = np.zeros((2, 4, 2), np.uint8)
    mask[..., 0] = 1  # everywhere
    mask[0, :, 1] = [1, 1, 0, 255]
    problems, found = look_through(Masks(mask), OVERLAPPING)
    assert not problems and found.pixels.tolist() == [8, 2]
    assert (found.images.tolist(), found.area.tolist(), found.labelled,
            found.void) == ([1, 1], [8, 8], 15, 1)
    np.testing.assert_allclose(found.weights(), [0.625, 2.5])


@pytest.mark.parametrize('spec, shape', [(SPEC, (2, 2)), (OVERLAPPING, (2, 2, 2))])
def test_samples_that_are_all_void_are_a_problem_without_a_warning(spec, shape):
    problems, found = look_through(Masks(np.full(shape, 255), np.full(shape, 255)), spec)
    assert len(problems) == 1 and 'no pixel of 2 masks is labelled' in problems[0]
    assert np.isnan(found.weights()).all() and found.table()


@pytest.mark.parametrize('spec, mask, value', [
    (SPEC, [[3]], 'labels 3 outside 0..2'), (SPEC, [[-1]], 'labels -1 outside'),
    (SPEC, [[7, 8, 0]], 'labels 7, 8'),
    (OVERLAPPING, [[[0, 2]]], 'labels 2 outside 0..1'),
    (OVERLAPPING, [[0, 1]], 'needs masks of (1, 2, 2)'),
    (SPEC, [[[0, 1]]], 'needs masks of (1, 1)')])
def test_masks_that_no_model_should_see_are_named(spec, mask, value):
    problems, found = look_through(Masks(mask), spec)
    assert len(problems) == 1 and problems[0].startswith('p0: ') and value in problems[0]
    assert found.samples == found.void == 0


def test_the_range_of_the_pixels_is_measured_over_all_images():
    masks = [[[0]]] * 4
    assert look_through(Masks(*masks), SPEC)[1].value_range == (0, 3)
    assert look_through(Masks(*masks, dtype=np.float32), SPEC)[1].value_range == (0, 3)


class Splits:
    """A data set of sources, by split; None is one with a problem."""

    def __init__(self, **sources):
        self.sources = sources
        self.spec = dataclasses.replace(SPEC, splits=tuple(sources))

    def source(self, split):
        if self.sources[split] is None:
            raise InputError(f'{split}: images have no mask')
        return self.sources[split]


def test_a_split_without_labels_is_not_the_one_to_score():
    labelled, void = Masks(*[[[255, 0]]] * 3), Masks(*[[[255, 255]]] * 100)
    assert split_to_score(Splits(train=void, val=labelled, test=labelled)) == 'test'
    assert split_to_score(Splits(train=void, val=labelled, test=void)) == 'val'
    assert split_to_score(Splits(train=void, val=labelled, test=None)) == 'val'
    assert split_to_score(Splits(train=void, val=labelled)) == 'val'
    assert split_to_score(Splits(train=labelled, test=void)) == 'train'
    seldom = Masks(*[[[255, 255]]] * 60, [[255, 2]], *[[[255, 255]]] * 2)
    assert split_to_score(Splits(train=void, test=seldom)) == 'test'
