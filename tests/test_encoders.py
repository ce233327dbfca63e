"""Encoders: strides, sizes, parameter counts and names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxseg.build import build
from jaxseg.encoders.resnet import ResNet
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.errors import InputError
from jaxseg.layers import conv
from tests.selection import as_trials
from tests.variables import random


def shapes(encoder, height: int = 64, width: int = 96, channels: int = 3):
    """Shapes of the stages and of the variables, without computing."""
    images = jax.ShapeDtypeStruct((2, height, width, channels), jnp.float32)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=True),
                          images)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('depth, parameters', [
    (34, 21_284_672),
    *as_trials((18, 11_176_512), (101, 42_500_160), (152, 58_143_808))])
def test_a_resnet_has_the_parameters_of_torchvisions(depth, parameters):
    _, variables = shapes(ResNet(depth))
    assert count(variables['params']) == parameters


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('output_stride, strides',
                         [(32, [2, 4, 8, 16, 32]), (16, [2, 4, 8, 16, 16]), (8, [2, 4, 8, 8, 8])])
def test_a_resnet_stops_at_its_output_stride(depth, output_stride, strides):
    encoder = ResNet(depth, output_stride=output_stride)
    stages, variables = shapes(encoder)
    assert [stage.stride for stage in stages] == strides and encoder.stride == output_stride
    for stage in stages:
        assert stage.features.shape[:3] == (2, 64 // stage.stride, 96 // stage.stride)
    expansion = 1 if depth == 18 else 4
    channels = [stage.features.shape[-1] for stage in stages]
    assert channels == [64, *(64 * expansion * factor for factor in (1, 2, 4, 8))]
    # Dilation changes no parameter: the same weights load at every output stride.
    assert count(variables['params']) == (11_176_512 if depth == 18 else 23_508_032)


def test_the_first_block_of_a_dilated_stage_uses_the_dilation_of_the_stage_before(monkeypatch):
    seen = []
    original = conv.convolve

    def watch(x, kernel, *, strides, dilation, **options):
        if kernel.shape[0] == 3:
            seen.append((strides[0], dilation[0]))
        return original(x, kernel, strides=strides, dilation=dilation, **options)

    monkeypatch.setattr(conv, 'convolve', watch)
    shapes(ResNet(50, output_stride=8))
    # As torchvision with replace_stride_with_dilation=[False, True, True]; one 3x3 in each block.
    layers = (3 * [(1, 1)], [(2, 1)] + 3 * [(1, 1)], [(1, 1)] + 5 * [(1, 2)],
              [(1, 2)] + 2 * [(1, 4)])
    assert seen == sum(layers, [])


def test_a_resnet_block_names_its_parameters_as_torchvision_does():
    _, variables = shapes(ResNet(18))
    names = {'/'.join(path[:-1]) for path in flatten_dict(variables['params'])}
    assert names >= {'conv1', 'bn1/batch', 'layer1_0/conv1', 'layer1_0/bn2/batch',
                     'layer2_0/downsample_conv', 'layer2_0/downsample_bn/batch', 'layer4_1/conv2'}
    assert 'layer1_0/downsample_conv' not in names
    _, variables = shapes(ResNet(50))
    assert variables['params']['layer1_0']['downsample_conv']['kernel'].shape == (1, 1, 64, 256)
    assert variables['params']['layer4_2']['conv3']['kernel'].shape == (1, 1, 512, 2048)


def test_group_norm_and_width_are_fields_of_a_resnet():
    stages, variables = shapes(ResNet(18, width=16, norm='group'))
    assert 'batch_stats' not in variables
    assert [stage.features.shape[-1] for stage in stages] == [16, 16, 32, 64, 128]


@pytest.mark.parametrize('stem_stride', [1, 2, 4])
def test_a_vgg_like_encoder_gives_every_stage_before_its_pooling_and_the_last_pooled(stem_stride):
    encoder = VGGLike((4, 8, 16), depth=1, stem_stride=stem_stride)
    stages, _ = shapes(encoder)
    expected = [(stem_stride, 4), (2 * stem_stride, 8), (4 * stem_stride, 16),
                (8 * stem_stride, 16)]
    assert [(stage.stride, stage.features.shape[-1]) for stage in stages] == expected
    assert encoder.stride == 8 * stem_stride
    for stage in stages:
        assert stage.features.shape[:3] == (2, 64 // stage.stride, 96 // stage.stride)


def test_a_vgg_like_encoder_has_depth_convolutions_a_stage():
    _, variables = shapes(VGGLike((4, 8), depth=3), channels=5)
    weights = 9 * (5 * 4 + 2 * 4 * 4 + 4 * 8 + 2 * 8 * 8)
    assert count(variables['params']) == weights + 2 * 3 * (4 + 8)


def test_the_last_stage_of_a_vgg_like_encoder_is_the_maximum_of_two_by_two():
    encoder, x = VGGLike((3, 4), depth=1), random(1, 8, 12, 2)
    stages, _ = jax.jit(lambda x: encoder.init_with_output(jax.random.key(0), x, train=True))(x)
    before, last = (np.asarray(stage.features) for stage in stages[-2:])
    np.testing.assert_array_equal(last, before.reshape(1, 2, 2, 3, 2, 4).max((2, 4)))
    assert before.min() == 0


def test_an_encoder_without_a_stage_is_refused():
    with pytest.raises(InputError, match='encoder.widths'):
        shapes(VGGLike(()))


@pytest.mark.parametrize('entry, key', [
    (dict(type='resnet.ResNet', depth=20), 'encoder.depth'),
    (dict(type='resnet.ResNet', output_stride=4), 'encoder.output_stride'),
    (dict(type='resnet.ResNet', width=0), 'encoder.width'),
    (dict(type='vgg_like.VGGLike', stem_stride=3), 'encoder.stem_stride'),
    (dict(type='vgg_like.VGGLike', depth=0), 'encoder.depth'),
    (dict(type='vgg_like.VGGLike', widths=[4, -1]), 'encoder.widths'),
])
def test_a_field_outside_its_range_is_refused_by_name(entry, key):
    with pytest.raises(InputError, match=f'^{key}: '):
        build('encoder', entry)
