"""MobileNets: numbers of parameters, stages, dtypes, names of torchvision's small one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxseg.build import build
from jaxseg.encoders.mobilenet import MobileNetV2, MobileNetV3
from jaxseg.errors import InputError
from jaxseg.layers import inverted_residual
from jaxseg.layers.dropout import DropPath
from jaxseg.pretrained import torchvision
from jaxseg.pretrained.names import name_of
from tests.selection import as_trials


def shapes(encoder, channels=3, dtype='float32'):
    images = jax.ShapeDtypeStruct((2, 64, 96, channels), dtype)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=True),
                          images)


# Of timm's models without what follows the last stage.
@pytest.mark.parametrize('encoder, parameters, channels', [
    (MobileNetV2(0.35), 250_208, [8, 8, 16, 32, 112]),
    (MobileNetV2(), 1_811_712, [16, 24, 32, 96, 320]),
    (MobileNetV3('large'), 2_971_952, [16, 24, 40, 112, 960]),
    (MobileNetV3('small', 0.75), 573_480, [16, 16, 24, 40, 432]), *as_trials(
        (MobileNetV2(0.5), 480_320, [8, 16, 16, 48, 160]),
        (MobileNetV2(0.75), 1_045_664, [16, 24, 24, 72, 240]),
        (MobileNetV2(1.4), 3_509_376, [24, 32, 48, 136, 448]),
        (MobileNetV3('large', 0.75), 1_789_648, [16, 24, 32, 88, 720]),
        (MobileNetV3('small', 0.5), 272_288, [16, 8, 16, 24, 288]),
        (MobileNetV3('small'), 927_008, [16, 16, 24, 48, 576]))])
def test_every_width_has_the_number_of_parameters_of_its_reference(encoder, parameters, channels):
    stages, variables = shapes(encoder)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == parameters
    assert [(stage.stride, stage.features.shape) for stage in stages] == [
        (stride, (2, 64 // stride, 96 // stride, width))
        for stride, width in zip((2, 4, 8, 16, 32), channels, strict=True)]


@pytest.mark.parametrize('encoder', [MobileNetV2, MobileNetV3])
@pytest.mark.parametrize('output_stride, strides', [(8, [2, 4, 8, 8, 8]), (16, [2, 4, 8, 16, 16])])
def test_the_last_stages_stay_at_the_output_stride(encoder, output_stride, strides):
    encoder = encoder(output_stride=output_stride)
    stages, _ = shapes(encoder)
    assert encoder.stride == output_stride
    assert [(stage.stride, stage.features.shape[1]) for stage in stages] == [
        (stride, 64 // stride) for stride in strides]


def test_images_of_other_channels_in_bfloat16_give_stages_in_bfloat16():
    stages, variables = shapes(MobileNetV3('small'), channels=4, dtype='bfloat16')
    assert {stage.features.dtype for stage in stages} == {jnp.dtype('bfloat16')}
    assert variables['params']['stem_conv']['kernel'].shape == (3, 3, 4, 16)


def test_stochastic_depth_grows_to_the_last_block(monkeypatch):
    rates = []
    monkeypatch.setattr(inverted_residual, 'DropPath',
                        lambda rate: rates.append(rate) or DropPath(rate))
    shapes(MobileNetV3('small', drop_path=0.5))
    residual = [2, 4, 5, 7, 9, 10]  # of 11 blocks, those of equal input and output
    np.testing.assert_allclose(rates, [0.5 * index / 10 for index in residual])


def test_every_variable_of_the_small_one_has_a_name_in_torchvisions():
    _, variables = shapes(MobileNetV3('small'))
    names = [name_of(place, torchvision.MobileNetV3Small.rules)[0]
             for place in flatten_dict(variables, sep='/')]
    assert len(set(names)) == len(names) == 206
    assert {'features.1.block.1.fc1.bias', 'features.1.block.2.1.running_var',
            'features.4.block.3.0.weight', 'features.12.1.weight'} < set(names)


def test_an_unknown_variant_is_named():
    with pytest.raises(InputError, match="^encoder.variant: expected .*large, small, got 'tiny'"):
        build('encoder', {'type': 'mobilenet.MobileNetV3', 'variant': 'tiny'})
