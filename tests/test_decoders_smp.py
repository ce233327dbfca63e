"""Decoders of segmentation_models.pytorch: parameters, strides, small maps and refusals."""

import jax
import numpy as np
import pytest

from jaxseg.decoders.unet import UNet
from jaxseg.layers.stages import Stage
from jaxseg.pretrained import smp
from jaxseg.pretrained.names import places_of, prefixed
from tests.references import parity

RESNET18 = {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}
RESNET50 = {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}
NO_STRIDE_2 = {4: 96, 8: 192, 16: 384, 32: 768}

# Of models of segmentation_models.pytorch 0.6 over resnet18 and resnet50, without tensors that it
# does not use: attention to the skip connection of the last step, which has none.
PARAMETERS = {
    'Unet': (UNet(), 3_151_552, 9_012_928),
    'Unet scse': (UNet(attention='scse'), 3_265_543 - 195, 10_307_899 - 195),
}


def stages(channels: dict[int, int], height: int = 64, width: int = 96) -> tuple[Stage, ...]:
    """Of an image, one for every stride."""
    return tuple(Stage(stride, np.zeros((2, -(-height // stride), -(-width // stride), features),
                                        np.float32)) for stride, features in channels.items())


def shapes(decoder, stages, train=False):
    keys = {'params': jax.random.key(0), 'dropout': jax.random.key(0)}
    return jax.eval_shape(lambda stages: decoder.init_with_output(keys, stages, train=train),
                          stages)


@pytest.mark.parametrize('name', PARAMETERS)
def test_a_decoder_has_the_parameters_of_smps(name):
    decoder, over_resnet18, over_resnet50 = PARAMETERS[name]
    for channels, wanted in ((RESNET18, over_resnet18), (RESNET50, over_resnet50)):
        params = shapes(decoder, stages(channels))[1]['params']
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == wanted


def test_attention_of_a_unet_stands_where_smps_does():
    # A stage that is missing at stride 2 counts as one of no channels.
    params = shapes(UNet(attention='scse'), stages(NO_STRIDE_2))[1]['params']
    found = {name for name in params if name.endswith('attention0')}
    assert found == {f'up{stride}_attention0' for stride in (16, 8, 4, 2)}
    assert params['up2_attention0']['position']['kernel'].shape == (1, 1, 64, 1)


# Tables.

def test_encoders_of_whole_models_keep_the_places_of_their_own_tables():
    # The rules of all encoders stand one after the other: none may take a name of another.
    sources = {f'{source.__module__.rpartition(".")[2]}.{source.__name__}': source
               for source in smp.ENCODERS}
    records = [record for record in map(parity.load, parity.NAMES) if record['source'] in sources]
    assert 'torchvision.ResNet' in {record['source'] for record in records}
    for record in records:
        own = prefixed(sources[record['source']].rules, 'encoder.', 'encoder/')
        for name in record['tensors']:
            name = f'encoder.{name}'
            assert places_of(name, smp.ENCODER) == places_of(name, own), name
