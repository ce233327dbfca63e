"""Steps of a decoder that have a head and a loss of their own in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.context.ocr import OCR
from jaxseg.decoders.fcn import FCN
from jaxseg.decoders.linknet import LinkNet
from jaxseg.decoders.manet import MAnet
from jaxseg.decoders.unet import UNet
from jaxseg.decoders.unet_plus_plus import UNetPlusPlus
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.errors import InputError
from jaxseg.layers.head import Head
from jaxseg.layers.stages import Stage
from jaxseg.models.segmentation_model import SegmentationModel
from tests.variables import random, random_variables

CLASSES = 5
RESNET = ((2, 4), (4, 5), (8, 6), (16, 7), (32, 8))


def some_stages(strides_and_channels) -> tuple[Stage, ...]:
    """Of a square image of 32 pixels."""
    return tuple(Stage(stride, random(2, 32 // stride, 32 // stride, channels, seed=index))
                 for index, (stride, channels) in enumerate(strides_and_channels))


def shapes(decoder, stages):
    return jax.eval_shape(
        lambda stages: decoder.init_with_output(jax.random.key(0), stages, train=True), stages)


def initial(model, train: bool):
    """The shapes of its variables."""
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=train),
                          jnp.zeros((1, 16, 16, 3)))


def test_a_step_of_the_decoder_has_the_logits_of_a_decoder_that_ends_there_in_training_only():
    decoder = UNet((6, 4), supervised_steps=1)
    longer = SegmentationModel(VGGLike((4, 8, 8), depth=1), decoder, CLASSES, OCR(8, CLASSES),
                               auxiliary=FCN((4,)))
    x = random(2, 13, 17, 3)
    variables = random_variables(longer, x, train=True)

    def outputs(model, variables, train=True):
        return jax.jit(lambda x: model.apply(variables, x, train=train,
                                             mutable=['auxiliary', 'batch_stats'])[0])(x)

    _, step, regions = outputs(longer, variables)['auxiliary']
    shorter = longer.clone(decoder=UNet((6,)), head=Head(CLASSES, 1))
    params = {**variables['params'], 'head': variables['params']['auxiliary']['heads_1']}
    expected = outputs(shorter, {**variables, 'params': params})
    np.testing.assert_allclose(step, expected['logits'], atol=1e-5)
    np.testing.assert_allclose(regions, expected['auxiliary'][1], atol=1e-5)
    assert set(outputs(longer, variables, train=False)) == {'logits'}
    one, other = (jax.tree.map(jnp.shape, initial(longer, train)['params'])
                  for train in (True, False))
    assert one == other
    with pytest.raises(InputError, match='model.auxiliary: .* supervised_steps'):
        initial(longer.clone(auxiliary=UNet((6, 4), supervised_steps=1)), True)


@pytest.mark.parametrize('decoder, expected', [
    (UNet((9, 8, 7), supervised_steps=2), [(8, 8), (16, 9)]),
    (MAnet((9, 8, 7), supervised_steps=2), [(8, 8), (16, 9)]),
    (LinkNet(9, supervised_steps=3), [(2, 4), (4, 5), (8, 6)]),
    # At stride 2, where the first stage is.
    (UNetPlusPlus((9, 8, 7, 6, 5), supervised_nodes=3), [(2, 4)] * 3)])
def test_steps_before_the_last_are_supervised_from_the_last_on(decoder, expected):
    stages = some_stages(RESNET)
    _, variables = shapes(decoder, stages)
    maps, = variables['auxiliary']['steps']
    assert [(32 // x.shape[1], x.shape[3]) for x in maps] == expected
    field = next(name for name in ('supervised_steps', 'supervised_nodes')
                 if hasattr(decoder, name))
    most = {UNet: 2, MAnet: 2, LinkNet: 4, UNetPlusPlus: 3}[type(decoder)]
    with pytest.raises(InputError, match=f'decoder.{field}: 9 .* give at most {most}'):
        shapes(decoder.clone(**{field: 9}), stages)
    assert 'auxiliary' not in shapes(decoder.clone(**{field: 0}), stages)[1]


def test_a_supervised_node_of_a_unet_plus_plus_is_the_result_of_a_path_of_one_stage_less():
    stages = some_stages(((2, 4), (4, 5), (8, 6)))
    decoder = UNetPlusPlus((3, 3), supervised_nodes=1)
    variables = random_variables(decoder, stages, train=False)

    @jax.jit
    def node(stages):
        return decoder.apply(variables, stages, train=True, mutable=True)[1]['auxiliary']['steps']

    (plain,), = node(stages)
    for index, used in ((0, True), (1, True), (2, False)):
        shifted = stages[index].replace(features=random(*stages[index].features.shape, seed=9))
        (changed,), = node((*stages[:index], shifted, *stages[index + 1:]))
        assert (float(jnp.abs(changed - plain).max()) > 1e-4) == used
