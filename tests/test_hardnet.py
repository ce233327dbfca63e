"""HarDNet: parameters, stages and names of every variant. `test_parity.py` compares values."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.build import build
from jaxseg.encoders.hardnet import HarDNet, _links
from jaxseg.errors import InputError
from tests.selection import default_cases

CLASSES = 1000
# With the classifier, as the authors' models have.
PARAMETERS = {'39ds': 3_488_228, '68': 17_565_348, '68ds': 4_180_602, '85': 36_670_212}
CHANNELS = {'39ds': [48, 96, 320, 640, 1024], '68': [64, 128, 320, 640, 1024],
            '68ds': [64, 128, 320, 640, 1024], '85': [96, 192, 320, 720, 1280]}


def shapes(encoder, channels=3, dtype=jnp.float32):
    images = jnp.zeros((2, 64, 96, channels), dtype)
    return jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), images, train=True))


@pytest.mark.parametrize('variant', default_cases(PARAMETERS, ('39ds', '68')))
def test_every_variant_has_the_parameters_and_stages_of_the_authors(variant):
    stages, variables = shapes(HarDNet(variant))
    last = CHANNELS[variant][-1]
    total = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    assert total + (last + 1) * CLASSES == PARAMETERS[variant]
    found = [(stage.stride, *stage.features.shape) for stage in stages]
    assert found == [(stride, 2, 64 // stride, 96 // stride, channels)
                     for stride, channels in zip((2, 4, 8, 16, 32), CHANNELS[variant], strict=True)]


def test_a_layer_reads_those_a_power_of_two_before_that_divides_its_number():
    assert [_links(layer) for layer in range(1, 9)] == [
        [0], [1, 0], [2], [3, 2, 0], [4], [5, 4], [6], [7, 6, 4, 0]]


def test_the_dropout_of_hardnet_85_counts_among_the_names():
    _, variables = shapes(HarDNet('85'))
    assert 'base18_conv' in variables['params'] and 'base17_conv' not in variables['params']


def test_channels_dtype_and_norm_follow_the_input_and_the_fields():
    stages, variables = shapes(HarDNet('39ds', norm='group'), 5, jnp.bfloat16)
    assert 'batch_stats' not in variables
    assert variables['params']['base0_conv']['kernel'].shape == (3, 3, 5, 24)
    assert {stage.features.dtype for stage in stages} == {jnp.dtype(jnp.bfloat16)}
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(variables['params'])}
    assert dtypes == {jnp.dtype(jnp.float32)}


def test_an_unknown_variant_is_named():
    with pytest.raises(InputError, match="encoder.variant: expected .*39ds.*, got '69'"):
        build('encoder', {'type': 'hardnet.HarDNet', 'variant': '69'})
