"""Segmenter: its mask transformer against a slow reference, and both decoders in a model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.decoders.mask_transformer import MaskTransformer
from jaxseg.errors import InputError
from jaxseg.layers.stages import Stage
from tests.references.mask_transformer import mask_transformer
from tests.variables import random, random_variables


def model(decoder, head, classes=5):
    encoder = dict(type='vit.ViT', variant=[8, 2, 2], patch=8, grid=[3, 3], norm_taps=True)
    return build('model', dict(type='segmentation_model.SegmentationModel', encoder=encoder,
                               decoder=decoder, head=head), classes=classes)


def parameters(model):
    """Names and shapes; the logits have the size of the images."""
    images = jax.ShapeDtypeStruct((2, 21, 35, 3), jnp.float32)
    outputs, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), images)
    assert outputs['logits'].shape == (2, 21, 35, 5)
    return variables['params']


def test_the_mask_transformer_equals_the_loop_over_positions_and_heads():
    decoder, features = MaskTransformer(5, features=8, heads=2), random(2, 3, 4, 6)
    stages = (Stage(16, features),)
    variables = random_variables(decoder, stages, train=False)
    found = jax.jit(lambda v: decoder.apply(v, stages, train=False))(variables)
    given = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables['params'])
    for sample, logits in zip(features.astype(np.float64), found, strict=True):
        np.testing.assert_allclose(logits, mask_transformer(sample, given, 2, 2), atol=2e-5)


def test_it_has_the_parameters_of_the_paper():
    """Segmenter's Mask-Small over ViT-S and 150 classes, by hand."""
    width, hidden, classes = 384, 1536, 150
    block = 4 * (width + 1) * width + (width + 1) * hidden + (hidden + 1) * width + 4 * width
    expected = ((width + 1) * width + classes * width + 2 * block + 2 * width
                + 2 * width ** 2 + 2 * classes)
    decoder = MaskTransformer(classes, features=width, heads=6)
    stages = (Stage(16, jax.ShapeDtypeStruct((1, 2, 3, width), jnp.bfloat16)),)
    out, variables = jax.eval_shape(
        lambda x: decoder.init_with_output(jax.random.key(0), x, train=False), stages)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == expected
    assert out.shape == (1, 2, 3, 150) and out.dtype == jnp.float32


def test_a_model_has_its_masks_as_logits_without_a_head():
    found = parameters(model({'type': 'mask_transformer.MaskTransformer', 'features': 8,
                              'heads': 2}, {'type': 'head.Identity'}))
    assert set(found) == {'encoder', 'decoder'}
    assert found['decoder']['class_tokens'].shape == (1, 5, 8)


def test_the_linear_decoder_is_one_convolution_of_the_last_tap():
    found = parameters(model({'type': 'fcn.FCN', 'widths': []}, {'type': 'head.Head', 'kernel': 1}))
    assert set(found) == {'encoder', 'head'}
    assert found['head']['kernel'].shape == (1, 1, 8, 5)


@pytest.mark.parametrize('decoder, classes, message', [
    (dict(type='mask_transformer.MaskTransformer', features=8, heads=3), 5,
     'decoder.heads: 3 does not divide the 8 features'),
    (dict(type='mask_transformer.MaskTransformer', features=8, heads=2), 1,
     "decoder.classes: 1, and the norm .*0 everywhere; use decoder 'fcn.FCN'"),
    (dict(type='fcn.FCN', widths=[4]), 5,
     "'head.Identity' takes logits of 5 classes.* 4 channels")])
def test_heads_channels_and_classes_that_do_not_fit_are_named(decoder, classes, message):
    with pytest.raises(InputError, match=message):
        parameters(model(decoder, {'type': 'head.Identity'}, classes))


def test_a_position_of_zeros_has_finite_gradients():
    decoder = MaskTransformer(3, features=4, heads=1, layers=1)
    stages = (Stage(16, jnp.zeros((1, 2, 2, 4))),)
    variables = jax.tree.map(jnp.zeros_like, random_variables(decoder, stages, train=False))
    gradient = jax.jit(jax.grad(
        lambda v: decoder.apply(v, stages, train=False)[..., 0].sum()))(variables)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
