"""Relatives of ResNet: numbers of parameters, stochastic depth, rematerialization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders.resnet import ResNet
from jaxseg.errors import InputError
from jaxseg.layers import residual
from jaxseg.layers.dropout import DropPath
from tests.selection import as_trials
from tests.variables import random

D = dict(deep_stem=True, average_shortcut=True)
SE = dict(squeeze_excite=True)


def shapes(encoder, channels=3, dtype='float32'):
    images = jax.ShapeDtypeStruct((2, 64, 96, channels), dtype)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=True),
                          images)


# Of torchvision's models and timm's, without the classifier.
@pytest.mark.parametrize('depth, fields, parameters', [
    (26, {}, 13_946_176), (50, dict(groups=32, width_per_group=4, **SE), 25_510_896),
    (50, dict(width_per_group=128), 66_834_240), (18, D, 11_195_744), *as_trials(
        (200, {}, 62_624_832), (50, dict(groups=32, width_per_group=4), 22_979_904),
        (101, dict(groups=32, width_per_group=8), 86_742_336),
        (101, dict(groups=64, width_per_group=4), 81_406_272),
        (101, dict(width_per_group=128), 124_837_696),
        (26, D, 13_965_408), (50, D, 23_527_264), (18, SE, 11_266_624), (50, SE, 26_039_024),
        (101, dict(groups=32, width_per_group=8, **SE, **D), 91_539_280))])
def test_every_relative_has_the_number_of_parameters_of_its_reference(depth, fields, parameters):
    stages, variables = shapes(ResNet(depth, **fields))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == parameters
    last = 512 if depth in (18, 34) else 2048
    assert [(stage.stride, stage.features.shape[-1]) for stage in stages] == [
        (2, 64), (4, last // 8), (8, last // 4), (16, last // 2), (32, last)]


def test_images_of_other_channels_in_bfloat16_give_stages_in_bfloat16():
    stages, variables = shapes(ResNet(18, **D, **SE), channels=5, dtype='bfloat16')
    assert {stage.features.dtype for stage in stages} == {jnp.dtype('bfloat16')}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert variables['params']['conv1']['kernel'].shape == (3, 3, 5, 32)


def test_stochastic_depth_grows_to_the_last_block(monkeypatch):
    rates = []
    monkeypatch.setattr(residual, 'DropPath', lambda rate: rates.append(rate) or DropPath(rate))
    shapes(ResNet(18, drop_path=0.7))
    np.testing.assert_allclose(rates, 0.7 * np.arange(8) / 7)


def test_rematerialization_recomputes_every_block_and_changes_no_name():
    images = random(2, 32, 32, 3)

    def recomputed(remat):
        encoder = ResNet(18, 4, remat=remat)
        variables = jax.eval_shape(lambda: encoder.init(jax.random.key(0), images, train=False))
        traced = jax.make_jaxpr(lambda variables: encoder.apply(
            variables, images, train=True, mutable=['batch_stats']))(variables)
        return variables, sum('remat' in step.primitive.name for step in traced.jaxpr.eqns)

    (stored, none), (same, blocks) = recomputed(False), recomputed(True)
    assert (none, blocks) == (0, 8) and stored == same


@pytest.mark.parametrize('fields', [dict(groups=2), dict(width_per_group=4)])
def test_blocks_of_two_convolutions_have_no_groups(fields):
    with pytest.raises(InputError, match='^encoder.groups: .*depth 34 have no groups; give'):
        shapes(ResNet(34, **fields))
