"""The decoder of SegFormer; parity with other libraries is in test_parity.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.decoders.segformer import SegFormer, _Fuse
from jaxseg.encoders.mit import MiT
from jaxseg.errors import InputError
from jaxseg.layers.resize import upsample_bilinear
from jaxseg.layers.stages import Stage

RESNET18 = {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}
RESNET50 = {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}
MIT_B0 = {4: 32, 8: 64, 16: 160, 32: 256}
MIT_B2 = {4: 64, 8: 128, 16: 320, 32: 512}


def stages(channels, size=(64, 96)):
    """Random stages of pairs of stride and channels, or a dict of them."""
    rng, pairs = np.random.default_rng(0), channels
    if isinstance(channels, dict):
        pairs = channels.items()
    return tuple(Stage(stride, rng.normal(
        size=(2, size[0] // stride, size[1] // stride, width)).astype(np.float32))
        for stride, width in pairs)


def shapes(decoder, stages, train=False):
    return jax.eval_shape(
        lambda stages: decoder.init_with_output(jax.random.key(0), stages, train=train), stages)


# Of segmentation_models.pytorch 0.6, and of transformers 5.24 without the classifier.
@pytest.mark.parametrize('channels, features, wanted', [
    (RESNET18, 256, 591_616), (RESNET50, 256, 1_328_896), (MIT_B0, 256, 394_752),
    (MIT_B2, 256, 525_824), (MIT_B2, 768, 3_265_686 - 769 * 150)])
def test_the_number_of_parameters_is_that_of_the_reference(channels, features, wanted):
    params = shapes(SegFormer(features), stages(channels))[1]['params']
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == wanted


def test_the_model_has_the_published_number_of_parameters():
    model = build('model', dict(
        type='segmentation_model.SegmentationModel', encoder=dict(type='mit.MiT'),
        decoder=dict(type='segformer.SegFormer'), head=dict(type='head.Head', kernel=1)),
        classes=150)
    assert isinstance(model.encoder, MiT)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)),
                                                  train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == 3_752_694


@pytest.mark.parametrize('strides, stride, used', [
    ((1, 2, 4, 8), 4, 3), ((4, 8, 8, 8), 4, 4), ((16,) * 4, 16, 4), ((2,), 4, 1)], ids=str)
def test_the_result_has_stride_4_or_that_of_the_finest_stage(strides, stride, used):
    given = stages([(stride, 5) for stride in strides], (96, 160))
    out, variables = shapes(SegFormer(6), given, train=True)
    assert out.shape == (2, 96 // stride, 160 // stride, 6)
    assert sum(name.startswith('linear') for name in variables['params']) == used


def test_one_convolution_for_each_stage_is_one_of_all_resized_and_concatenated():
    given = stages({16: 5, 8: 3, 4: 2})
    fuse = _Fuse(7)
    variables = fuse.init(jax.random.key(0), given)
    resized = [upsample_bilinear(stage.features, stage.stride // 4) for stage in given]
    wanted = jnp.concatenate(resized, -1) @ variables['params']['kernel'][0, 0]
    np.testing.assert_allclose(fuse.apply(variables, given), wanted, atol=1e-5)


def test_types():
    given = tuple(stage.replace(features=stage.features.astype(jnp.bfloat16))
                  for stage in stages(MIT_B0))
    out, variables = shapes(SegFormer(6), given)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


def test_an_encoder_without_deeper_stages_is_refused():
    with pytest.raises(InputError, match='decoder: it needs stages of stride 2 .* strides 1; use'):
        shapes(SegFormer(), stages({1: 4}))
