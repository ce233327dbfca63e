"""Images of mixed sizes: batches count what one image at a time would, in bounded memory."""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data.device_transforms import Normalize
from jaxseg.decoders.fcn import FCN
from jaxseg.decoders.unet import UNet
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.inference.sliding import SlidingWindow, starts
from jaxseg.inference.whole import PROGRAMS, WAITING, Whole
from jaxseg.layers.head import Head
from jaxseg.layers.stages import Stage
from jaxseg.losses.cross_entropy import cross_entropy
from jaxseg.losses.weighted import WeightedSum
from jaxseg.metrics.confusion import Confusion
from jaxseg.models.segmentation_model import SegmentationModel
from jaxseg.tasks.semantic import Semantic
from jaxseg.training.evaluation import evaluate
from tests.variables import random_variables

CLASSES = ('a', 'b', 'c')
TASK = Semantic(CLASSES, WeightedSum({'entropy': (1.0, cross_entropy)}), False)
NORMALIZE = Normalize((0.4,) * 3, (0.25,) * 3)
WINDOW = (24, 16)


class Pixelwise(nn.Module):
    """An encoder in which no pixel knows of another."""

    stride = 1

    @nn.compact
    def __call__(self, x, *, train):
        return (Stage(1, nn.gelu(nn.Dense(8)(x))),)


MODELS = {'convolutional': SegmentationModel(VGGLike((4, 4), depth=1), UNet((4, 4)), 3),
          'pixelwise': SegmentationModel(Pixelwise(), FCN((8,)), 3, head=Head(3, 1))}


@functools.cache
def network(name):
    """`forward(variables, images)`, and variables with which every class is predicted."""
    model = MODELS[name]
    variables = random_variables(model, np.zeros((1, 16, 16, 3), np.float32), train=False)
    def forward(variables, pixels):
        return model.apply(variables, NORMALIZE({'image': pixels}, None)['image'], train=False)

    image, = images((32, 32))
    mean = forward(variables, image[None])['logits'].mean((0, 1, 2))
    variables['params']['head']['bias'] -= np.asarray(mean)
    return forward, variables


def images(*sizes, seed=0):
    """Blocks of color: neighbours matter, and every image has several classes."""
    rng = np.random.default_rng(seed)
    for height, width in sizes:
        blocks = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3)).astype(np.uint8)
        yield blocks.repeat(5, 0).repeat(5, 1)[:height, :width]


def samples(*sizes):
    """As those of a data set: an image, labels and valid pixels."""
    for index, image in enumerate(images(*sizes)):
        rng = np.random.default_rng(index)
        yield {'image': image, 'label': rng.integers(0, 3, image.shape[:2]),
               'valid': rng.random(image.shape[:2]) < 0.8, 'index': index}


def weights_by_hand(window, kind):
    """Of a Gaussian with a deviation of an eighth of the side, at least 1e-6."""
    found = np.ones(window)
    for row, column in itertools.product(*map(range, window)):
        distances = [(place - (side - 1) / 2) / (side / 8)
                     for place, side in zip((row, column), window, strict=True)]
        if kind == 'gaussian':
            found[row, column] = max(math.exp(-0.5 * sum(x * x for x in distances)), 1e-6)
    return found


def sliding_by_hand(probabilities_of, image, window, overlap, kind):
    """One window after the other on a whole canvas."""
    (height, width), weights = window, weights_by_hand(window, kind)
    margins = [(0, max(0, side - have)) for side, have in zip(window, image.shape, strict=False)]
    padded = np.pad(image, (*margins, (0, 0)), mode='edge')
    sums, total = np.zeros((*padded.shape[:2], 3)), np.zeros((*padded.shape[:2], 1))
    step = [max(1, round(side * (1 - overlap))) for side in window]
    rows, columns = (sorted({min(first, side - length) for first in range(0, side, stride)})
                     for side, length, stride in zip(padded.shape, window, step, strict=False))
    for top, left in itertools.product(rows, columns):
        place = np.s_[top:top + height, left:left + width]
        sums[place] += weights[..., None] * probabilities_of(padded[place])
        total[place] += weights[..., None]
    return (sums / total)[:image.shape[0], :image.shape[1]]


@functools.cache
def one_by_one(name):
    forward, variables = network(name)
    compiled = jax.jit(lambda images: TASK.probabilities(forward(variables, images)))
    return lambda image: np.asarray(compiled(image[None]))[0]


SIZES = [(24, 32), (33, 20), (17, 41), (24, 32), (9, 12), (33, 20)]


@pytest.mark.parametrize('make', [
    functools.partial(Whole, batch_size=3),
    functools.partial(SlidingWindow, batch_size=4, window=WINDOW),
    functools.partial(SlidingWindow, batch_size=4, window=WINDOW, weights='constant', overlap=0.0),
], ids=['whole', 'gaussian', 'constant'])
def test_twenty_images_score_as_each_of_them_alone(make):
    forward, variables = network('convolutional')
    inference, sizes = make(forward, TASK), [SIZES[i % len(SIZES)] for i in range(20)]
    seen = []
    scores = evaluate(functools.partial(inference.predictions, variables), samples(*sizes),
                      Confusion.empty(CLASSES),
                      observe=lambda sample, _: seen.append(sample['index']))
    probabilities_of, expected = one_by_one('convolutional'), np.zeros((3, 3), int)
    for sample in samples(*sizes):
        found = probabilities_of(sample['image']) if isinstance(inference, Whole) else (
            sliding_by_hand(probabilities_of, sample['image'], WINDOW, inference.overlap,
                            inference.weights))
        truth, predicted = sample['label'][sample['valid']], found.argmax(-1)[sample['valid']]
        np.add.at(expected, (truth, predicted), 1)
    assert sorted(seen) == list(range(20))
    np.testing.assert_array_equal(scores.matrix, expected)
    assert (expected.sum(0) > 100).all()  # every class is predicted
    # One program for each size, and one for each of these where fewer images are left at the end.
    assert inference.compilations <= (8 if isinstance(inference, Whole) else 1)


@pytest.mark.parametrize('size, overlap, weights', [
    ((24, 16), 0.5, 'gaussian'), ((50, 37), 0.0, 'constant'), ((50, 37), 0.5, 'constant'),
    ((50, 37), 0.7, 'gaussian'), ((11, 40), 0.5, 'gaussian'), ((40, 9), 0.0, 'gaussian'),
    ((5, 7), 0.5, 'constant')])
def test_sliding_windows_equal_plain_loops(size, overlap, weights):
    forward, variables = network('convolutional')
    inference = SlidingWindow(forward, TASK, 4, window=WINDOW, overlap=overlap, weights=weights)
    image, = images(size)
    expected = sliding_by_hand(one_by_one('convolutional'), image, WINDOW, overlap, weights)
    found = inference.probabilities(variables, image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    (key, mask), = inference.predictions(variables, [('key', image)])
    assert key == 'key'
    np.testing.assert_array_equal(mask, found.argmax(-1))


@pytest.mark.parametrize('side, window, overlap, expected', [
    (10, 4, 0.5, [0, 2, 4, 6]), (9, 4, 0.5, [0, 2, 4, 5]), (10, 4, 0.0, [0, 4, 6]),
    (8, 4, 0.0, [0, 4]), (5, 4, 0.0, [0, 1]), (4, 4, 0.5, [0]), (3, 4, 0.5, [0]),
    (6, 4, 0.99, [0, 1, 2]),
])
def test_windows_begin_where_they_should_and_end_at_the_border(side, window, overlap, expected):
    assert starts(side, window, overlap) == expected


@pytest.mark.parametrize('overlap', [0.0, 0.5])
def test_a_model_of_single_pixels_gives_the_same_whole_and_in_windows(overlap):
    forward, variables = network('pixelwise')
    sliding = SlidingWindow(forward, TASK, 4, window=WINDOW, overlap=overlap)
    for image in images((50, 37), (9, 12)):
        whole = one_by_one('pixelwise')(image)
        np.testing.assert_allclose(sliding.probabilities(variables, image), whole, atol=1e-5)
        (_, mask), = sliding.predictions(variables, [(0, image)])
        np.testing.assert_array_equal(mask, whole.argmax(-1))


def beyond(variables, images):
    """Class 2 for every pixel from row 5 or column 7 on: in the padding of a picture of 5x7."""
    rows, columns = jnp.arange(images.shape[1])[:, None], jnp.arange(images.shape[2])[None]
    outside = (rows >= 5) | (columns >= 7)
    return {'logits': jnp.broadcast_to(jax.nn.one_hot(2 * outside, 3), (*images.shape[:3], 3))}


@pytest.mark.parametrize('overlap, kind', [(0.5, 'gaussian'), (0.0, 'constant')])
def test_padding_reaches_no_score(overlap, kind):
    inference = SlidingWindow(beyond, TASK, 4, window=WINDOW, overlap=overlap, weights=kind)
    image = np.zeros((5, 7, 3), np.uint8)
    scores = evaluate(functools.partial(inference.predictions, None), 3 * [
        {'image': image, 'label': np.zeros((5, 7), int), 'valid': np.ones((5, 7), bool)}],
        Confusion.empty(CLASSES))
    assert scores.matrix.tolist() == [[3 * 35, 0, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(inference.probabilities(None, image),
                               np.broadcast_to(jax.nn.softmax(jnp.array([1.0, 0, 0])), (5, 7, 3)),
                               rtol=1e-6)


@pytest.mark.parametrize('size', [(5, 7), (13, 9)])
def test_the_padding_to_the_stride_is_the_border_repeated_and_is_cut_off(size):
    """What stands beyond the border in the padded picture is no part of the result."""
    forward, variables = network('convolutional')
    image, = images(size)
    padded = np.pad(image, ((0, -size[0] % 4), (0, -size[1] % 4), (0, 0)), mode='edge')
    whole = Whole(forward, TASK, 2)
    expected = whole.probabilities(variables, padded)[:size[0], :size[1]]
    np.testing.assert_allclose(whole.probabilities(variables, image), expected, atol=1e-6)


def brightness(variables, images):
    """A model without parameters: the class is the first channel."""
    return {'logits': jax.nn.one_hot(images[..., 0], 3)}


def outstanding(inference, sizes):
    """The largest number of images taken and not yet given back."""
    taken, given, most = itertools.count(1), 0, 0

    def source():
        nonlocal most
        for key, (height, width) in enumerate(sizes):
            most = max(most, next(taken) - given)
            yield key, np.full((height, width, 3), key % 3, np.uint8)

    for key, mask in inference.predictions(None, source()):
        assert mask.shape == sizes[key] and (mask == key % 3).all()
        given += 1
    assert given == len(sizes)
    return most


def test_few_images_of_many_sizes_wait_in_memory():
    sizes = [(3 + i, 4) for i in range(34)]
    whole, sliding = Whole(brightness, TASK, 2), SlidingWindow(brightness, TASK, 2, window=(8, 8))
    assert outstanding(whole, sizes) <= 2 * WAITING + 1
    assert whole.compilations <= PROGRAMS
    assert outstanding(sliding, sizes) <= 3
    assert sliding.compilations == 1


def test_windows_fill_up_batches_of_one_shape_for_all_devices():
    shapes = set()

    def place(batch):
        shapes.add(batch.shape)
        return jnp.asarray(batch)

    for batch_size, devices, expected in ((3, 4, 4), (8, 4, 8), (5, 1, 5)):
        shapes.clear()
        sliding = SlidingWindow(brightness, TASK, batch_size, place, devices, window=(4, 4))
        outstanding(sliding, [(9, 4), (3, 3), (11, 13)])
        assert shapes == {(expected, 4, 4, 3)}
    whole = Whole(brightness, TASK, 8, place, 4)
    shapes.clear()
    outstanding(whole, [(4, 4)] * 9)
    assert shapes == {(8, 4, 4, 3)}


@pytest.mark.parametrize('error', [MemoryError(), jax.errors.JaxRuntimeError(
    'RESOURCE_EXHAUSTED: out of memory')], ids=['host', 'device'])
def test_what_the_devices_cannot_hold_goes_image_by_image_or_through_windows(error):
    shapes = []

    def place(batch):
        shapes.append(batch.shape[:3])
        if len(batch) > 1 or batch.shape[1] == 9:
            raise error
        return jnp.asarray(batch)

    inference = Whole(brightness, TASK, 2, place)
    outstanding(inference, [(3, 4), (3, 4), (9, 4)])
    assert shapes == [(2, 3, 4), (1, 3, 4), (1, 3, 4), (1, 9, 4), (1, 512, 512)]
    assert inference.windowed == [(9, 4)]
    found = inference.probabilities(None, np.ones((9, 4, 3), np.uint8))
    assert (found.argmax(-1) == 1).all() and inference.windowed == [(9, 4)] * 2
    assert shapes[5:] == [(1, 9, 4), (1, 512, 512)]


def test_no_array_of_a_whole_image_with_all_its_channels_exists():
    rows = []

    class Task:
        """Notes what it decides at once."""

        def probabilities(self, outputs):
            return outputs['logits']

        def decide(self, probabilities):
            rows.append(len(probabilities))
            return probabilities.argmax(-1)

    sliding = SlidingWindow(brightness, Task(), 2, window=(8, 8))
    (_, mask), = sliding.predictions(None, [(0, np.ones((100, 9, 3), np.uint8))])
    assert (mask == 1).all() and mask.shape == (100, 9)
    assert sum(rows) == 100 and max(rows) <= 8
