"""The contract of a model: any size, any channels, float32 logits at image size."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.axis import mapped_over
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
from jaxseg.layers.head import Head
from jaxseg.layers.stages import deepest
from jaxseg.models.segmentation_model import SegmentationModel
from tests.recorders import Recorder, StageRecorder
from tests.variables import random_variables

CLASSES = 5
ENCODERS = {
    'vgg_like': VGGLike((4, 8, 8), depth=1), 'stem4': VGGLike((4, 8), depth=1, stem_stride=4),
    'resnet': ResNet(18, width=4), 'dilated': ResNet(18, width=4, output_stride=8, norm='group'),
}
CONTEXTS = {
    'identity': Identity(), 'pooling': AttentionPooling(), 'attention': SelfAttention(8, heads=2),
    'gru': ReNet(4), 'lstm': ReNet(4, 'lstm'), 'two': (ReNet(4), AttentionPooling()),
    'ocr': OCR(8, CLASSES),
}
DECODERS = {'fcn': FCN((8,), dropout=0.1), 'unet': UNet((8, 8))}
FAMILIES = ['identity', 'gru', 'attention']


def images(batch: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, height, width, channels)).astype(np.float32)


def small(context: str = 'identity', **fields) -> SegmentationModel:
    encoder = VGGLike((4, 8), depth=1)
    return SegmentationModel(encoder, UNet((4,)), CLASSES, CONTEXTS[context], **fields)


def shapes(model, *shape: int, train: bool = True):
    keys = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda x: model.init_with_output(keys, x, train=train), x)


@functools.partial(jax.jit, static_argnums=0)
def run(model, variables, x):
    return model.apply(variables, x, train=False)['logits']


# Every encoder with every context, every decoder with each of both: the decoders take turns, and
# so do training and evaluation.
COMPOSITIONS = [
    (encoder, context, list(DECODERS)[(row + column) % len(DECODERS)], (row + column) // 2 % 2 == 0)
    for row, encoder in enumerate(ENCODERS) for column, context in enumerate(CONTEXTS)]


@pytest.mark.parametrize('encoder, context, decoder, train', COMPOSITIONS)
def test_every_composition_takes_a_picture_of_101_by_131(encoder, context, decoder, train):
    model = SegmentationModel(ENCODERS[encoder], DECODERS[decoder], CLASSES, CONTEXTS[context])
    channels, dtype = (1, 'bfloat16') if train else (3, 'float32')
    outputs, variables = shapes(model.clone(dtype=dtype), 2, 101, 131, channels, train=train)
    assert set(outputs) == ({'logits', 'auxiliary'} if train else {'logits'})
    logits = outputs['logits']
    assert (logits.shape, logits.dtype) == ((2, 101, 131, CLASSES), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


@pytest.mark.parametrize('context', FAMILIES)
def test_a_model_of_each_family_computes_finite_logits_and_gradients_in_bfloat16(context):
    model, x = small(context, dtype='bfloat16'), images(2, 13, 17, 3)
    variables = random_variables(model, x, train=True)

    def loss(params):
        outputs, _ = model.apply({**variables, 'params': params}, x, train=True,
                                 mutable=['batch_stats'])
        logits = outputs['logits']
        return jnp.sum(logits ** 2), logits

    gradient, logits = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
    assert (logits.shape, logits.dtype) == ((2, 13, 17, CLASSES), jnp.float32)
    for leaf in jax.tree.leaves(gradient):
        assert leaf.dtype == jnp.float32 and bool(jnp.isfinite(leaf).all())
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient['encoder']))


def names(tree, depth: int = 2) -> set[str]:
    """The first names on the paths to the leaves."""
    return {'/'.join(str(key.key) for key in path[:depth])
            for path, _ in jax.tree_util.tree_leaves_with_path(tree)}


def test_context_and_auxiliary_have_fixed_places_in_the_parameter_tree_whatever_their_number():
    _, variables = shapes(small('identity'), 1, 32, 32, 3)
    assert names(variables['params'], 1) == {'encoder', 'decoder', 'head'}
    single, several = (shapes(model, 1, 32, 32, 3)[1]['params'] for model in (
        small('gru', auxiliary=FCN((4,))), small('two', auxiliary=(FCN((4,)), FCN((4,), stage=0)))))
    assert 'layers_0/rows0_forward' in names(single['context'])
    assert names(single['context'], 1) == {'layers_0'}
    assert names(several['context'], 1) == {'layers_0', 'layers_1'}
    assert names(single['auxiliary'], 1) == {'decoders_0', 'heads_0'}
    assert names(several['auxiliary'], 1) == {'decoders_0', 'heads_0', 'decoders_1', 'heads_1'}
    # A model that was cloned or rebuilt from its own fields is the same model.
    clone = small('two', auxiliary=(FCN((4,)), FCN((4,), stage=0))).clone()
    _, again = shapes(clone, 1, 32, 32, 3)
    assert jax.tree.structure(again['params']) == jax.tree.structure(several)


@pytest.mark.parametrize('index, replaced', [(-1, 4), (3, 3), (1, 1)])
def test_a_context_may_replace_any_stage(index, replaced):
    encoder, channels = ResNet(18, width=8, output_stride=8), [8, 8, 16, 32, 64]
    model = SegmentationModel(encoder, StageRecorder(), 3, Recorder(), context_stage=index)
    _, variables = shapes(model, 1, 32, 48, 3)
    seen = variables['params']['context']['layers_0']['scale'].shape
    assert seen == (channels[replaced],)
    # The context doubles the channels.
    channels[replaced] *= 2
    found = [variables['params']['decoder'][f'stage{place}'].shape for place in range(5)]
    assert found == [(number,) for number in channels]


def test_an_auxiliary_decoder_reads_layer3_of_a_dilated_resnet_and_not_the_context():
    encoder = ResNet(50, width=8, output_stride=8)
    model = SegmentationModel(encoder, FCN((4,)), 3, context=Recorder(),
                              auxiliary=FCN((4,), stage=-2))
    _, variables = shapes(model, 1, 32, 32, 3)
    auxiliary = variables['params']['auxiliary']['decoders_0']
    assert auxiliary['conv0']['kernel'].shape[2] == 8 * 4 * 4  # layer3: 4 x 32
    assert variables['params']['decoder']['conv0']['kernel'].shape[2] == 2 * 8 * 8 * 4


def test_a_picture_that_needs_no_padding_equals_the_crop_of_the_padded_one():
    # The border is repeated in both cases, once by the model and once by hand.
    model, x = small(), images(1, 13, 18, 3)
    variables = random_variables(model, x, train=True)
    by_hand = np.pad(x, ((0, 0), (0, 3), (0, 2), (0, 0)), 'edge')
    cropped, whole = (run(model, variables, x) for x in (x, by_hand))
    np.testing.assert_allclose(cropped, whole[:, :13, :18], atol=1e-5)


def test_coarse_logits_are_enlarged_between_pixel_centres_and_cropped():
    model, x = SegmentationModel(VGGLike((4,), depth=1), FCN((4,)), CLASSES), images(1, 7, 6, 3)
    variables = random_variables(model, x, train=True)
    even = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)), 'edge')
    logits = run(model, variables, x)
    np.testing.assert_allclose(logits, run(model, variables, even)[:, :7], atol=1e-5)
    # Outputs at 0.75 and 1.25 of the way: their mean is the middle between two coarse pixels.
    corner = np.asarray(logits[0, :3, 0, 0])
    np.testing.assert_allclose(corner[1] - corner[0], (corner[2] - corner[0]) / 3, atol=1e-5)


@pytest.mark.parametrize('input_scale', [0.5, 0.7])
def test_a_reduced_input_still_gives_logits_of_every_pixel(input_scale):
    outputs, _ = shapes(small(input_scale=input_scale), 2, 101, 131, 3)
    assert outputs['logits'].shape == (2, 101, 131, CLASSES)


def test_auxiliary_decoders_give_logits_in_training_only():
    model, x = small(auxiliary=FCN((4,), norm='group')), images(1, 13, 17, 3)
    variables = random_variables(model, x, train=True)

    def outputs(train):
        return jax.eval_shape(
            lambda x: model.apply(variables, x, train=train, mutable=['batch_stats'])[0], x)

    logits, = outputs(train=True)['auxiliary']
    assert (logits.shape, logits.dtype) == ((1, 13, 17, CLASSES), jnp.float32)
    assert set(outputs(train=False)) == {'logits'}


class Sowing(nn.Module):
    """A context layer whose `regions` are the first channels of its input."""

    @nn.compact
    def __call__(self, x, *, train):
        if train:
            self.sow('auxiliary', 'regions', x[..., :CLASSES])
        return x


def test_what_a_context_layer_sows_is_brought_to_image_size_like_the_logits_themselves():
    # A decoder and a head that pass on the same channels give the same logits.
    class Deepest(nn.Module):
        @nn.compact
        def __call__(self, stages, *, train):
            return deepest(stages).features

    x = images(2, 21, 30, 3)
    model = SegmentationModel(VGGLike((4, 8), depth=1), Deepest(), CLASSES, (Identity(), Sowing()),
                              input_scale=0.7)
    variables = random_variables(model, x, train=True)
    head = np.zeros((3, 3, 8, CLASSES), np.float32)
    head[1, 1, :CLASSES] = np.eye(CLASSES)
    variables['params']['head'] = {'kernel': head, 'bias': np.zeros(CLASSES, np.float32)}
    mutable = ['auxiliary', 'batch_stats']
    outputs, _ = jax.jit(lambda x: model.apply(variables, x, train=True, mutable=mutable))(x)
    regions, = outputs['auxiliary']
    assert regions.shape == (2, 21, 30, CLASSES)
    np.testing.assert_allclose(regions, outputs['logits'], atol=1e-6)


def test_regions_are_outputs_in_training_only_and_only_where_sown_values_are_asked_for():
    model, x = small('ocr', dtype='bfloat16', auxiliary=FCN((4,))), images(2, 21, 30, 3)
    variables = random_variables(model, x, train=True)

    def outputs(train, mutable, **more):
        return jax.eval_shape(
            lambda x: model.apply({**variables, **more}, x, train=train, mutable=mutable)[0], x)

    found = outputs(True, ['auxiliary', 'batch_stats'])['auxiliary']
    for logits in found:
        assert (logits.shape, logits.dtype) == ((2, 21, 30, CLASSES), jnp.float32)
    assert len(found) == 2
    assert len(outputs(True, ['batch_stats'])['auxiliary']) == 1
    assert set(outputs(False, ['auxiliary', 'batch_stats'])) == {'logits'}
    # The variables of `init` hold what it sowed for one image: it is not taken for this call's.
    first = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape),
                         shapes(model, 1, 21, 30, 3)[1]['auxiliary'])
    found = outputs(True, ['auxiliary', 'batch_stats'], auxiliary=first)['auxiliary']
    assert [logits.shape for logits in found] == 2 * [(2, 21, 30, CLASSES)]


def test_initialising_for_evaluation_makes_the_same_parameters_as_for_training():
    model = small('two', auxiliary=FCN((4,)), head=Head(CLASSES, dropout=0.1))
    one, other = (shapes(model, 1, 16, 16, 3, train=train)[1]['params'] for train in (True, False))
    assert jax.tree.map(jnp.shape, one) == jax.tree.map(jnp.shape, other)


def test_dropout_needs_its_key_in_training_only():
    model, x = small(head=Head(CLASSES, dropout=0.5)), images(1, 16, 16, 3)
    variables = random_variables(model, x, train=True)

    @jax.jit
    def train(key):
        outputs, _ = model.apply(variables, x, train=True, mutable=['batch_stats'],
                                 rngs={'dropout': key})
        return outputs['logits']

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

    def mapped(x):
        with mapped_over('devices'):
            return forward(x)

    outputs, updates = jax.jit(forward)(x)
    split, split_updates = jax.pmap(mapped, axis_name='devices')(x.reshape(4, 2, 8, 8, 3))
    logits = split['logits'].reshape(outputs['logits'].shape)
    np.testing.assert_allclose(logits, outputs['logits'], atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[3], b, atol=1e-5),
                 split_updates, updates)


def test_a_head_computes_in_float32_and_starts_near_even_probabilities():
    features = np.random.default_rng(0).normal(size=(1, 6, 6, 64)).astype(np.float32)
    head = Head(19)
    variables = head.init(jax.random.key(0), features, train=False)
    logits = head.apply(variables, features, train=False)
    narrow = head.apply(variables, jnp.asarray(features, jnp.bfloat16), train=False)
    assert narrow.dtype == jnp.float32
    # The product of rounded features in float32: bfloat16 sums would be off by a hundredth.
    rounded = jnp.asarray(features, jnp.bfloat16).astype(jnp.float32)
    expected = head.apply(variables, rounded, train=False)
    np.testing.assert_array_equal(narrow, expected)
    loss = jax.nn.logsumexp(logits, -1) - logits[..., 0]
    assert abs(float(loss.mean()) / np.log(19) - 1) < 0.05
    with pytest.raises(InputError, match='head.kernel: 2'):
        Head(3, 2).init(jax.random.key(0), features, train=False)
