"""Recurrent context in strips, on disk: equal to the layer and to the model in one piece."""

import functools
import shutil
import types

import jax
import numpy as np
import pytest

from jaxseg.commands.pieces import Pieces
from jaxseg.context.flattened_scan import FlattenedScan
from jaxseg.context.four_way_rnn import FourWayRNN
from jaxseg.context.renet import ReNet
from jaxseg.decoders.unet import UNet
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.errors import InputError
from jaxseg.inference.exact import Exact
from jaxseg.inference.sweeps import StoredMap, run_sweeps
from jaxseg.inference.whole import Whole
from jaxseg.models.segmentation_model import SegmentationModel
from tests.test_inference_exact import SIZE, Logits
from tests.test_inference_sizes import NORMALIZE, images
from tests.variables import random, random_variables, run


@pytest.mark.parametrize('layer', [
    ReNet(3, 'mingru', layers=2, patch=2), FlattenedScan(3, 'mingru', merge='residual'),
    FourWayRNN(3, 'gru', combine='concat', merge='gated', patch=2),
    FlattenedScan(3, 'gru', 'raster', transposed=False, patch=2)], ids=lambda x: type(x).__name__)
def test_a_layer_in_strips_gives_what_it_gives_for_the_whole_map(layer, tmp_path, monkeypatch):
    monkeypatch.setattr('jaxseg.inference.sweeps.POSITIONS', 50)
    x = random(1, 11, 13, 4)
    variables = random_variables(layer, x, train=False)
    source = StoredMap(tmp_path / 'source', x.shape[1:], x.dtype)
    source[:] = x[0]
    strips = []

    @functools.partial(jax.jit, static_argnums=0)
    def sweep(index, maps, state):
        return layer.apply(variables, index, maps, state, method='sweep')

    def counted(index, maps, state):
        strips.append((index, *maps[0].shape[1:3]))
        return sweep(index, maps, state)

    found = run_sweeps(layer.sweeps, source, counted)
    np.testing.assert_allclose(found[:], run(layer, variables, x)[0], rtol=1e-5, atol=1e-6)
    assert len(strips) >= 3 * len(layer.sweeps)  # several strips a sweep
    assert list(tmp_path.iterdir()) == [found.path]  # what no sweep reads any more is deleted


def test_a_map_that_the_disk_cannot_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: types.SimpleNamespace(free=47))
    with pytest.raises(InputError, match=f'4.47e-08 GiB on disk, and {tmp_path} has .* TMPDIR'):
        StoredMap(tmp_path / 'a', (2, 3, 2), np.float32)
    assert not list(tmp_path.iterdir())
    StoredMap(tmp_path / 'a', (2, 3, 2), np.float16)


def model(context=(), **fields):
    """The model, `forward` and `Pieces`, and random variables."""
    made = SegmentationModel(VGGLike((4, 4), depth=1), UNet((4, 4)), 3, context, **fields)
    variables = random_variables(made, np.zeros((1, 16, 16, 3), np.float32), train=False)

    def forward(variables, pixels):
        return made.apply(variables, NORMALIZE({'image': pixels}, None)['image'], train=False)

    return forward, Pieces(made, NORMALIZE, (0, 255)), variables


def test_a_model_with_recurrent_context_is_equal_bit_for_bit(monkeypatch):
    monkeypatch.setattr('jaxseg.inference.sweeps.POSITIONS', 200)
    forward, pieces, variables = model(FlattenedScan(4))
    image, = images(SIZE)
    whole = Whole(forward, Logits, 1).probabilities(variables, image)
    inference = Exact(forward, Logits, 3, pieces, tile=(48, 64))
    np.testing.assert_array_equal(inference.probabilities(variables, image), whole)
    # The recurrence matters: the upper left corner depends on what is below all its neighbours.
    image[60:] = 255 - image[60:]
    changed = Whole(forward, Logits, 1).probabilities(variables, image)
    assert (whole[0, 0] != changed[0, 0]).any()


def test_a_layer_without_sweeps_beside_a_recurrence_is_refused():
    class Copy(ReNet):
        sweeps = None

    forward, pieces, variables = model((ReNet(2, 'mingru'), Copy(2, 'mingru')))
    assert pieces.sweeps == ()
    with pytest.raises(InputError, match='inference.tile: pixels reach'):
        Exact(forward, Logits, 1, pieces, tile=(32, 32)).probabilities(variables,
                                                                       next(images((50, 40))))


def test_tiles_of_a_model_that_downsamples_images_begin_at_multiples_of_its_stride_in_them():
    forward, pieces, variables = model(input_scale=0.5)
    assert pieces.stride == 8
    inference, (image,) = Exact(forward, Logits, 3, pieces, tile=(96, 128)), images((136, 264))
    np.testing.assert_allclose(inference.probabilities(variables, image),
                               Whole(forward, Logits, 1).probabilities(variables, image),
                               rtol=0, atol=1e-4)
    for size in (SIZE, (136, 262), (20, 30)):
        with pytest.raises(InputError, match=f'{size[0]}x{size[1]} is resized by another factor'):
            inference.probabilities(variables, next(images(size)))
    forward, pieces, _ = model(input_scale=0.75)
    with pytest.raises(InputError, match='stride 4 of the encoder is 5.333 pixels'):
        Exact(forward, Logits, 3, pieces, tile=(96, 128))
