"""Decoders of segmentation_models.pytorch: parameters, strides, small maps and refusals."""

import jax
import numpy as np
import pytest

from jaxseg.decoders.deeplab import DeepLabV3, DeepLabV3Plus
from jaxseg.decoders.fpn import FPN
from jaxseg.decoders.linknet import LinkNet
from jaxseg.decoders.manet import MAnet
from jaxseg.decoders.pan import PAN
from jaxseg.decoders.pspnet import PSPNet
from jaxseg.decoders.unet import UNet
from jaxseg.decoders.unet_plus_plus import UNetPlusPlus
from jaxseg.errors import InputError
from jaxseg.layers.stages import Stage
from jaxseg.pretrained import smp
from jaxseg.pretrained.names import name_of, places_of, prefixed
from tests.references import parity
from tests.selection import default_cases

RESNET18 = {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}
RESNET50 = {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}
NO_STRIDE_2 = {4: 96, 8: 192, 16: 384, 32: 768}

# Of models of segmentation_models.pytorch 0.6 over resnet18 and resnet50, without tensors that it
# does not use: attention to the skip connection of the last step, which has none.
PARAMETERS = {
    'Unet': (UNet(), 3_151_552, 9_012_928),
    'Unet scse': (UNet(attention='scse'), 3_265_543 - 195, 10_307_899 - 195),
    'PSPNet': (PSPNet(), 148_704, 788_352),
    'LinkNet': (LinkNet(), 487_232, 7_669_712),
    'MAnet': (MAnet(), 10_498_816, 123_931_816),
    'PAN': (PAN(), 190_855, 751_495),
    'UNetPlusPlus': (UNetPlusPlus(), 4_793_792, 25_477_568),
    'UNetPlusPlus scse': (UNetPlusPlus(attention='scse'), 4_996_515 - 195, 27_617_271 - 195),
    'FPN': (FPN(), 1_870_592, 2_607_872),
    'DeepLabV3': (DeepLabV3(), 4_722_176, 16_125_440),
    'DeepLabV3 separable': (DeepLabV3(separable=True), 1_590_272, 3_597_824),
    'DeepLabV3Plus': (DeepLabV3Plus(), 1_152_528, 3_169_296),
    'DeepLabV3Plus full': (DeepLabV3Plus(separable=False), 4_284_432, 15_696_912),
}


def stages(channels: dict[int, int]) -> tuple[Stage, ...]:
    return tuple(stage for stride, features in channels.items()
                 for stage in some_stages((stride,), 64, 96, features))


def some_stages(strides: tuple[int, ...], height: int = 64, width: int = 96, channels: int = 4
                ) -> tuple[Stage, ...]:
    return tuple(Stage(stride, np.zeros((2, height // stride, width // stride, channels),
                                        np.float32)) for stride in strides)


def shapes(decoder, stages, train=False):
    keys = {'params': jax.random.key(0), 'dropout': jax.random.key(0)}
    return jax.eval_shape(lambda stages: decoder.init_with_output(keys, stages, train=train),
                          stages)


@pytest.mark.parametrize('encoder', default_cases(('resnet18', 'resnet50'), ('resnet50',)))
@pytest.mark.parametrize('name', PARAMETERS)
def test_a_decoder_has_the_parameters_of_smps(name, encoder):
    decoder, over_resnet18, over_resnet50 = PARAMETERS[name]
    channels, wanted = {'resnet18': (RESNET18, over_resnet18),
                        'resnet50': (RESNET50, over_resnet50)}[encoder]
    params = shapes(decoder, stages(channels))[1]['params']
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == wanted


# Decoder, strides of the encoder's stages, and the stride and channels of the result.
@pytest.mark.parametrize('decoder, strides, stride, features', [
    (FPN(8, 6), (4, 8, 16, 32), 4, 6), (FPN(8, 6, 'concatenate'), (2, 4, 8, 8), 4, 12),
    (FPN(8, 6), (2, 4), 4, 6), (DeepLabV3(6), (16, 16), 16, 6), (DeepLabV3(6), (2, 32), 32, 6),
    (DeepLabV3Plus(6), (4, 8, 16, 32), 4, 6), (DeepLabV3Plus(6), (2, 4), 4, 6),
    (PSPNet(6), (2, 4, 8, 16, 32), 8, 6), (PSPNet(6, stride=32), (32,), 32, 6),
    (LinkNet(6), (1, 2, 4, 8, 16, 32), 1, 6), (LinkNet(6), (4, 8, 8), 1, 6),
    (LinkNet(6), (16, 16), 1, 6),
    (MAnet((9, 8, 7, 6, 5)), (4, 8, 16, 32), 1, 5), (MAnet((6,)), (8, 8), 4, 6),
    (PAN(6), (2, 4, 8, 16, 32), 4, 6), (PAN(6), (16, 16, 16), 16, 6), (PAN(6), (2, 8), 8, 6),
    (UNetPlusPlus((9, 8, 7)), (2, 8, 16, 32), 4, 7), (UNetPlusPlus((6,)), (8, 8), 4, 6)],
    ids=str)
def test_a_decoder_ends_at_its_stride(decoder, strides, stride, features):
    out, _ = shapes(decoder, some_stages(strides, 64, 32), train=True)
    assert out.shape == (2, 64 // stride, 32 // stride, features)


@pytest.mark.parametrize('decoder', [
    UNet((6,), attention='scse'), UNetPlusPlus((6,)), FPN(6, 6), DeepLabV3(6), DeepLabV3Plus(6),
    PSPNet(6), LinkNet(6), MAnet((6,)), PAN(6)], ids=lambda decoder: type(decoder).__name__)
def test_a_decoder_computes_in_the_dtype_of_the_stages_on_maps_of_one_pixel(decoder):
    half = jax.tree.map(lambda x: x.astype('bfloat16'), some_stages((4, 8, 16, 32), 32, 32))
    out, variables = shapes(decoder, half, train=True)
    assert out.dtype == 'bfloat16'
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {'float32'}


@pytest.mark.parametrize('decoder, strides, message', [
    (FPN(), (16, 16), 'decoder: it needs stages of strides 4, 8, 16 and .* strides 16, 16; use'),
    (FPN(), (2, 4, 16), 'strides 4, 8, 16 and .* strides 2, 4, 16;'),
    (FPN(), (2,), 'strides 4 and .* strides 2;'),
    (DeepLabV3Plus(), (2, 8), 'decoder: it needs a stage of stride 4 and .* strides 2, 8; use'),
    (PSPNet(), (16, 16), 'decoder.stride: it needs a stage of stride 8 and .* strides 16, 16;'),
    (UNetPlusPlus(), (4,), 'decoder.widths: 5 widths .* of stride 4; give at most 2'),
    (MAnet(), (4, 8), 'decoder.widths: 5 widths .* of stride 8; give at most 3')],
    ids=str)
def test_a_decoder_names_the_stages_that_it_lacks(decoder, strides, message):
    with pytest.raises(InputError, match=message):
        shapes(decoder, some_stages(strides))


def test_pspnet_reads_the_deepest_stage_of_its_stride():
    dilated = (*some_stages((2, 4, 8)), *some_stages((8,), channels=12))
    params = shapes(PSPNet(6), dilated)[1]['params']
    assert params['bin3_conv']['kernel'].shape == (1, 1, 12, 3)


@pytest.mark.parametrize('strides, counts', [
    ((2, 4, 8, 16, 32), (1, 2, 3, 4, 1)), ((4, 8, 16, 32), (1, 2, 3, 1, 1)),
    ((4, 16, 32), (1, 1, 1, 1, 1))])
def test_nodes_of_a_unet_plus_plus_need_a_stage_at_their_step(strides, counts):
    params = shapes(UNetPlusPlus((9, 8, 7, 6, 5)), some_stages(strides))[1]['params']
    assert {name for name in params if name.endswith('conv0')} == {
        f'up{stride}_node{number}_conv0'
        for stride, count in zip((16, 8, 4, 2, 1), counts, strict=True) for number in range(count)}


def test_attention_of_a_unet_stands_where_smps_does():
    # A stage that is missing at stride 2 counts as one of no channels.
    params = shapes(UNet(attention='scse'), stages(NO_STRIDE_2))[1]['params']
    found = {name for name in params if name.endswith('attention0')}
    assert found == {f'up{stride}_attention0' for stride in (16, 8, 4, 2)}
    assert params['up2_attention0']['position']['kernel'].shape == (1, 1, 64, 1)


# Tables.

def test_encoders_of_whole_models_share_no_name_and_no_place():
    # The rules of all encoders stand one after the other, when weights are read and written.
    sources = {f'{source.__module__.rpartition(".")[2]}.{source.__name__}': source
               for source in smp.ENCODERS}
    names = {record['source']: [f'encoder.{name}' for name in record['tensors']]
             for record in map(parity.load, parity.NAMES) if record['source'] in sources}
    names['efficientnet_pytorch.EfficientNet'] = [
        name for name in parity.load('smp_unet_efficientnet')['tensors']
        if name.startswith('encoder.')]
    assert names.keys() == sources.keys()
    for source, found in names.items():
        own = prefixed(sources[source].rules, 'encoder.', 'encoder/')
        for name in found:
            places = places_of(name, own)
            assert places == places_of(name, smp.ENCODER), name
            assert [name_of(place, own) for place in places] == [
                name_of(place, smp.ENCODER) for place in places], name


def test_names_of_deeplabv3_before_its_decoder_had_any_lead_to_the_same_places():
    record, places = parity.load('smp_deeplabv3'), set()
    for name in record['tensors']:
        old = name
        for number, part in enumerate(('aspp', 'conv', 'bn')):
            old = old.replace(f'decoder.{part}.', f'decoder.{number}.')
        found = places_of(old, smp.DeepLabV3.rules)
        assert found == places_of(name, smp.DeepLabV3.rules)
        places |= {place for place in found if place.split('/')[1] == 'decoder'}
    assert len(places) == 7 * 5  # seven convolutions with norm
