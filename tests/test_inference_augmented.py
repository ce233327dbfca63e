"""Test-time augmentation: the mean over scaled, flipped and rotated copies, and its variance."""

import functools
import itertools

import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.errors import InputError
from jaxseg.inference.augmented import TestTimeAugmentation, resize
from jaxseg.inference.sliding import SlidingWindow
from jaxseg.inference.whole import Whole
from jaxseg.losses.binary_cross_entropy import binary_cross_entropy
from jaxseg.losses.weighted import WeightedSum
from jaxseg.tasks.multilabel import Multilabel
from tests.references.resize import resize_by_hand
from tests.test_inference_sizes import TASK, images, network

SIZE = (20, 28)
ALL = {'flips': 'both', 'rotations': (0, 90, 180, 270)}
METHODS = {'whole': Whole, 'windows': functools.partial(SlidingWindow, window=(16, 12))}
# All ways to lay a rectangle on its own sides.
SYMMETRIES = [lambda a, k=k, m=m: np.rot90(a[:, ::-1] if m else a, k)
              for k, m in itertools.product(range(4), (False, True))]


class Positions:
    """Probabilities that depend on the place in the image, and the images that were given."""

    compilations, windowed = 0, ()

    def __init__(self):
        self.seen = []

    def probabilities(self, variables, image):
        """Class 0 is the more probable the brighter, lower and farther to the left a pixel is."""
        self.seen.append(image)
        rows, columns = (np.linspace(*ends, side) for ends, side in zip(
            ((0, 0.25), (0.5, 0)), image.shape, strict=False))
        found = image[..., :1] / 1020 + rows[:, None, None] + columns[:, None]
        return np.concatenate([found, 1 - found, 0 * found], -1).astype(np.float32)


def augmented(method=None, **options):
    forward, _ = network('convolutional')
    return TestTimeAugmentation(forward, TASK, 2, method=method, **options)


@functools.cache
def shared(kind):
    """One inner method of each kind, so that its programs are compiled once."""
    return METHODS[kind](network('convolutional')[0], TASK, 4)


def by_hand(method, image, scales, places):
    """Probabilities of every copy at the image's size; `places` are pairs (forth, back)."""
    found = []
    for scale, (forth, back) in itertools.product(scales, places):
        size = [round(scale * side) for side in image.shape[:2]]
        copy = method.probabilities(None, forth(resize_by_hand(image, size)))
        found.append(resize_by_hand(back(copy), image.shape[:2]))
    return np.array(found)


FLIPPED = {'none': [(lambda a: a,) * 2],
           'horizontal': [(lambda a: a,) * 2, (lambda a: a[:, ::-1],) * 2],
           'vertical': [(lambda a: a,) * 2, (lambda a: a[::-1],) * 2],
           'both': [(lambda a: a,) * 2, (lambda a: a[:, ::-1],) * 2, (lambda a: a[::-1],) * 2,
                    (lambda a: a[::-1, ::-1],) * 2]}
TURNED = {0: (lambda a: a,) * 2,
          90: (lambda a: a.swapaxes(0, 1)[::-1], lambda a: a[::-1].swapaxes(0, 1)),
          180: (lambda a: a[::-1, ::-1],) * 2,
          270: (lambda a: a[::-1].swapaxes(0, 1), lambda a: a.swapaxes(0, 1)[::-1])}


@pytest.mark.parametrize('scales, flips, rotations', [
    ((1.0,), 'horizontal', (0,)), ((0.5, 1.0, 1.75), 'none', (0,)), ((1.0,), 'vertical', (90,)),
    ((0.7, 2.0), 'both', (0,)), ((1.0,), 'none', (0, 90, 180, 270)),
    ((1.3,), 'horizontal', (0, 270))])
def test_mean_and_variance_equal_those_of_the_copies_one_by_one(scales, flips, rotations):
    image = next(images((10, 14))).astype(np.float32)
    places = [(lambda a, f=f, t=t: f[0](t[0](a)), lambda a, f=f, t=t: t[1](f[1](a)))
              for t in map(TURNED.get, rotations) for f in FLIPPED[flips]]
    expected = by_hand(Positions(), image, scales, places)
    inference = augmented(Positions(), scales=scales, flips=flips, rotations=rotations)
    mean, variance = inference.moments(None, image)
    assert len(inference.method.seen) == len(expected)
    np.testing.assert_allclose(mean, expected.mean(0), atol=1e-5)
    np.testing.assert_allclose(variance, expected.var(0).sum(-1), atol=1e-6)
    assert mean.dtype == variance.dtype == np.float32 and variance.max() > 1e-3
    np.testing.assert_array_equal(mean, inference.probabilities(None, image))
    np.testing.assert_array_equal(variance, inference.variance(None, image))
    (_, mask), = inference.predictions(None, [('key', image)])
    np.testing.assert_array_equal(mask, mean.argmax(-1))


def test_the_mean_and_the_variance_of_two_copies_by_hand():
    class Left:
        """0.5 and 0.5 in the left column, 0.875 and 0.125 in the right one, of each copy."""

        windowed = ()

        def probabilities(self, variables, image):
            return np.array([[[0.5, 0.5], [0.875, 0.125]]], np.float32)

    mean, variance = augmented(Left()).moments(None, np.zeros((1, 2, 3), np.uint8))
    assert mean.tolist() == [[[0.6875, 0.3125]] * 2]
    assert variance.tolist() == [[2 * 0.1875 ** 2] * 2]


@pytest.mark.parametrize('kind', METHODS)
def test_a_turned_image_has_exactly_the_turned_prediction(kind):
    _, variables = network('convolutional')
    image, = images(SIZE)
    inference = augmented(shared(kind), **ALL)
    mean = inference.probabilities(variables, image)
    (_, mask), = inference.predictions(variables, [(0, image)])
    assert len(np.unique(mask)) == 3
    for turned in SYMMETRIES:
        np.testing.assert_array_equal(inference.probabilities(variables, turned(image)),
                                      turned(mean))
        (_, found), = inference.predictions(variables, [(0, turned(image))])
        np.testing.assert_array_equal(found, turned(mask))
    assert not np.array_equal(shared(kind).probabilities(variables, image[:, ::-1]),
                              shared(kind).probabilities(variables, image)[:, ::-1])


@pytest.mark.parametrize('kind', METHODS)
def test_a_model_of_single_pixels_gives_the_same_with_flips(kind):
    forward, variables = network('pixelwise')
    method = METHODS[kind](forward, TASK, 4)
    image, = images(SIZE)
    inference = augmented(method, flips='both')
    plain = method.probabilities(variables, image)
    mean, variance = inference.moments(variables, image)
    np.testing.assert_allclose(mean, plain, atol=1e-6)
    assert variance.max() < 1e-12
    (_, mask), = inference.predictions(variables, [(0, image)])
    np.testing.assert_array_equal(mask, plain.argmax(-1))


@pytest.mark.parametrize('kind', METHODS)
def test_the_image_alone_gives_what_the_method_gives_bit_for_bit(kind):
    _, variables = network('convolutional')
    inference = augmented(shared(kind), flips='none')
    pairs = list(enumerate(images(SIZE, SIZE, SIZE)))
    for (_, mask), (_, expected) in zip(inference.predictions(variables, pairs),
                                        shared(kind).predictions(variables, pairs), strict=True):
        np.testing.assert_array_equal(mask, expected)
    mean, variance = inference.moments(variables, pairs[0][1])
    expected = shared(kind).probabilities(variables, pairs[0][1])
    for found in (mean, inference.probabilities(variables, pairs[0][1])):
        assert found.tobytes() == expected.tobytes()
    assert not variance.any()


def test_a_single_copy_that_is_not_the_image_decides_the_prediction():
    image, = images(SIZE)
    inference = augmented(Positions(), scales=(0.5,), flips='none')
    (_, mask), = inference.predictions(None, [(0, image)])
    assert [copy.shape[:2] for copy in inference.method.seen] == [(10, 14)]
    np.testing.assert_array_equal(mask, inference.probabilities(None, image).argmax(-1))


def test_without_a_method_images_go_through_whole():
    forward, variables = network('convolutional')
    image, = images(SIZE)
    given = {'forward': forward, 'task': TASK, 'batch_size': 2}
    inference = build('inference', {'type': 'augmented.TestTimeAugmentation', 'flips': 'both'},
                      **given)
    np.testing.assert_array_equal(
        inference.probabilities(variables, image),
        augmented(shared('whole'), flips='both').probabilities(variables, image))
    assert inference.compilations == 1
    windows = build('inference', {
        'type': 'augmented.TestTimeAugmentation', 'scales': [0.5, 1],
        'method': {'type': 'sliding.SlidingWindow', 'window': [16, 12]}}, **given)
    assert (windows.method.window, windows.method.forward) == ((16, 12), forward)


def test_same_copies_count_once():
    image = np.zeros((*SIZE, 3), np.uint8)
    for flips, rotations, count in (('both', (0, 90, 180, 270), 8), ('both', (0, 180), 4),
                                    ('horizontal', (0, 180), 4), ('vertical', (90,), 2),
                                    ('none', (0, 90, 180, 270), 4)):
        method = Positions()
        augmented(method, flips=flips, rotations=rotations).probabilities(None, image)
        assert len(method.seen) == count


def test_classes_that_overlap_are_decided_by_the_mean():
    task = Multilabel(('a', 'b', 'c'), WeightedSum({'b': (1.0, binary_cross_entropy)}), True, 0.4)
    inference = TestTimeAugmentation(None, task, 1, method=Positions())
    image = np.full((1, 2, 3), 102, np.uint8)  # 0.6 and 0.1 from left to right: 0.35 on the mean
    (_, mask), = inference.predictions(None, [(0, image)])
    assert mask.tolist() == [[[0, 1, 0]] * 2]


def test_an_image_that_needs_windows_is_told_once():
    class Windows(Positions):
        """Notes every image as too large."""

        def __init__(self):
            super().__init__()
            self.windowed = []

        def probabilities(self, variables, image):
            self.windowed.append(image.shape[:2])
            return super().probabilities(variables, image)

    inference = augmented(Windows(), scales=(1.0, 2.0))
    list(inference.predictions(None, enumerate(images(SIZE, SIZE))))
    assert inference.windowed == [SIZE, SIZE] and len(inference.method.windowed) == 8


@pytest.mark.parametrize('fields, words', [
    ({'scales': []}, ['scales', 'empty']), ({'scales': [1.0, 2.0, 1]}, ['scales', 'twice']),
    ({'scales': [0]}, ['scales', 'out of range']), ({'rotations': [45]}, ['rotations', '45']),
    ({'rotations': [0, 0]}, ['rotations', 'twice']), ({'rotations': []}, ['rotations', 'empty']),
    ({'flips': 'sideways'}, ['flips', 'sideways']),
    ({'method': {'type': 'augmented.TestTimeAugmentation'}}, ['inference.method', 'in one']),
    ({'method': {'type': 'slidin.SlidingWindow'}}, ['inference.method', 'sliding.SlidingWindow']),
    ({'method': None, 'scale': [1]}, ['inference.scale', "'scales'"])])
def test_augmentations_that_mean_nothing_are_refused(fields, words):
    with pytest.raises(InputError) as error:
        build('inference', {'type': 'augmented.TestTimeAugmentation', **fields}, forward=None,
              task=None, batch_size=1)
    assert all(word in str(error.value) for word in words) and '\n' not in str(error.value)


@pytest.mark.parametrize('values, size, expected', [
    ([0, 4, 8, 20], 2, [2, 14]),  # means of two
    ([0, 6, 12], 2, [2, 10]),  # the middle one belongs to both
    ([0, 8], 4, [0, 2, 6, 8]),  # between the centres, the border repeated
    ([0, 8], 3, [0, 4, 8]), ([5, 5, 9], 1, [19 / 3]), ([7], 3, [7, 7, 7])])
@pytest.mark.parametrize('channels', [1, 4, 6, 11])
def test_resizing_by_hand(values, size, expected, channels):
    factor = np.arange(1, channels + 1)
    column = (np.array(values)[:, None, None] * factor).astype(np.float32)
    for found in (resize(column, (size, 1)),
                  resize(column.swapaxes(0, 1), (1, size)).swapaxes(0, 1)):
        np.testing.assert_allclose(found[:, 0], np.array(expected)[:, None] * factor, rtol=1e-6)
    assert resize(column.astype(np.uint16), (size, 1)).dtype == np.uint16


@pytest.mark.parametrize('size', [(5, 9), (20, 11), (7, 30), (31, 40), (1, 1)])
def test_resizing_equals_plain_loops(size):
    array = np.random.default_rng(0).random((13, 17, 5)).astype(np.float32)
    found = resize(array, size)
    np.testing.assert_allclose(found, resize_by_hand(array, size), atol=1e-5)
    assert found.shape == (*size, 5) and found.min() >= 0 and found.max() <= 1
