"""Encoders, context, decoders and the segmenter: one contract over all of them, counts, equalities and invariances."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.context.attention_pooling import attention_pool
from jaxseg.context.renet import ReNet
from jaxseg.context.self_attention import SelfAttention
from jaxseg.decoders.fcn import FCN
from jaxseg.decoders.unet import UNet
from jaxseg.encoders.plain import ConvPool
from jaxseg.encoders.resnet import ResNet
from jaxseg.errors import InputError
from tests.references import attention, recurrence

ENCODERS = {
    'plain': dict(type='plain.ConvPool', widths=[4, 8, 8], depth=1),
    'plain_stem': dict(type='plain.ConvPool', widths=[4, 8], depth=2, stem_stride=4, norm='group'),
    'resnet': dict(type='resnet.ResNet', depth=18, width=4),
    'resnet_dilated': dict(type='resnet.ResNet', depth=50, width=4, output_stride=8, norm='group'),
}
CONTEXTS = {
    'identity': dict(type='identity.Identity'),
    'pooling': dict(type='attention_pooling.AttentionPooling'),
    'attention': dict(type='self_attention.SelfAttention', features=8, heads=2, dropout=0.1),
    'gru': dict(type='renet.ReNet', features=4),
    'two': [dict(type='renet.ReNet', features=4, cell='lstm', layers=2), dict(type='attention_pooling.AttentionPooling')],
}
DECODERS = {'fcn': dict(type='fcn.FCN', widths=[8]), 'unet': dict(type='unet.UNet', widths=[8, 4])}


def segmenter(encoder, context, decoder, **fields):
    entry = dict(type='segmenter.Segmenter', encoder=ENCODERS[encoder], context=CONTEXTS[context], decoder=DECODERS[decoder],
                 **fields)
    return build('model', entry, classes=5)


def shapes(module, *inputs):
    """Shapes of variables and output; nothing runs."""
    variables = jax.eval_shape(lambda: module.init({'params': jax.random.key(0), 'dropout': jax.random.key(1)}, *inputs,
                                                   train=True))
    return variables, jax.eval_shape(lambda v: module.apply(v, *inputs, train=False), {
        key: value for key, value in variables.items() if key != 'auxiliary'})


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('encoder, context, decoder', list(itertools.product(ENCODERS, CONTEXTS, DECODERS)))
def test_every_composition_takes_every_size_and_number_of_channels(encoder, context, decoder):
    for channels, dtype in ((1, 'float32'), (3, 'bfloat16'), (5, 'float32')):
        model = segmenter(encoder, context, decoder, dtype=dtype, auxiliary=dict(type='fcn.FCN', widths=[4]), dropout=0.1)
        variables, logits = shapes(model, jnp.zeros((2, 101, 131, channels)))
        assert (logits.shape, logits.dtype) == ((2, 101, 131, 5), jnp.float32)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {'float32'}
        assert variables['auxiliary']['logits'][0].shape == (2, 101, 131, 5)
        names = {name.split('_')[0] for name in variables['params']}
        assert names <= {'encoder', 'context', 'decoder', 'head', 'auxiliary'}


@pytest.mark.parametrize('family', ['identity', 'gru', 'attention'])
def test_each_family_runs_on_an_odd_picture_and_is_finite(family):
    model = segmenter('plain', family, 'unet', dtype='bfloat16')
    images = np.random.default_rng(0).normal(size=(1, 21, 35, 3)).astype(np.float32)
    variables = model.init({'params': jax.random.key(0), 'dropout': jax.random.key(1)}, images, train=True)
    logits = model.apply(variables, images, train=False)
    assert logits.shape == (1, 21, 35, 5) and np.isfinite(logits).all() and np.ptp(logits) > 0


@pytest.mark.parametrize('depth, parameters', [(18, 11_176_512), (34, 21_284_672), (50, 23_508_032), (101, 42_500_160),
                                               (152, 58_143_808)])
def test_resnets_have_as_many_parameters_as_torchvisions_without_classifier(depth, parameters):
    variables, features = shapes(ResNet(depth), jnp.zeros((1, 64, 96, 3)))
    assert count(variables['params']) == parameters
    widest = 512 if depth < 50 else 2048
    assert {stride: x.shape for stride, x in features.items()} == {
        2: (1, 32, 48, 64), 4: (1, 16, 24, widest // 8), 8: (1, 8, 12, widest // 4), 16: (1, 4, 6, widest // 2),
        32: (1, 2, 3, widest)}


def test_resnet18_unet_has_the_parameters_of_segmentation_models_pytorch():
    model = build('model', dict(type='segmenter.Segmenter', encoder=dict(type='resnet.ResNet'),
                                context=dict(type='identity.Identity'), decoder=dict(type='unet.UNet')), classes=11)
    variables, _ = shapes(model, jnp.zeros((1, 64, 64, 3)))
    assert count(variables['params']) == 14_329_659


@pytest.mark.parametrize('output_stride', [8, 16])
def test_output_stride_dilates_with_the_same_parameters(output_stride):
    variables, features = shapes(ResNet(18, 8, output_stride), jnp.zeros((1, 64, 96, 3)))
    assert max(features) == output_stride
    assert features[output_stride].shape == (1, 64 // output_stride, 96 // output_stride, 64)
    plain, _ = shapes(ResNet(18, 8), jnp.zeros((1, 64, 96, 3)))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, plain)


def test_the_plain_encoder_gives_each_stage_before_its_pooling_and_the_last_pooled_map():
    encoder = ConvPool(widths=(4, 6), depth=2, stem_stride=2)
    _, features = shapes(encoder, jnp.zeros((1, 16, 24, 3)))
    assert {stride: x.shape for stride, x in features.items()} == {2: (1, 8, 12, 4), 4: (1, 4, 6, 6), 8: (1, 2, 3, 6)}
    assert encoder.stride == 8
    images = np.random.default_rng(0).normal(size=(1, 16, 24, 3)).astype(np.float32)
    features = encoder.apply(encoder.init(jax.random.key(0), images, train=True), images, train=False)
    np.testing.assert_array_equal(features[8], features[4].reshape(1, 2, 2, 3, 2, 6).max((2, 4)))


@pytest.mark.parametrize('cell', ['gru', 'lstm'])
def test_renet_equals_a_python_loop_over_rows_then_columns(cell):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    layer = ReNet(4, cell, layers=2)
    variables = layer.init(jax.random.key(0), x, train=True)
    expected = np.stack([recurrence.renet(picture, variables['params'], cell, 2) for picture in x])
    np.testing.assert_allclose(layer.apply(variables, x, train=True), expected, rtol=1e-5, atol=1e-5)


def test_one_renet_layer_lets_every_position_see_every_other():
    x = np.random.default_rng(0).normal(size=(1, 5, 6, 2)).astype(np.float32)
    layer = ReNet(3)
    variables = layer.init(jax.random.key(0), x, train=True)
    gradient = jax.grad(lambda x: layer.apply(variables, x, train=True)[0, 4, 0].sum())(x)
    assert (np.abs(gradient).sum(-1) > 0).all()


def test_attention_pooling_is_the_formula():
    rng = np.random.default_rng(0)
    x, scores = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4)) * 3
    np.testing.assert_allclose(attention_pool(jnp.asarray(x), jnp.asarray(scores)), attention.attention_pool(x, scores), rtol=1e-5)
    np.testing.assert_allclose(attention_pool(jnp.asarray(x), jnp.zeros((2, 3, 4))), x.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_self_attention_without_positions_commutes_with_permutations_and_with_them_does_not():
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 8)).astype(np.float32)
    order = np.random.default_rng(1).permutation(12)

    def permuted(x):
        return x.reshape(1, 12, 8)[:, order].reshape(1, 3, 4, 8)

    for position in (False, True):
        layer = SelfAttention(8, heads=2, position=position)
        variables = layer.init(jax.random.key(0), x, train=True)
        one, other = (permuted(np.asarray(layer.apply(variables, x, train=True))),
                      np.asarray(layer.apply(variables, permuted(x), train=True)))
        assert np.allclose(one, other, atol=1e-5) != position


def test_dropout_acts_in_training_only():
    model = segmenter('plain', 'identity', 'fcn', dropout=0.5)
    images = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    variables = model.init({'params': jax.random.key(0), 'dropout': jax.random.key(1)}, images, train=True)
    still = [model.apply(variables, images, train=False) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    moving = [model.apply(variables, images, train=True, rngs={'dropout': jax.random.key(i)}, mutable=['batch_stats'])[0]
              for i in range(2)]
    assert np.abs(np.asarray(moving[0]) - moving[1]).max() > 1e-3


@pytest.mark.parametrize('module, inputs, words', [
    (ResNet(19), jnp.zeros, 'depth 19.*18, 34, 50, 101, 152'),
    (ConvPool(stem_stride=3), jnp.zeros, 'stem_stride 3'),
    (SelfAttention(10, heads=4), jnp.zeros, 'features 10 does not divide by heads 4'),
])
def test_fields_that_make_no_model_are_named(module, inputs, words):
    with pytest.raises(InputError, match=words):
        shapes(module, inputs((1, 32, 32, 4)))


def test_decoders_name_strides_that_the_encoder_does_not_have():
    features = {4: jnp.zeros((1, 8, 8, 2)), 8: jnp.zeros((1, 4, 4, 2))}
    with pytest.raises(InputError, match='5 widths .* coarsest stride 8; give at most 3'):
        shapes(UNet(), features)
    with pytest.raises(InputError, match='stride 16 is not among the strides of the encoder, 4, 8'):
        shapes(FCN(stride=16), features)
