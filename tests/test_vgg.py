"""VGG: numbers of parameters, stages, dtypes."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.build import build
from jaxseg.encoders.vgg import VGG
from jaxseg.errors import InputError


def shapes(encoder, channels=3, dtype='float32'):
    images = jax.ShapeDtypeStruct((2, 64, 96, channels), dtype)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=True),
                          images)


# Of torchvision's `features`, without and with batch norm.
@pytest.mark.parametrize('depth, plain, normed', [
    (11, 9_220_480, 9_225_984), (13, 9_404_992, 9_410_880),
    (16, 14_714_688, 14_723_136), (19, 20_024_384, 20_035_392)])
def test_every_depth_has_torchvisions_number_of_parameters(depth, plain, normed):
    for norm, parameters in ((None, plain), ('batch', normed)):
        _, variables = shapes(VGG(depth, norm))
        assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == parameters
        assert ('batch_stats' in variables) == (norm == 'batch')


def test_stages_are_the_maps_before_each_pooling_and_the_last_one_pooled():
    stages, _ = shapes(VGG(11))
    assert [(stage.stride, stage.features.shape) for stage in stages] == [
        (1, (2, 64, 96, 64)), (2, (2, 32, 48, 128)), (4, (2, 16, 24, 256)), (8, (2, 8, 12, 512)),
        (16, (2, 4, 6, 512)), (32, (2, 2, 3, 512))]
    assert VGG(11).stride == 32


def test_images_of_other_channels_in_bfloat16_give_stages_in_bfloat16():
    stages, variables = shapes(VGG(11, norm='group'), channels=1, dtype='bfloat16')
    assert {stage.features.dtype for stage in stages} == {jnp.dtype('bfloat16')}
    assert variables['params']['features_0']['kernel'].shape == (3, 3, 1, 64)


def test_an_unknown_depth_is_named():
    with pytest.raises(InputError, match='^encoder.depth: expected one of 11, 13, 16, 19, got 12'):
        build('encoder', {'type': 'vgg.VGG', 'depth': 12})
