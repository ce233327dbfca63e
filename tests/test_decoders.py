"""Decoders: where they stop, what they use, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.decoders.fcn import FCN
from jaxseg.decoders.unet import UNet
from jaxseg.errors import InputError
from tests.variables import random_variables


def some_features(strides: dict[int, int], size: int = 32) -> dict[int, np.ndarray]:
    """{stride: channels} -> features of a square picture."""
    rng = np.random.default_rng(0)
    return {stride: rng.normal(size=(2, size // stride, size // stride, channels)).astype(np.float32)
            for stride, channels in strides.items()}


def shapes(decoder, features):
    return jax.eval_shape(lambda f: decoder.init_with_output(jax.random.key(0), f, train=True), features)


RESNET = {2: 4, 4: 5, 8: 6, 16: 7, 32: 8}


@pytest.mark.parametrize('widths, stride', [((9,), 16), ((9, 8, 7), 4), ((9, 8, 7, 6, 5), 1)])
def test_a_unet_goes_up_one_step_for_every_width(widths, stride):
    out, _ = shapes(UNet(widths), some_features(RESNET))
    assert out.shape == (2, 32 // stride, 32 // stride, widths[-1])


def test_a_unet_has_the_convolutions_of_smps_decoder():
    _, variables = shapes(UNet((256, 128, 64, 32, 16)), some_features({2: 64, 4: 64, 8: 128, 16: 256, 32: 512}))
    inputs = (512 + 256, 256 + 128, 128 + 64, 64 + 64, 32)
    for (stride, width), channels in zip(((16, 256), (8, 128), (4, 64), (2, 32), (1, 16)), inputs, strict=True):
        assert variables['params'][f'up{stride}_conv0']['kernel'].shape == (3, 3, channels, width)
        assert variables['params'][f'up{stride}_conv1']['kernel'].shape == (3, 3, width, width)
    # segmentation_models.pytorch: Unet('resnet18', classes=1) has 14,328,209, its encoder 11,176,512, its head 145.
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == 14_328_209 - 11_176_512 - 145


def test_a_unet_works_over_dilated_features_with_fewer_widths():
    out, variables = shapes(UNet((9, 8)), some_features({2: 4, 4: 5, 8: 8}))
    assert out.shape == (2, 16, 16, 8)
    assert variables['params']['up4_conv0']['kernel'].shape == (3, 3, 8 + 5, 9)


def test_every_skip_connection_reaches_the_output_of_a_unet():
    features, decoder = some_features(RESNET), UNet((3, 3, 3, 3, 3))
    run = jax.jit(lambda variables, features: decoder.apply(variables, features, train=False))
    variables = random_variables(decoder, features, train=False)
    plain = run(variables, features)
    for stride in features:
        changed = run(variables, {**features, stride: features[stride] + 1})
        assert float(jnp.abs(changed - plain).max()) > 1e-4, stride


def test_a_unet_refuses_widths_beyond_stride_one():
    with pytest.raises(InputError, match="4 widths.*coarsest stride 8; give at most 3"):
        shapes(UNet((9, 8, 7, 6)), some_features({2: 4, 4: 5, 8: 8}))


@pytest.mark.parametrize('stride, side', [(None, 1), (8, 4)])
def test_an_fcn_works_on_the_coarsest_or_the_given_stride_pixel_by_pixel(stride, side):
    features = some_features(RESNET)
    out, variables = shapes(FCN((9, 10), stride=stride), features)
    assert out.shape == (2, side, side, 10)
    assert variables['params']['conv0']['kernel'].shape == (1, 1, RESNET[stride or 32], 9)
    assert variables['params']['conv1']['kernel'].shape == (1, 1, 9, 10)


def test_one_pixel_of_an_fcn_depends_on_no_other():
    features, decoder = some_features({4: 3}, 8), FCN((4,), dropout=0.5)
    variables = random_variables(decoder, features, train=False)
    changed = features[4].copy()
    changed[:, 0, 0] += 1
    before, after = (np.asarray(decoder.apply(variables, {4: x}, train=False)) for x in (features[4], changed))
    np.testing.assert_array_equal(before[:, 1:], after[:, 1:])
    assert np.abs(before[:, 0, 0] - after[:, 0, 0]).max() > 1e-3


def test_an_fcn_refuses_a_stride_that_the_encoder_lacks():
    with pytest.raises(InputError, match='stride 64 is not among.*2, 4, 8, 16, 32'):
        shapes(FCN(stride=64), some_features(RESNET))
