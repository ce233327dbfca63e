"""Swin Transformer: parameters of every size, maps of any size, rates of stochastic depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.encoders import swin
from jaxseg.encoders.swin import Swin
from jaxseg.errors import InputError
from jaxseg.layers.dropout import DropPath
from tests.selection import default_cases

# Of timm's models without the norm and the classifier after the last stage.
PARAMETERS = {('tiny', 7): 27_517_818, ('small', 7): 48_835_722, ('base', 7): 86_741_176,
              ('base', 12): 86_876_536, ('large', 7): 194_992_404, ('large', 12): 195_195_444}
RNGS = {'params': jax.random.key(0), 'drop_path': jax.random.key(1)}


def shapes(encoder, size=(64, 96), channels=3, train=False, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct((2, *size, channels), dtype)
    return jax.eval_shape(lambda x: encoder.init_with_output(RNGS, x, train=train), images)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('variant, window', default_cases(PARAMETERS, [('tiny', 7)]))
def test_every_size_has_the_parameters_of_timms(variant, window):
    stages, variables = shapes(Swin(variant, window))
    assert count(variables) == PARAMETERS[variant, window]
    assert [(stage.stride, stage.features.shape[-1]) for stage in stages] == [
        (stride, swin.SIZES[variant][0] * stride // 4) for stride in (4, 8, 16, 32)]


def test_maps_of_any_size_are_rounded_up_in_any_number_of_channels_and_half_precision():
    stages, variables = shapes(Swin(output_norm=True), (75, 101), 5, dtype=jnp.bfloat16)
    assert [stage.features.shape[1:3] for stage in stages] == [(19, 26), (10, 13), (5, 7), (3, 4)]
    assert all(stage.features.dtype == jnp.bfloat16 for stage in stages)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    # Besides the five-channel stem, output norms are all that is added.
    assert count(variables) == PARAMETERS['tiny', 7] + 2 * 4 * 4 * 96 + 2 * 15 * 96


def test_stochastic_depth_grows_from_zero_to_its_rate(monkeypatch):
    rates = []
    monkeypatch.setattr(swin, 'DropPath', lambda rate: rates.append(rate) or DropPath(rate))
    shapes(Swin(drop_path=0.6), train=True)
    np.testing.assert_allclose(rates, np.linspace(0, 0.6, 12))


def test_blocks_are_computed_again_under_the_same_names():
    encoder, images = Swin(remat=True), jnp.zeros((1, 32, 32, 3))
    variables = shapes(encoder)[1]
    assert jax.tree.structure(variables) == jax.tree.structure(shapes(Swin())[1])
    jaxpr = jax.make_jaxpr(lambda values: encoder.apply(values, images, train=True))(variables)
    assert sum('remat' in equation.primitive.name for equation in jaxpr.eqns) == 12


@pytest.mark.parametrize('fields, words', [
    ({'variant': 'huge'}, 'encoder.variant: .*tiny'), ({'window': 0}, 'encoder.window'),
    ({'drop_path': 1.0}, 'encoder.drop_path')])
def test_wrong_fields_are_named(fields, words):
    with pytest.raises(InputError, match=words):
        build('encoder', {'type': 'swin.Swin', **fields})
