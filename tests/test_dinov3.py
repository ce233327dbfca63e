"""DINOv3: sizes, rotary positions and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders import dinov3
from jaxseg.encoders.dinov3 import DINOv3
from jaxseg.errors import InputError
from jaxseg.layers import transformer_block
from jaxseg.layers.dropout import DropPath
from tests.selection import as_trials

TINY = dict(variant=(8, 2, 2, 12), patch=4)


def shapes(encoder, *image, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct(image or (1, 2 * encoder.patch, 3 * encoder.patch, 3), dtype)
    return jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), images)


@pytest.mark.parametrize('variant, options, parameters', [
    ('tiny', {}, 5_489_664), ('small', dict(qkv_bias=False, mlp='swiglu'), 28_683_264), *as_trials(
        ('small', {}, 21_596_160), ('small', dict(qkv_bias=False), 21_586_944),
        ('base', dict(qkv_bias=False), 85_641_216), ('large', dict(qkv_bias=False), 303_079_424),
        ('huge', dict(qkv_bias=False, mlp='swiglu'), 840_509_440),
        ('7b', dict(qkv_bias=False, mlp='swiglu'), 6_716_030_976))])
def test_it_has_the_parameters_of_timms(variant, options, parameters):
    stages, variables = shapes(DINOv3(variant, **options))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == parameters
    assert [stage.features.shape for stage in stages] == [
        (1, 2, 3, dinov3.VARIANTS[variant][0])] * 4
    assert {stage.stride for stage in stages} == {16}


def test_angles_are_those_of_coordinates_between_minus_and_plus_one():
    """Of 2 rows, at -1/2 and 1/2, and 1 column, at 0; 8 channels have the wavelengths 1 and 10."""
    expected = 2 * np.pi * np.array([[-0.5, -0.05, 0, 0], [0.5, 0.05, 0, 0]])
    np.testing.assert_allclose(dinov3._angles((2, 1), 8), expected, atol=1e-6)
    turned = dinov3._angles((1, 2), 8)
    np.testing.assert_allclose(turned, np.roll(expected, 2, 1), atol=1e-6)


def test_any_number_of_channels_and_the_dtype_of_the_input():
    encoder = DINOv3(**TINY, registers=0, class_features=True)
    stages, variables = shapes(encoder, 2, 8, 16, 5, dtype=jnp.bfloat16)
    assert variables['params']['patch_embed']['kernel'].shape == (4, 4, 5, 8)
    assert 'registers' not in variables['params']
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert [(stage.features.shape, stage.features.dtype) for stage in stages] == [
        ((2, 2, 4, 16), jnp.bfloat16)] * 2


def test_stochastic_depth_grows_to_its_rate(monkeypatch):
    rates = []
    monkeypatch.setattr(transformer_block, 'DropPath',
                        lambda rate: rates.append(rate) or DropPath(rate))
    shapes(DINOv3(**TINY, drop_path=0.4))
    np.testing.assert_allclose(rates, [0, 0, 0.4, 0.4])


@pytest.mark.parametrize('options, message', [
    (dict(variant=(8, 2, 3, 12)), 'encoder.variant: 3 heads do not divide 8 channels'),
    (dict(variant=(12, 2, 2, 12)), 'encoder.variant: heads of 6 channels.*multiple of 4'),
    (dict(taps=(2,)), r'encoder.taps: \(2,\) are not indices of the 2 blocks')])
def test_what_cannot_be_is_named(options, message):
    with pytest.raises(InputError, match=message):
        shapes(DINOv3(**{**TINY, **options}))
