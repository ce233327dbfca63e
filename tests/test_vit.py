"""Vision transformers: sizes, taps, tokens, positions and stochastic depth."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.encoders import vit
from jaxseg.encoders.vit import ViT
from jaxseg.errors import InputError
from jaxseg.layers import transformer_block
from jaxseg.layers.dropout import DropPath
from tests.selection import as_trials
from tests.variables import random, random_variables

DINOV2 = dict(patch=14, grid=(37, 37), layer_scale=1e-5, norm_taps=True)
TINY = dict(variant=(8, 2, 2), patch=4, grid=(3, 3))


def shapes(encoder, *image, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct(image or (1, 2 * encoder.patch, 3 * encoder.patch, 3), dtype)
    return jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), images)


@functools.partial(jax.jit, static_argnums=0)
def features(encoder, variables, images):
    return [stage.features for stage in encoder.apply(variables, images, train=False)]


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('variant, options, parameters', [
    ('tiny', {}, 5_524_032), ('tiny', dict(registers=1, token_positions='all'), 5_524_416),
    ('small', dict(token_positions='none', layer_scale=1e-6), 21_673_728),
    ('small', DINOV2, 22_056_192), *as_trials(
        ('small', {}, 21_664_896), ('base', {}, 85_797_120), ('large', {}, 303_299_584),
        ('huge', dict(patch=14, grid=(16, 16)), 630_762_240),
        ('small', dict(patch=8, grid=(28, 28)), 21_669_504), ('giant', DINOV2, 1_136_479_232),
        ('small', dict(DINOV2, registers=4, token_positions='none'), 22_057_344))])
def test_it_has_the_parameters_of_timms_without_what_it_leaves_out(
        variant, options, parameters):
    stages, variables = shapes(ViT(variant, **options))
    assert count(variables) == parameters
    width, depth, *_ = vit.VARIANTS[variant]
    assert [stage.features.shape for stage in stages] == [(1, 2, 3, width)] * 4
    assert {stage.stride for stage in stages} == {options.get('patch', 16)}


def test_taps_are_evenly_spaced_or_chosen_and_outputs_of_these_blocks():
    images, deep = random(1, 8, 12, 3), {**TINY, 'variant': (8, 6, 2)}
    variables = random_variables(ViT(**deep), images, train=False)
    every = features(ViT(**deep, taps=tuple(range(6))), variables, images)
    for taps, wanted in ((None, (1, 2, 4, 5)), ((0, 3), (0, 3))):
        stages = features(ViT(**deep, taps=taps), variables, images)
        for stage, index in zip(stages, wanted, strict=True):
            np.testing.assert_array_equal(stage, every[index])


def test_the_class_token_is_the_same_at_every_position_and_taps_may_be_normed():
    images = random(2, 8, 12, 3)
    encoder = ViT(**TINY, class_features=True, norm_taps=True)
    variables = random_variables(encoder, images, train=False)
    last = features(encoder, variables, images)[-1]
    assert last.shape == (2, 2, 3, 16)
    np.testing.assert_array_equal(last[..., 8:], np.broadcast_to(last[:, :1, :1, 8:], (2, 2, 3, 8)))
    norm = variables['params']['norm']
    normed = (last[..., :8] - norm['bias'][None, None, None]) / norm['scale'][None, None, None]
    np.testing.assert_allclose(normed.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(normed.std(-1), 1, atol=1e-3)


def test_positions_are_resized_by_one_of_four_rules():
    images, found = random(1, 16, 20, 3), []
    for resampling in ('antialias', 'plain', 'offset', 'bilinear'):
        encoder = ViT((8, 1, 2), 4, (3, 3), resampling=resampling)
        variables = random_variables(encoder, images, train=False)
        found.append(features(encoder, variables, images)[0])
    for one, other in itertools.combinations(found, 2):
        assert np.abs(one - other).max() > 1e-3


def test_any_number_of_channels_and_the_dtype_of_the_input():
    stages, variables = shapes(ViT(**TINY), 2, 8, 16, 5, dtype=jnp.bfloat16)
    assert variables['params']['patch_embed']['kernel'].shape == (4, 4, 5, 8)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert [(stage.features.shape, stage.features.dtype) for stage in stages] == [
        ((2, 2, 4, 8), jnp.bfloat16)] * 2


def test_stochastic_depth_grows_to_its_rate_in_both_branches(monkeypatch):
    rates = []
    monkeypatch.setattr(transformer_block, 'DropPath',
                        lambda rate: rates.append(rate) or DropPath(rate))
    shapes(ViT(**{**TINY, 'variant': (8, 3, 2)}, drop_path=0.4))
    np.testing.assert_allclose(rates, [0, 0, 0.2, 0.2, 0.4, 0.4])


@pytest.mark.parametrize('options, message', [
    (dict(variant=(8, 2, 3)), r'encoder.variant: 3 heads do not divide 8 channels'),
    (dict(taps=(0, 2)), r'encoder.taps: \(0, 2\) are not indices of the 2 blocks.*0 to 1'),
    (dict(taps=(1, 0)), r'encoder.taps: \(1, 0\)'), (dict(taps=()), r'encoder.taps: \(\)')])
def test_heads_and_taps_that_cannot_be_are_named(options, message):
    with pytest.raises(InputError, match=message):
        shapes(ViT(**{**TINY, **options}))


def test_an_unknown_variant_is_named():
    with pytest.raises(InputError, match="encoder.variant: expected one of tiny.*, got 'smal'"):
        build('encoder', {'type': 'vit.ViT', 'variant': 'smal'})


def test_layer_scales_start_at_the_value_that_is_given():
    block = transformer_block.TransformerBlock(2, 8, layer_scale=0.25)

    def scales():
        params = block.init(jax.random.key(0), jnp.zeros((1, 2, 4)), train=False)['params']
        return params['scale1'], params['scale2']

    np.testing.assert_array_equal(jax.jit(scales)(), np.full((2, 4), 0.25))
