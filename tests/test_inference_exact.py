"""Tiles with a margin of the receptive field: equal to the whole image, or refused."""

import functools
import types

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.inference.exact import Exact
from jaxseg.inference.tiles import Reach, marked, noise, reach_of, spans
from jaxseg.inference.whole import Whole
from tests.test_inference_sizes import TASK, images, network

SIZE = (101, 131)


class Logits:
    """A task whose probabilities are the logits.

    XLA rounds the softmax of one pixel differently in arrays of different sizes, by one unit of the
    last place; what the model computes is equal bit for bit.
    """

    predictions = staticmethod(TASK.predictions)
    decide = staticmethod(TASK.decide)

    @staticmethod
    def probabilities(outputs):
        return outputs['logits']


def moved(variables, pixels, down=0, right=0):
    """A pixel depends on those above it (`down`) and to its left (`right`), beyond them on 7."""
    pixels = pixels.astype(jnp.float32) / 255
    found = pixels
    for axis, distance in ((1, down), (2, right)):
        margins = [(0, 0)] * 4
        margins[axis] = (max(distance, 0), max(-distance, 0))
        wider = jnp.pad(pixels, margins, constant_values=7)
        kept = [slice(None)] * 4
        kept[axis] = slice(0, pixels.shape[axis]) if distance >= 0 else slice(-distance, None)
        found = found + wider[tuple(kept)]
    return {'logits': found}


def blocks(variables, pixels):
    """The mean of blocks of 4 x 4 pixels, then of every block and its left neighbour."""
    b, h, w, c = pixels.shape
    padded = jnp.pad(pixels, ((0, 0), (0, -h % 4), (0, -w % 4), (0, 0)), mode='edge') / 255
    mean = padded.reshape(b, -(-h // 4), 4, -(-w // 4), 4, c).mean((2, 4))
    mean = mean + jnp.pad(mean, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    return {'logits': mean.repeat(4, 1).repeat(4, 2)[:, :h, :w]}


def exact(forward, stride=1, tile=(32, 48), **options):
    return Exact(forward, Logits, options.pop('batch_size', 3),
                 types.SimpleNamespace(stride=stride, sweeps=(), scale=1.0, value_range=(0, 255)),
                 tile=tile, **options)


def whole(forward, variables, image):
    return Whole(forward, Logits, 1).probabilities(variables, image)


@pytest.mark.parametrize('stride, tile', [(1, 9), (4, 16), (8, 32)])
@pytest.mark.parametrize('reach', [(0, 0), (2, 1), (0, 3), (5, 3)])
def test_what_is_kept_of_tiles_is_the_image_without_what_borders_reach(stride, tile, reach):
    for side in range(1, 90):
        found, padded = spans(side, tile, Reach(*reach), stride), -(-side // stride) * stride
        assert [row for span in found for row in range(span.first, span.last)] == list(range(side))
        for span in found:
            end = span.start + min(tile, padded)
            assert span.start % stride == 0 and 0 <= span.start <= span.first and end <= padded
            assert span.start == 0 or span.first >= span.start + reach[0]
            assert end == padded or span.last <= end - reach[1]
    if reach == (0, 0):
        assert len(spans(3 * tile, tile, Reach(0, 0), stride)) == 3


@pytest.mark.parametrize('down, right, rows, columns', [
    (3, 0, (3, 0), (0, 0)), (-2, 5, (0, 2), (5, 0)), (0, -4, (0, 0), (0, 4))])
def test_nan_finds_how_far_pixels_reach(down, right, rows, columns):
    marks = marked((20, 30, 3), 4)
    found = np.isnan(moved(None, marks * 255, down, right)['logits']).any(-1)
    assert reach_of(found, 4) == (rows, columns)


UP = functools.partial(moved, down=-7)
DOWN_AND_LEFT = functools.partial(moved, down=3, right=-5)


@pytest.mark.parametrize('forward, stride, size', [
    (DOWN_AND_LEFT, 1, SIZE), (UP, 1, SIZE), (UP, 1, (101, 30)), (blocks, 4, SIZE),
    (blocks, 4, (20, 131)), (blocks, 4, (9, 11)), (blocks, 4, (33, 49))])
def test_tiles_give_the_results_of_the_whole_image(forward, stride, size):
    image, = images(size)
    inference, in_one_piece = exact(forward, stride), Whole(forward, Logits, 1)
    np.testing.assert_array_equal(inference.probabilities({}, image),
                                  in_one_piece.probabilities({}, image))
    (_, expected), = in_one_piece.predictions({}, [(0, image)])
    (key, mask), = inference.predictions({}, [('key', image)])
    assert key == 'key' and mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)
    pieces = list(inference.rows({}, image))
    assert (len(pieces) > 1) == (size[0] > 32)
    np.testing.assert_array_equal(np.concatenate(pieces), mask)


def test_a_network_of_convolutions_is_equal_bit_for_bit():
    forward, variables = network('convolutional')
    image, = images(SIZE)
    inference, expected = exact(forward, 4, (48, 64)), whole(forward, variables, image)
    np.testing.assert_array_equal(inference.probabilities(variables, image), expected)
    assert len(np.unique(expected.argmax(-1))) == 3
    softmax = Exact(forward, TASK, 3, inference.pieces, tile=(48, 64)).probabilities(
        variables, image)
    np.testing.assert_allclose(softmax, Whole(forward, TASK, 1).probabilities(variables, image),
                               rtol=0, atol=2e-7)
    assert list(inference._found.values()) == [(Reach(11, 11), Reach(11, 11))]


def mean(variables, pixels):
    pixels = pixels.astype(jnp.float32)
    return {'logits': pixels + pixels.mean((1, 2), keepdims=True)}


def places(variables, pixels):
    rows = jnp.arange(pixels.shape[1])[None, :, None, None]
    return {'logits': pixels.astype(jnp.float32) * jnp.where(rows < 20, 1.0, -1.0)}


@pytest.mark.parametrize('forward, words', [
    (mean, ['inference.tile', 'global pooling', 'SlidingWindow', '32x48']),
    (functools.partial(moved, down=31), ['inference.tile', 'reach 31 and 0', 'larger tiles']),
    (functools.partial(moved, down=16, right=48), ['other probabilities']),
    (places, ['other probabilities than the whole', 'place in the image'])])
def test_a_model_that_tiles_cannot_equal_is_refused(forward, words):
    image, = images(SIZE)
    inference = exact(forward)
    for _ in range(2):  # the second time, too
        with pytest.raises(InputError) as error:
            inference.probabilities({}, image)
        assert all(word in str(error.value) for word in words) and '\n' not in str(error.value)
    # What fits into one tile is computed in one piece.
    small, = images((30, 40))
    np.testing.assert_array_equal(inference.probabilities({}, small), whole(forward, {}, small))


def test_a_model_is_refused_for_what_the_first_image_does_not_show():
    image, = images(SIZE)
    image[:60, :60] = 0  # the models give the same for it in every tile
    with pytest.raises(InputError, match='other probabilities than the whole'):
        exact(places).probabilities({}, image)
    # An image as wide as a tile is not cut across, and says nothing of those that are.
    inference = exact(functools.partial(moved, right=48))
    inference.probabilities({}, image[:, :48])
    with pytest.raises(InputError, match='other probabilities than the whole'):
        inference.probabilities({}, image)


def test_noise_is_the_same_at_every_call_and_fills_its_range():
    found = noise((37, 50, 3), (-1, 3), 4)
    np.testing.assert_array_equal(found, noise((37, 50, 3), (-1, 3), 4))
    assert found.shape == (37, 50, 3) and -1 <= found.min() < -0.5 and 2.5 < found.max() <= 3
    blocks = found[:36, :48].reshape(9, 4, 12, 4, 3).mean((1, 3))
    assert blocks.std() > 0.5  # 0.14 of single pixels


def test_tiles_are_multiples_of_the_stride_and_fit_into_memory(monkeypatch):
    with pytest.raises(InputError, match=r'\[50, 64\] are no multiples of the stride 32.*\[32, 64'):
        exact(blocks, 32, (50, 64))
    monkeypatch.setattr('jaxseg.inference.exact.available_bytes', lambda: 1000)
    with pytest.raises(InputError, match=r'inference.tile: .* of \(1, 32, 48, 3\) needs'):
        list(exact(blocks, 4).rows({}, next(images(SIZE))))


def test_tiles_fill_batches_of_one_shape_for_all_devices():
    shapes = set()

    def place(batch):
        shapes.add(batch.shape)
        return jnp.asarray(batch)

    inference = exact(blocks, 4, (16, 16), batch_size=3, place=place, devices=4)
    image, = images((40, 40))
    np.testing.assert_array_equal(inference.probabilities({}, image), whole(blocks, {}, image))
    # Besides the tiles: noise in one piece.
    assert {shape for shape in shapes if shape[1:3] == (16, 16)} == {(4, 16, 16, 3)}
    assert inference.windowed == ()
