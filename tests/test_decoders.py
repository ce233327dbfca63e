"""Decoders: where they stop, what they use, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.decoders.fcn import FCN
from jaxseg.decoders.unet import UNet
from jaxseg.errors import InputError
from jaxseg.layers.stages import Stage, at_stride, deepest, strides
from tests.variables import random, random_variables


def some_stages(*stages: tuple[int, int], size: int = 32) -> tuple[Stage, ...]:
    """(stride, channels) pairs -> the stages of a square image."""
    shapes = [(2, size // stride, size // stride, channels) for stride, channels in stages]
    return tuple(Stage(stride, random(*shape, seed=index))
                 for index, ((stride, _), shape) in enumerate(zip(stages, shapes, strict=True)))


def shapes(decoder, stages):
    return jax.eval_shape(
        lambda stages: decoder.init_with_output(jax.random.key(0), stages, train=True), stages)


RESNET = ((2, 4), (4, 5), (8, 6), (16, 7), (32, 8))
DILATED = ((2, 4), (4, 5), (8, 6), (8, 7), (8, 8))


@pytest.mark.parametrize('widths, stride', [((9,), 16), ((9, 8, 7), 4), ((9, 8, 7, 6, 5), 1)])
def test_a_unet_goes_up_one_step_for_every_width(widths, stride):
    out, _ = shapes(UNet(widths), some_stages(*RESNET))
    assert out.shape == (2, 32 // stride, 32 // stride, widths[-1])


def test_a_unet_has_the_convolutions_of_smps_decoder():
    _, variables = shapes(UNet((256, 128, 64, 32, 16)),
                          some_stages((2, 64), (4, 64), (8, 128), (16, 256), (32, 512)))
    for stride, channels, width in ((16, 512 + 256, 256), (8, 256 + 128, 128), (4, 128 + 64, 64),
                                    (2, 64 + 64, 32), (1, 32, 16)):
        assert variables['params'][f'up{stride}_conv0']['kernel'].shape == (3, 3, channels, width)
        assert variables['params'][f'up{stride}_conv1']['kernel'].shape == (3, 3, width, width)
    # Unet('resnet18', classes=1) of segmentation_models.pytorch: all, its encoder, its head.
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    assert parameters == 14_328_209 - 11_176_512 - 145


def test_a_unet_works_over_dilated_features_with_fewer_widths():
    out, variables = shapes(UNet((9, 8)), some_stages(*DILATED))
    assert out.shape == (2, 16, 16, 8)
    assert variables['params']['up4_conv0']['kernel'].shape == (3, 3, 8 + 5, 9)


def test_a_unet_over_a_dilated_encoder_takes_the_deepest_stage_of_every_stride():
    stages = some_stages((2, 4), (4, 5), (4, 6), (8, 7), (8, 8))
    _, variables = shapes(UNet((9,)), stages)
    assert variables['params']['up4_conv0']['kernel'].shape == (3, 3, 8 + 6, 9)


def test_every_skip_connection_reaches_the_output_of_a_unet():
    stages, decoder = some_stages(*RESNET), UNet((3, 3, 3, 3, 3))
    run = jax.jit(lambda variables, stages: decoder.apply(variables, stages, train=False))
    variables = random_variables(decoder, stages, train=False)
    plain = run(variables, stages)
    for index, stage in enumerate(stages):
        shifted = stage.replace(features=stage.features + 1)
        changed = run(variables, (*stages[:index], shifted, *stages[index + 1:]))
        assert float(jnp.abs(changed - plain).max()) > 1e-4, stage.stride


def test_a_unet_refuses_widths_beyond_stride_one():
    with pytest.raises(InputError, match='decoder.widths: 4 widths.*stride 8; give at most 3'):
        shapes(UNet((9, 8, 7, 6)), some_stages(*DILATED))


@pytest.mark.parametrize('stage, side, channels', [(-1, 4, 8), (-2, 4, 7), (2, 4, 6), (1, 8, 5)])
def test_an_fcn_works_on_the_stage_that_it_is_given_pixel_by_pixel(stage, side, channels):
    out, variables = shapes(FCN((9, 10), stage=stage), some_stages(*DILATED))
    assert out.shape == (2, side, side, 10)
    assert variables['params']['conv0']['kernel'].shape == (1, 1, channels, 9)
    assert variables['params']['conv1']['kernel'].shape == (1, 1, 9, 10)


def test_one_pixel_of_an_fcn_depends_on_no_other():
    (stage,), decoder = some_stages((4, 3), size=8), FCN((4,), dropout=0.5)
    variables = random_variables(decoder, (stage,), train=False)
    changed = stage.features.copy()
    changed[:, 0, 0] += 1
    before, after = (np.asarray(decoder.apply(variables, (stage.replace(features=x),), train=False))
                     for x in (stage.features, changed))
    np.testing.assert_array_equal(before[:, 1:], after[:, 1:])
    assert np.abs(before[:, 0, 0] - after[:, 0, 0]).max() > 1e-3


def test_an_fcn_refuses_a_stage_that_the_encoder_lacks():
    with pytest.raises(InputError, match='decoder.stage: 5 .* 2, 4, 8, 16, 32; give -5 to 4'):
        shapes(FCN(stage=5), some_stages(*RESNET))


def test_stages_are_found_by_depth_and_by_stride():
    stages = some_stages(*DILATED)
    assert strides(stages) == (2, 4, 8, 8, 8)
    assert deepest(stages) is stages[-1] and at_stride(stages, 8) is stages[-1]
    assert at_stride(stages, 4) is stages[1] and at_stride(stages, 16) is None
    # The stride is structure: it survives jit as a number.
    double = jax.jit(lambda stages: tuple(
        stage.replace(features=2 * stage.features) for stage in stages))
    doubled = double(stages)
    assert strides(doubled) == (2, 4, 8, 8, 8)
