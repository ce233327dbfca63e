"""The decoder of UPerNet; parity with other libraries is in test_parity.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.decoders.fcn import FCN
from jaxseg.decoders.upernet import UPerNet
from jaxseg.errors import InputError
from jaxseg.layers.stages import Stage

RESNET18 = {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}
RESNET50 = {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}
TINY = {4: 96, 8: 192, 16: 384, 32: 768}


def some_stages(channels, size=(64, 96), batch=2, dtype=np.float32):
    """Stages of pairs of stride and channels, or a dict of them."""
    pairs = channels.items() if isinstance(channels, dict) else channels
    return tuple(Stage(stride, np.zeros(
        (batch, size[0] // stride, size[1] // stride, width), dtype)) for stride, width in pairs)


def shapes(decoder, stages, train=False):
    return jax.eval_shape(
        lambda stages: decoder.init_with_output(jax.random.key(0), stages, train=train), stages)


def size_of(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))


# Of segmentation_models.pytorch 0.6, and of transformers 5.24 without the classifier of 150.
@pytest.mark.parametrize('decoder, channels, wanted', [
    (UPerNet(256, norm_stages=True), RESNET18, 8_314_752),
    (UPerNet(256, norm_stages=True), RESNET50, 13_776_384),
    (UPerNet(), TINY, 31_497_366 - 513 * 150),
    (FCN((256,), kernel=3, stage=2), TINY, 923_798 - 257 * 150)], ids=str)
def test_the_number_of_parameters_is_that_of_the_reference(decoder, channels, wanted):
    assert size_of(shapes(decoder, some_stages(channels))[1]) == wanted


def test_a_model_with_its_auxiliary_head_has_the_parameters_of_the_reference():
    model = build('model', dict(
        type='segmentation_model.SegmentationModel', head=dict(type='head.Head', kernel=1),
        encoder=dict(type='convnext.ConvNeXt', output_norm=True),
        decoder=dict(type='upernet.UPerNet'),
        auxiliary=dict(type='fcn.FCN', kernel=3, stage=2)), classes=150)
    assert size_of(jax.eval_shape(lambda: model.init(
        jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))) == 60_242_636


@pytest.mark.parametrize('strides', [(4, 8, 16, 32), (2, 4, 8, 8, 8), (1, 2, 4)], ids=str)
def test_the_result_has_stride_4_on_maps_of_any_size(strides):
    for size in ((32, 64), (96, 160)):
        given = some_stages([(stride, 5) for stride in strides], size)
        out, _ = shapes(UPerNet(6), given, train=True)
        assert out.shape == (2, size[0] // 4, size[1] // 4, 6)


def test_types():
    out, variables = shapes(UPerNet(6, norm_stages=True), some_stages(TINY, dtype=jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


def test_what_the_decoder_cannot_use_is_refused():
    for strides, message in (((16, 16), 'decoder: it needs stages of strides 4, 8, 16 and'),
                             ((4, 16), 'strides 4, 8, 16 and the encoder has .* 4, 16; use')):
        with pytest.raises(InputError, match=message):
            shapes(UPerNet(), some_stages([(stride, 4) for stride in strides]))
    with pytest.raises(InputError, match='decoder.bins: empty'):
        shapes(UPerNet(bins=()), some_stages(TINY))
    with pytest.raises(InputError, match='decoder.kernel: 2 is even; give an odd size'):
        shapes(FCN(kernel=2), some_stages(TINY))


def test_batch_norm_in_training_needs_two_images():
    def train(decoder, batch):
        given = some_stages({4: 3, 8: 3}, batch=batch)
        _, variables = shapes(decoder, given)
        out, _ = jax.eval_shape(lambda variables: decoder.apply(
            variables, given, train=True, mutable=['batch_stats']), variables)
        return out.shape[0]

    assert (train(UPerNet(4), 2), train(UPerNet(4, norm='group'), 1)) == (2, 1)
    with pytest.raises(InputError, match='norm bin1_norm: batch norm of one value a channel'):
        train(UPerNet(4), 1)
