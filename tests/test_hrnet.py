"""HRNet: parameters of every size, strides and channels."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.build import build
from jaxseg.encoders.hrnet import VARIANTS, HRNet
from jaxseg.errors import InputError
from tests.selection import default_cases

# Of timm's models without the classifier: the branches, and the blocks of `increase`.
PARAMETERS = {
    'w18_small': (1_477_920, 1_358_720), 'w18_small_v2': (3_860_720, 1_385_920),
    'w18': (9_562_260, 1_385_920), 'w48': (65_325_120, 1_793_920)}


def shapes(encoder, channels=3, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct((2, 64, 96, channels), dtype)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=False),
                          images)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('variant', default_cases(PARAMETERS, ('w18_small',)))
def test_every_size_has_the_parameters_of_timms(variant):
    stages, variables = shapes(HRNet(variant))
    assert count(variables['params']) == PARAMETERS[variant][0]
    width = VARIANTS[variant].channels
    assert [stage.features.shape for stage in stages] == [
        (2, 32, 48, 64), *((2, 64 // stride, 96 // stride, width * stride // 4)
                           for stride in (4, 8, 16, 32))]
    assert [stage.stride for stage in stages] == [2, 4, 8, 16, 32]


def test_increased_channels_in_any_number_of_input_channels_and_half_precision():
    stages, variables = shapes(HRNet('w18_small', increase=True), 5, jnp.bfloat16)
    assert [stage.features.shape[-1] for stage in stages] == [64, 128, 256, 512, 1024]
    assert all(stage.features.dtype == jnp.bfloat16 for stage in stages)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    assert count(variables['params']) == sum(PARAMETERS['w18_small']) + 3 * 3 * 2 * 64


def test_modules_are_computed_again_under_the_same_names():
    encoder, images = HRNet('w18_small', remat=True), jnp.zeros((1, 64, 64, 3))
    variables = shapes(encoder)[1]
    assert jax.tree.structure(variables) == jax.tree.structure(shapes(HRNet('w18_small'))[1])

    def forward(variables):
        return encoder.apply(variables, images, train=True, mutable=['batch_stats'])

    jaxpr = jax.make_jaxpr(forward)(variables)
    assert sum('remat' in equation.primitive.name for equation in jaxpr.eqns) == 3


@pytest.mark.parametrize('fields, words', [
    ({'variant': 'w20'}, 'encoder.variant: .*w18'), ({'increase': 1}, 'encoder.increase')])
def test_wrong_fields_are_named(fields, words):
    with pytest.raises(InputError, match=words):
        build('encoder', {'type': 'hrnet.HRNet', **fields})
