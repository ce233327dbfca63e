"""EfficientNetV2: parameters of every size, strides, dilation, rates of stochastic depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.encoders import efficientnet_v2
from jaxseg.encoders.efficientnet_v2 import EfficientNetV2
from jaxseg.errors import InputError
from jaxseg.layers import inverted_residual
from jaxseg.layers.dropout import DropPath
from jaxseg.pretrained import timm_efficientnet
from jaxseg.pretrained.names import places_of
from tests.selection import default_cases

# Of timm's models without the convolution and the classifier after the last stage.
PARAMETERS = {'b0': 5_610_384, 'b1': 6_611_732, 'b2': 8_391_406, 'b3': 12_461_982,
              's': 19_847_248, 'm': 52_200_436, 'l': 116_412_512, 'xl': 206_017_048,
              'rw_s': 21_657_288}
CHANNELS = {'b0': (16, 32, 48, 112, 192), 'b1': (16, 32, 48, 112, 192),
            'b2': (16, 32, 56, 120, 208), 'b3': (16, 40, 56, 136, 232),
            's': (24, 48, 64, 160, 256), 'm': (24, 48, 80, 176, 512), 'l': (32, 64, 96, 224, 640),
            'xl': (32, 64, 96, 256, 640), 'rw_s': (24, 48, 64, 160, 272)}


def shapes(encoder, channels=3, train=False, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct((2, 64, 96, channels), dtype)
    rngs = {'params': jax.random.key(0), 'drop_path': jax.random.key(1)}
    return jax.eval_shape(lambda x: encoder.init_with_output(rngs, x, train=train), images)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('variant', default_cases(PARAMETERS, ('b0', 'rw_s')))
def test_every_size_has_the_parameters_and_channels_of_timms(variant):
    stages, variables = shapes(EfficientNetV2(variant))
    assert count(variables['params']) == PARAMETERS[variant]
    assert [stage.features.shape for stage in stages] == [
        (2, 64 // stride, 96 // stride, width)
        for stride, width in zip((2, 4, 8, 16, 32), CHANNELS[variant], strict=True)]


@pytest.mark.parametrize('output_stride, strides', [(16, [2, 4, 8, 16, 16]), (8, [2, 4, 8, 8, 8])])
def test_later_groups_dilate_at_the_output_stride(output_stride, strides):
    encoder = EfficientNetV2('b0', output_stride)
    stages, variables = shapes(encoder, 5, dtype=jnp.bfloat16)
    assert [stage.stride for stage in stages] == strides and encoder.stride == output_stride
    assert [stage.features.shape[2] for stage in stages] == [96 // stride for stride in strides]
    assert all(stage.features.dtype == jnp.bfloat16 for stage in stages)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    # Nothing but the stem depends on the channels of the images, and nothing on the stride.
    assert count(variables['params']) == PARAMETERS['b0'] + 3 * 3 * 2 * 32


def test_stochastic_depth_grows_with_the_blocks(monkeypatch):
    rates = []
    for module in (efficientnet_v2, inverted_residual):
        monkeypatch.setattr(module, 'DropPath', lambda rate: rates.append(rate) or DropPath(rate))
    shapes(EfficientNetV2('b0', drop_path=0.6), train=True)
    residual = [2, 4, 6, 7, *range(9, 13), *range(14, 21)]  # of 21, with as many channels out as in
    np.testing.assert_allclose(rates, [0.6 * index / 21 for index in residual])


@pytest.mark.parametrize('table, groups', [
    (timm_efficientnet.EfficientNetB0, (1, 2, 2, 3, 3, 4, 1)),
    (timm_efficientnet.EfficientNetB5, (3, 5, 5, 7, 7, 9, 3)),
    (timm_efficientnet.EfficientNetLite4, (1, 4, 4, 6, 6, 8, 1))])
def test_blocks_of_the_first_version_are_numbered_through_all_groups(table, groups):
    names = [f'blocks.{group}.{place}.conv_dw.weight' for group, count in enumerate(groups)
             for place in range(count)]
    places = [places_of(name, table.rules) for name in names]
    assert places == [(f'params/block{index}/depthwise_conv/kernel',)
                      for index in range(sum(groups))]
    assert not places_of('blocks.6.7.conv_dw.weight', table.rules)


@pytest.mark.parametrize('fields, words', [
    ({'variant': 'b4'}, 'encoder.variant: .*b3'), ({'output_stride': 4}, 'encoder.output_stride'),
    ({'padding': 'valid'}, 'encoder.padding'), ({'drop_path': 1.0}, 'encoder.drop_path')])
def test_wrong_fields_are_named(fields, words):
    with pytest.raises(InputError, match=words):
        build('encoder', {'type': 'efficientnet_v2.EfficientNetV2', **fields})


@pytest.mark.parametrize('name, mean, std', [
    *((name, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
      for name in ('B0', 'B7', 'V2', 'V2RW')),
    *((name, (0.5,) * 3, (0.5,) * 3) for name in ('Lite0', 'Lite4', 'V2Large'))])
def test_inputs_are_those_of_timms_recipes(name, mean, std):
    source = getattr(timm_efficientnet, f'EfficientNet{name}')
    assert (source.mean, source.std) == (mean, std)
