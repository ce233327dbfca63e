"""Sums of many numbers are float32 where a model computes in bfloat16, and small ones are not 0."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.context.attention_pooling import AttentionPooling
from jaxseg.decoders.unet import UNet
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.errors import InputError
from jaxseg.layers.scse import SCSE
from jaxseg.layers.squeeze_excite import SqueezeExcite
from jaxseg.layers.stages import Stage
from jaxseg.layers.tokens import prepend
from jaxseg.losses.lovasz import lovasz_softmax
from jaxseg.models.segmentation_model import SegmentationModel
from tests.convolutions import equations_of
from tests.variables import random_variables

FEW = 16  # numbers that may be added in 16 bits


def short_sums(jaxpr):
    """How many 16-bit numbers each sum of a program adds, of those that add more than `FEW`."""
    for equation in equations_of(jaxpr, 'reduce_sum'):
        operand = equation.invars[0].aval
        added = math.prod(operand.shape[axis] for axis in equation.params['axes'])
        if operand.dtype.itemsize == 2 and added > FEW:
            yield added


def gradient(part, *inputs):
    """The program of the gradients of a part by its parameters and inputs."""
    shapes = jax.eval_shape(lambda *x: part.init(
        {name: jax.random.key(0) for name in ('params', 'drop_path')}, *x, train=False), *inputs)

    def loss(params, *x):
        out = part.apply({**shapes, 'params': params}, *x, train=False)
        return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(out))

    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    shapes = {name: tree for name, tree in variables.items() if name != 'params'}
    return jax.make_jaxpr(jax.grad(loss, tuple(range(len(inputs) + 1))))(
        variables['params'], *inputs).jaxpr


class Layer:
    """A layer without the argument `train`, as one with it."""

    def __init__(self, layer):
        self.layer = layer

    def init(self, keys, x, train):
        return self.layer.init(keys, x)

    def apply(self, variables, x, train):
        return self.layer.apply(variables, x)


@pytest.mark.parametrize('layer', [
    Layer(SqueezeExcite(4)), Layer(SCSE()), AttentionPooling()],
    ids=['squeeze_excite', 'scse', 'attention_pooling'])
def test_gradients_of_layers_add_no_pixels_in_16_bits(layer):
    x = jnp.zeros((2, 8, 8, 32), jnp.bfloat16)
    assert not list(short_sums(gradient(layer, x)))
    assert list(short_sums(jax.make_jaxpr(jax.grad(
        lambda gate: jnp.sum((x * gate).astype(jnp.float32))))(x[:, :1, :1]).jaxpr)) == [64]


@pytest.mark.parametrize('decoder', ['deeplab.DeepLabV3', 'pan.PAN', 'manet.MAnet'])
def test_gradients_of_decoders_add_no_pixels_in_16_bits(decoder):
    stages = tuple(Stage(stride, jnp.zeros((2, 256 // stride, 256 // stride, 16), jnp.bfloat16))
                   for stride in (2, 4, 8, 16, 32))
    assert not list(short_sums(gradient(build('decoder', {'type': decoder}, classes=3), stages)))


def test_gradients_of_a_transformer_add_no_tokens_in_16_bits():
    encoder = build('encoder', {'type': 'vit.ViT', 'variant': [16, 1, 2], 'patch': 4,
                                'grid': [4, 4], 'class_features': True})
    images = jnp.zeros((32, 32, 32, 3), jnp.bfloat16)  # the positions are those of all images
    assert not list(short_sums(gradient(encoder, images)))


def test_the_gradient_of_a_token_is_the_sum_over_all_samples():
    found = jax.grad(lambda token: prepend(
        [token], jnp.zeros((600, 1, 2), jnp.bfloat16)).astype(jnp.float32).sum())(
            jnp.zeros((1, 1, 2)))
    np.testing.assert_array_equal(found, 600)


def test_float16_is_for_models_that_do_not_train():
    model = SegmentationModel(VGGLike((4,), depth=1), UNet((4,)), 3, dtype='float16')
    images = jnp.zeros((1, 8, 8, 3))
    variables = random_variables(model, images, train=True)
    assert model.apply(variables, images, train=False)['logits'].shape == (1, 8, 8, 3)
    with pytest.raises(InputError, match="model.dtype: .* train with 'bfloat16'"):
        model.apply(variables, images, train=True, mutable=['batch_stats'])


def test_the_weights_of_lovasz_keep_their_digits_on_large_maps():
    # Sorted by their errors, the pixels of the class are every 64th; sums of float64.
    pixels = 2 ** 16
    share = np.linspace(0.999, 0.001, pixels)
    truth = np.arange(pixels) % 64 == 0
    probability = np.where(truth, 1 - share, share)
    logits = np.stack([np.log(probability), np.log1p(-probability)], -1)[None]
    labels = np.where(truth, 0, 1)[None]
    left = truth.sum() - np.cumsum(truth)
    union = truth.sum() + np.cumsum(~truth)
    growth = np.diff(1 - left / union, prepend=0)
    # The gradient by the logit of class 0: both classes have the same errors.
    found = jax.jit(jax.grad(lambda x: lovasz_softmax(x, labels, np.ones_like(labels, bool))[0]))(
        jnp.asarray(logits, jnp.float32))[0, :, 0]
    left_of_1, union_of_1 = (~truth).sum() - np.cumsum(~truth), (~truth).sum() + np.cumsum(truth)
    growth_of_1 = np.diff(1 - left_of_1 / union_of_1, prepend=0)
    slope = probability * (1 - probability) * np.where(truth, -1, 1)
    np.testing.assert_allclose(found, slope * (growth + growth_of_1) / 2, rtol=1e-3)
