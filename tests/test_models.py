"""The contract of a model: any size, any channels, float32 logits at image size, for every composition of the parts."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.build import build_losses
from jaxseg.context.attention_pooling import AttentionPooling
from jaxseg.context.identity import Identity
from jaxseg.context.ocr import OCR
from jaxseg.context.renet import ReNet
from jaxseg.context.self_attention import SelfAttention
from jaxseg.decoders.fcn import FCN
from jaxseg.decoders.unet import UNet
from jaxseg.encoders.resnet import ResNet
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.errors import InputError
from jaxseg.layers.norm import DATA_AXIS
from jaxseg.models.segmenter import Segmenter
from jaxseg.training.state import TrainState
from jaxseg.training.step import make_train_step
from tests.variables import random_variables

CLASSES = 5
ENCODERS = {
    'plain': VGGLike((4, 8, 8), depth=1), 'stem4': VGGLike((4, 8), depth=1, stem_stride=4),
    'resnet': ResNet(18, width=4), 'dilated': ResNet(18, width=4, output_stride=8, norm='group'),
}
CONTEXTS = {
    'identity': Identity(), 'pooling': AttentionPooling(), 'attention': SelfAttention(8, heads=2),
    'gru': ReNet(4), 'lstm': ReNet(4, 'lstm'), 'ocr': OCR(8, CLASSES), 'two': (ReNet(4), AttentionPooling()),
}
DECODERS = {'fcn': FCN((8,), dropout=0.1), 'unet': UNet((8, 8))}
FAMILIES = ['identity', 'gru', 'attention']


def images(batch: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, height, width, channels)).astype(np.float32)


def small(context: str = 'identity', **fields) -> Segmenter:
    return Segmenter(VGGLike((4, 8), depth=1), CONTEXTS[context], UNet((4,)), CLASSES, **fields)


def shapes(model, *shape: int, train: bool = True):
    keys = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda x: model.init_with_output(keys, x, train=train), x)


@functools.partial(jax.jit, static_argnums=0)
def run(model, variables, x):
    return model.apply(variables, x, train=False)


@pytest.mark.parametrize('encoder, context, decoder', list(itertools.product(ENCODERS, CONTEXTS, DECODERS)))
def test_every_composition_takes_a_picture_of_101_by_131(encoder, context, decoder):
    model = Segmenter(ENCODERS[encoder], CONTEXTS[context], DECODERS[decoder], CLASSES)
    for channels, train, dtype in ((1, True, 'bfloat16'), (3, False, 'float32'), (5, True, 'float32')):
        logits, variables = shapes(model.clone(dtype=dtype), 2, 101, 131, channels, train=train)
        assert (logits.shape, logits.dtype) == ((2, 101, 131, CLASSES), jnp.float32)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


@pytest.mark.parametrize('context', FAMILIES)
def test_a_model_of_each_family_computes_finite_logits_and_gradients_in_bfloat16(context):
    model, x = small(context, dtype='bfloat16'), images(2, 13, 17, 3)
    variables = random_variables(model, x, train=True)

    def loss(params):
        logits, _ = model.apply({**variables, 'params': params}, x, train=True, mutable=['batch_stats'])
        return jnp.sum(logits ** 2), logits

    gradient, logits = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
    assert (logits.shape, logits.dtype) == ((2, 13, 17, CLASSES), jnp.float32)
    for leaf in jax.tree.leaves(gradient):
        assert leaf.dtype == jnp.float32 and bool(jnp.isfinite(leaf).all())
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient['encoder']))


def test_the_parameter_tree_is_encoder_context_decoder_head():
    _, variables = shapes(small('gru'), 1, 32, 32, 3)
    assert set(variables['params']) == {'encoder', 'context', 'decoder', 'head'}
    _, variables = shapes(small('identity'), 1, 32, 32, 3)
    assert set(variables['params']) == {'encoder', 'decoder', 'head'}
    _, variables = shapes(small('two', auxiliary=FCN((4,))), 1, 32, 32, 3)
    assert {name.split('_')[0] for name in variables['params']} == {'encoder', 'context', 'decoder', 'head', 'auxiliary'}


def test_a_resnet18_unet_with_11_classes_has_smps_parameters():
    model = Segmenter(ResNet(18), Identity(), UNet((256, 128, 64, 32, 16)), 11)
    logits, variables = shapes(model, 1, 256, 256, 3)
    assert logits.shape == (1, 256, 256, 11)
    # segmentation_models.pytorch's Unet('resnet18', classes=1) has 14,328,209 parameters, 145 of them in its head.
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == 14_328_209 + 10 * 145


def test_a_picture_that_needs_no_padding_equals_the_crop_of_the_padded_one():
    # The network sees the repeated border in both cases, once added by the model and once by hand.
    model, x = small(), images(1, 13, 18, 3)
    variables = random_variables(model, x, train=True)
    by_hand = np.pad(x, ((0, 0), (0, 3), (0, 2), (0, 0)), 'edge')
    cropped, whole = (run(model, variables, x) for x in (x, by_hand))
    np.testing.assert_allclose(cropped, whole[:, :13, :18], atol=1e-5)


def test_coarse_logits_are_enlarged_between_pixel_centres_and_cropped():
    model, x = Segmenter(VGGLike((4,), depth=1), Identity(), FCN((4,)), CLASSES), images(1, 7, 6, 3)
    variables = random_variables(model, x, train=True)
    even = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)), 'edge')
    logits = run(model, variables, x)
    np.testing.assert_allclose(logits, run(model, variables, even)[:, :7], atol=1e-5)
    # Outputs at 0.75 and 1.25 of the way: their halves meet in the middle between two coarse pixels.
    corner = np.asarray(logits[0, :3, 0, 0])
    np.testing.assert_allclose(corner[1] - corner[0], (corner[2] - corner[0]) / 3, atol=1e-5)


@pytest.mark.parametrize('input_scale', [0.5, 0.7])
def test_a_reduced_input_scale_still_gives_logits_of_every_pixel(input_scale):
    logits, _ = shapes(small(input_scale=input_scale), 2, 101, 131, 3)
    assert logits.shape == (2, 101, 131, CLASSES)
    with pytest.raises(InputError, match='input_scale'):
        shapes(small(input_scale=0.0), 1, 32, 32, 3)


def test_the_auxiliary_head_gives_logits_in_training_only():
    model, x = small(auxiliary=FCN((4,), norm='group')), images(1, 13, 17, 3)
    variables = random_variables(model, x, train=True)

    def sown(train):
        return jax.eval_shape(lambda x: model.apply(variables, x, train=train, mutable=['auxiliary', 'batch_stats']), x)[1]

    logits, = sown(train=True)['auxiliary']['logits']
    assert (logits.shape, logits.dtype) == ((1, 13, 17, CLASSES), jnp.float32)
    assert 'auxiliary' not in sown(train=False)


class Sowing(nn.Module):
    """A context layer whose `regions` are the first channels of its input."""

    @nn.compact
    def __call__(self, x, *, train):
        if train:
            self.sow('auxiliary', 'regions', x[..., :CLASSES])
        return x


def test_what_a_context_layer_sows_is_brought_to_image_size_like_the_logits_themselves():
    # A decoder and a head that pass on the same channels give the same picture.
    class Coarsest(nn.Module):
        @nn.compact
        def __call__(self, features, *, train):
            return features[max(features)]

    x = images(2, 21, 30, 3)
    model = Segmenter(VGGLike((4, 8), depth=1), (Identity(), Sowing()), Coarsest(), CLASSES, input_scale=0.7)
    variables = random_variables(model, x, train=True)
    head = np.zeros((3, 3, 8, CLASSES), np.float32)
    head[1, 1, :CLASSES] = np.eye(CLASSES)
    variables['params']['head'] = {'kernel': head, 'bias': np.zeros(CLASSES, np.float32)}
    logits, updates = jax.jit(lambda x: model.apply(variables, x, train=True, mutable=['auxiliary', 'batch_stats']))(x)
    (name, sown), = updates['auxiliary'].items()
    regions, = sown['regions']
    assert name == 'context_1' and regions.shape == (2, 21, 30, CLASSES)
    np.testing.assert_allclose(regions, logits, atol=1e-6)


def test_regions_are_sown_in_training_only_and_only_where_somebody_asks():
    model, x = small('ocr', dtype='bfloat16'), images(2, 21, 30, 3)
    variables = random_variables(model, x, train=True)

    def sown(train, mutable, **more):
        return jax.eval_shape(lambda x: model.apply({**variables, **more}, x, train=train, mutable=mutable), x)[1]

    regions, = sown(True, ['auxiliary', 'batch_stats'])['auxiliary']['context']['regions']
    assert (regions.shape, regions.dtype) == ((2, 21, 30, CLASSES), jnp.float32)
    assert 'auxiliary' not in sown(False, ['auxiliary', 'batch_stats'])
    assert set(sown(True, ['batch_stats'])) == {'batch_stats'}
    # The variables of `init` hold what it sowed; training adds to it, if it may.
    first = shapes(model, 1, 21, 30, 3)[1]['auxiliary']
    assert jax.tree.map(jnp.shape, first) == {'context': {'regions': ((1, 21, 30, CLASSES),)}}
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), first)
    kept = sown(True, ['auxiliary', 'batch_stats'], auxiliary=zeros)['auxiliary']
    assert jax.tree.map(jnp.shape, kept) == {'context': {'regions': ((1, 21, 30, CLASSES), (2, 21, 30, CLASSES))}}
    assert set(sown(True, ['batch_stats'], auxiliary=zeros)) == {'batch_stats'}


def test_the_loss_of_a_step_has_the_term_of_the_regions():
    batch = {'image': images(2, 21, 30, 3), 'label': np.zeros((2, 21, 30), np.int32), 'valid': np.ones((2, 21, 30), bool)}
    model = Segmenter(VGGLike((4,), depth=1), OCR(4, CLASSES), FCN((4,)), CLASSES, auxiliary_weight=0.3)
    variables = random_variables(model, batch['image'], train=True)
    losses, rule = build_losses(dict(cross_entropy=dict(type='cross_entropy.cross_entropy'))), optax.sgd(0.1)
    step = make_train_step(model=model, losses=losses, optimizer=rule, schedule=lambda i: 0.1, normalize=lambda x: x, seed=0)

    def metrics_and_sown(params):
        state = TrainState(jnp.zeros((), jnp.int32), params, variables['batch_stats'], rule.init(params))
        _, updates = model.apply(state.variables, batch['image'], train=True, mutable=['auxiliary', 'batch_stats'])
        return step(state, batch)[1], updates['auxiliary']

    metrics, sown = jax.jit(metrics_and_sown)(variables['params'])
    regions, = sown['context']['regions']
    term = losses.total(losses(regions, batch['label'], batch['valid']))
    assert term > 0.1
    np.testing.assert_allclose(metrics['loss'] - metrics['cross_entropy'], 0.3 * term, rtol=1e-4)


def test_initialising_for_evaluation_makes_the_same_parameters_as_for_training():
    model = small('two', auxiliary=FCN((4,)), dropout=0.1)
    one, other = (shapes(model, 1, 16, 16, 3, train=train)[1]['params'] for train in (True, False))
    assert jax.tree.map(lambda leaf: leaf.shape, one) == jax.tree.map(lambda leaf: leaf.shape, other)


def test_dropout_needs_its_key_in_training_only():
    model, x = small(dropout=0.5), images(1, 16, 16, 3)
    variables = random_variables(model, x, train=True)
    train = jax.jit(lambda key: model.apply(variables, x, train=True, mutable=['batch_stats'], rngs={'dropout': key})[0])
    a, b, again = (train(jax.random.key(i)) for i in (1, 2, 1))
    assert np.abs(np.asarray(a - b)).max() > 1e-3
    np.testing.assert_array_equal(a, again)
    assert run(model, variables, x).shape == (1, 16, 16, CLASSES)


def test_a_model_over_four_pmapped_devices_equals_one_device():
    assert jax.device_count() == 4
    model, x = small('gru'), images(8, 8, 8, 3)
    variables = random_variables(model, x, train=True)

    def forward(x):
        return model.apply(variables, x, train=True, mutable=['batch_stats'])

    logits, updates = jax.jit(forward)(x)
    spread, spread_updates = jax.pmap(forward, axis_name=DATA_AXIS)(x.reshape(4, 2, 8, 8, 3))
    np.testing.assert_allclose(spread.reshape(logits.shape), logits, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[3], b, atol=1e-5), spread_updates, updates)
