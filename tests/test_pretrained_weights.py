"""Weights of other libraries: every tensor used, every variable filled; a run that starts there."""

import hashlib
import json
import types

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxseg.build import build
from jaxseg.commands import main
from jaxseg.commands.assemble import ModelRecord
from jaxseg.commands.origin import Origin
from jaxseg.commands.workdir import open_workdir
from jaxseg.encoders.resnet import ResNet
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.errors import InputError
from jaxseg.pretrained import torchvision
from jaxseg.pretrained.convert import ModelWeights, convert
from jaxseg.pretrained.names import batch_norm, layer, name_of
from jaxseg.training.initialized import Initialized
from tests.references.resnet import random_weights
from tests.runs import STEPS, refused, write_config
from tests.small_weights import Small, small_weights
from tests.torch_files import encode

WIDTH, SMALL = 4, 'tests.small_weights:Small'
# What a checkpoint of torchvision also holds.
REST = {'fc.weight': np.ones((10, 8), np.float32), 'fc.bias': np.ones(10, np.float32),
        'bn1.num_batches_tracked': np.array(3)}
WANTED = {'params': {'conv': {'kernel': jax.ShapeDtypeStruct((3, 5, 2, 7), jnp.float32)},
                     'dense': {'kernel': jax.ShapeDtypeStruct((4, 6), jnp.float32)}}}
RULES = [('layers.{k:conv|dense}.weight', 'params/{k}/kernel')]


def tensors(**changed):
    rng = np.random.default_rng(0)
    found = {'layers.conv.weight': rng.normal(size=(7, 2, 3, 5)).astype(np.float32),
             'layers.dense.weight': rng.normal(size=(6, 4)).astype(np.float32)}
    return {name: value for name, value in (found | changed).items() if value is not None}


def shapes(channels=3, depth=18):
    images = jnp.zeros((1, 32, 32, channels))
    return jax.eval_shape(lambda: ResNet(depth, WIDTH).init(jax.random.key(0), images, train=False))


def saved(tmp_path, weights, name='resnet18.pth'):
    (tmp_path / name).write_bytes(encode(weights))
    return f'{tmp_path}/{name}'


def test_axes_are_those_of_our_kernels():
    found, given = convert('a', tensors(), WANTED, RULES)['params'], tensors()
    for out, inside, row, column in np.ndindex(7, 2, 3, 5):
        assert (found['conv']['kernel'][row, column, inside, out]
                == given['layers.conv.weight'][out, inside, row, column])
    np.testing.assert_array_equal(found['dense']['kernel'], given['layers.dense.weight'].T)


def test_half_precision_is_widened():
    half = tensors()['layers.dense.weight'].astype(ml_dtypes.bfloat16)
    found = convert('a', tensors(**{'layers.dense.weight': half}), WANTED, RULES)
    kernel = found['params']['dense']['kernel']
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, half.T.astype(np.float32))


@pytest.mark.parametrize('changed, words', [
    ({'layers.dense.weight': None}, ['0 tensors', '1 variables', 'params/dense/kernel']),
    ({'layers.new.weight': np.ones(3, np.float32)}, ['1 tensors', 'layers.new.weight', '0 var']),
    ({'bias': np.ones(3, np.float32)}, ['1 tensors', 'bias']),
    ({'layers.dense.weight': np.ones((6, 5), np.float32)},
     ['layers.dense.weight', '(5, 6)', 'params/dense/kernel', '(4, 6)']),
    ({'layers.dense.weight': np.ones(24, np.float32)}, ['layers.dense.weight', '(24,)', '(4, 6)']),
    ({'layers.dense.weight': np.ones((6, 4), np.int64)}, ['layers.dense.weight', 'int64'])])
def test_tensors_that_do_not_fit_are_named(changed, words):
    with pytest.raises(InputError) as error:
        convert('a.pth', tensors(**changed), WANTED, RULES)
    assert str(error.value).startswith('a.pth: ')
    assert all(word in str(error.value) for word in words), error.value


def test_two_tensors_of_one_place_and_unused_ones():
    doubled = tensors(**{'module.layers.dense.weight': np.ones((6, 4), np.float32)})
    rules = [*RULES, ('module.layers.{k:conv|dense}.weight', 'params/{k}/kernel')]
    with pytest.raises(InputError, match=r'1 tensors have no place in the model \(module'):
        convert('a', doubled, WANTED, rules)
    found = convert('a', doubled, WANTED, RULES, unused=('module.*',))
    assert found['params'].keys() == {'conv', 'dense'}


@pytest.mark.parametrize('channels, kernel', [
    (1, lambda rgb: rgb.sum(2, keepdims=True)),
    (2, lambda rgb: rgb[:, :, [0, 1]] * 1.5),
    (3, lambda rgb: rgb),
    (4, lambda rgb: rgb[:, :, [0, 1, 2, 0]] * 0.75),
    (7, lambda rgb: rgb[:, :, [0, 1, 2, 0, 1, 2, 0]] * (3 / 7))])
def test_the_first_convolution_takes_any_number_of_channels(tmp_path, channels, kernel):
    weights = random_weights(18, WIDTH)
    variables = torchvision.ResNet(saved(tmp_path, weights | REST)).load(shapes(channels))
    np.testing.assert_allclose(variables['params']['conv1']['kernel'],
                               kernel(weights['conv1.weight'].transpose(2, 3, 1, 0)), rtol=1e-6)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes(channels))


def test_another_depth_is_refused_with_the_names(tmp_path):
    for depth, other, words in (
            (50, 18, r'165 tensors have no place in the model \(layer1.0.conv3.weight, .*; 0 var'),
            (18, 50, r'0 tensors .*; 165 variables of the model have no tensor \(.*/layer1_0/bn3')):
        path = saved(tmp_path, random_weights(depth, WIDTH) | REST)
        with pytest.raises(InputError, match=words):
            torchvision.ResNet(path).load(shapes(depth=other))


def test_a_model_starts_from_values_where_they_are_given():
    images = jnp.zeros((1, 32, 32, 3))
    model, key = VGGLike((WIDTH,), depth=1), jax.random.key(3)
    own = model.init(key, images, train=False)
    values = {'batch_stats': {'stage0_norm0': {'batch': {'mean': jnp.full(WIDTH, 7.0)}}}}
    found = Initialized(model, values).init(key, images, train=False)
    assert (found['batch_stats']['stage0_norm0']['batch']['mean'] == 7).all()
    mean = own['batch_stats']['stage0_norm0']['batch']['mean']
    found['batch_stats']['stage0_norm0']['batch']['mean'] = mean
    jax.tree.map(np.testing.assert_array_equal, found, own)
    assert Initialized(model, values).stride == model.stride


def arguments(tmp_path, path, *more, workdir='work'):
    encoder = json.dumps({'type': 'vgg_like.VGGLike', 'widths': [4, 8], 'depth': 1})
    return ['train', f'--config={write_config(tmp_path)}', f'--workdir={tmp_path}/{workdir}',
            f'--config.model.encoder={encoder}', '--config.optimizer.learning_rate=1e-30',
            '--config.pretrained=' + json.dumps({'type': SMALL, 'path': path}), *STEPS, *more]


def test_a_run_starts_from_the_weights_and_keeps_their_normalization(tmp_path, capfd):
    weights = small_weights()
    path = saved(tmp_path, weights | REST, 'small.pth')
    # Evaluated is the teacher, which begins as the student.
    command = arguments(tmp_path, path,
                        '--config.algorithm.type=tests.extension.mean_teacher:MeanTeacher')
    assert main(command) == 0
    digest = hashlib.sha256((tmp_path / 'small.pth').read_bytes()).hexdigest()
    assert (f'encoder: weights of {SMALL}, small.pth (SHA-256 {digest[:12]}...), '
            f'licence unknown\n') in capfd.readouterr().out
    run = open_workdir(tmp_path / 'work', trust=['tests'])
    assert (run.record.mean, run.record.std) == (Small.mean, Small.std)
    assert run.spec.mean != Small.mean
    origin = Origin(SMALL, None, {'small.pth': digest}, None)
    assert run.record.pretrained == origin
    _, variables = run.variables('latest')
    params = variables['params']
    encoder = params['encoder']
    for stage in range(2):
        np.testing.assert_allclose(encoder[f'stage{stage}_conv0']['kernel'],
                                   weights[f'{stage}.conv.weight'].transpose(2, 3, 1, 0), rtol=1e-6)
    assert 0 < np.abs(params['head']['kernel']).max() < 0.1
    # The weights are in the checkpoint: a run continues without their file.
    (tmp_path / 'small.pth').unlink()
    assert main([*command, '--config.steps=6']) == 0
    assert ModelRecord.load(tmp_path / 'work/model.json') == run.record


def test_weights_that_cannot_be_used_stop_a_run_before_anything_is_written(tmp_path, capfd):
    cases = [(f'{tmp_path}/none.pth', ['none.pth is not a file']),
             (saved(tmp_path, small_weights((4, 8, 4)), 'b.pth'), ['b.pth', 'no place']),
             (saved(tmp_path, {'a': 3}, 'c.pth'), ['c.pth', "'a' is a int"]),
             ('', ['is not a file'])]
    for path, words in cases:
        refused(arguments(tmp_path, path), words, capfd)
    assert [file.name for file in (tmp_path / 'work').glob('*')] == ['train.lock']


class WholeModel(ModelWeights):
    """Names of a whole model, as another library could have them."""

    rules = (
        *layer('backbone.{i}.{j}.conv', 'encoder/stage{i}_conv{j}'),
        *batch_norm('backbone.{i}.{j}.norm', 'encoder/stage{i}_norm{j}'),
        *layer('decode.conv', 'decoder/conv0'), *batch_norm('decode.norm', 'decoder/norm0'),
        *layer('decode.classifier', 'head'), *layer('extra.conv', 'auxiliary/decoders_0/conv0'),
        *batch_norm('extra.norm', 'auxiliary/decoders_0/norm0'),
        *layer('extra.classifier', 'auxiliary/heads_0'))
    unused = ('extra.*',)


WHOLE = {'type': 'segmentation_model.SegmentationModel',
         'encoder': {'type': 'vgg_like.VGGLike', 'widths': [4], 'depth': 1},
         'decoder': {'type': 'fcn.FCN', 'widths': [8]}, 'auxiliary': {'type': 'fcn.FCN'}}


def whole_model(classes, **changed):
    """Shapes of the variables of a whole model, and a checkpoint of it with other names."""
    model, images = build('model', WHOLE | changed, classes=classes), jnp.zeros((1, 32, 32, 3))
    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    rng, weights = np.random.default_rng(0), {}
    for place, shape in flatten_dict(wanted, sep='/').items():
        value = rng.uniform(1, 2, shape.shape).astype(np.float32)
        name, _ = name_of(place, WholeModel.rules)
        weights[name] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
    return wanted, weights


def test_a_whole_model_is_filled_with_its_auxiliary_decoders_where_it_has_them(tmp_path):
    wanted, weights = whole_model(5)
    path = saved(tmp_path, weights)
    found = WholeModel(path).load(wanted)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, wanted)
    np.testing.assert_array_equal(found['params']['auxiliary']['heads_0']['kernel'][0, 0],
                                  weights['extra.classifier.weight'][:, :, 0, 0].T)
    found = WholeModel(path).load(whole_model(5, auxiliary=[])[0])
    assert found['params'].keys() == {'encoder', 'decoder', 'head'}
    with pytest.raises(InputError, match=r'variables of the model have no tensor \(.*auxiliary'):
        WholeModel(saved(tmp_path, whole_model(5, auxiliary=[])[1])).load(wanted)


def test_a_head_of_other_classes_is_refused_or_left_out(tmp_path):
    (wanted, _), (_, weights) = whole_model(3), whole_model(5)
    path = saved(tmp_path, weights)
    with pytest.raises(InputError, match=r"classifier\.\w+ is for 5 classes and the model has 3; "
                                         r"set pretrained.last_layer='fresh'"):
        WholeModel(path).load(wanted)
    found = WholeModel(path, last_layer='fresh').load(wanted)
    assert found['params'].keys() == {'encoder', 'decoder'} == found['batch_stats'].keys()
    weights.pop('decode.conv.weight')
    with pytest.raises(InputError, match='1 variables .*decoder/conv0/kernel'):
        WholeModel(saved(tmp_path, weights), last_layer='fresh').load(wanted)
    with pytest.raises(InputError, match='pretrained.last_layer: expected one of load, fresh'):
        build('pretrained', {'type': f'{__name__}:WholeModel', 'path': path, 'last_layer': 'new'})


def test_a_run_starts_from_a_whole_model_of_other_classes(tmp_path, capfd):
    _, weights = whole_model(9)
    command = ['train', f'--config={write_config(tmp_path)}', f'--workdir={tmp_path}/work',
               '--config.model=' + json.dumps(WHOLE), '--config.optimizer.learning_rate=1e-30',
               *STEPS]
    source = {'type': f'{__name__}:WholeModel', 'path': saved(tmp_path, weights)}
    refused([*command, '--config.pretrained=' + json.dumps(source)],
            ['for 9 classes and the model has 5', "pretrained.last_layer='fresh'"], capfd)
    source['last_layer'] = 'fresh'
    assert main([*command, '--config.pretrained=' + json.dumps(source)]) == 0
    assert f'model: weights of {__name__}:WholeModel, ' in capfd.readouterr().out
    _, variables = open_workdir(tmp_path / 'work', trust=['tests']).variables('latest')
    params = variables['params']
    for name, part, found in (('backbone.0.0.conv', 'encoder', 'stage0_conv0'),
                              ('decode.conv', 'decoder', 'conv0')):
        np.testing.assert_allclose(params[part][found]['kernel'],
                                   weights[f'{name}.weight'].transpose(2, 3, 1, 0), rtol=1e-6)
    for head in (params['head'], params['auxiliary']['heads_0']):
        assert 0 < np.abs(head['kernel']).max() < 0.1 and np.abs(head['bias']).max() < 1e-20


RW = {'type': 'efficientnet_v2.EfficientNetV2', 'variant': 'rw_s'}
B3 = {'type': 'efficientnet.EfficientNet', 'variant': 'b3'}


@pytest.mark.parametrize('source, fields, key', [
    ('timm.MobileNet', {'encoder': {'type': 'mobilenet.MobileNetV3'}},
     'model.encoder.norm.epsilon: 0.001, .*epsilon=1e-05'),
    *(('torchvision.MobileNetV3Large', {'encoder': {'type': 'mobilenet.MobileNetV3', 'norm': norm}},
       'model.encoder.norm.epsilon: 1e-05, .*epsilon=0.001')
      for norm in ('batch', {'momentum': 0.9})),
    ('timm_efficientnet.EfficientNetV2RW', {'encoder': RW},
     "model.encoder.padding: 'same', .*='symmetric'"),
    ('timm_efficientnet.EfficientNetV2RW', {'encoder': {**RW, 'padding': 'symmetric'}},
     'model.encoder.norm.epsilon: 0.001, .*=1e-05'),
    ('efficientnet_pytorch.EfficientNet', {'encoder': {**B3, 'padding': 'symmetric'}},
     "model.encoder.padding: 'symmetric', .*='same'"),
    ('efficientnet_pytorch.EfficientNet', {'encoder': {**B3, 'norm': 'batch'}},
     'model.encoder.norm.epsilon: 1e-05, .*=0.001'),
    ('smp.Unet', {'encoder': B3}, 'model.encoder.padding_side: None, .*=300'),
    ('transformers_vit.ViT', {'encoder': {'type': 'vit.ViT'}},
     "model.encoder.resampling: 'antialias', .*='plain'"),
    ('smp.DeepLabV3Plus', {'align_corners': True}, 'model.encoder.dilate_first: False, .*=True'),
    ('smp.FPN', {}, 'model.align_corners: False, .*align_corners=True'),
    ('transformers.Segformer', {'align_corners': True}, 'model.align_corners: True, .*=False')])
def test_a_field_that_the_weights_need_otherwise_is_named(source, fields, key):
    weights = build('pretrained', {'type': source, 'path': 'a.pth'})
    entry = {'type': 'segmentation_model.SegmentationModel', 'encoder': {'type': 'resnet.ResNet'},
             'decoder': {'type': 'fcn.FCN'}, **fields}
    with pytest.raises(InputError, match=f'^{key}$'):
        weights.check(build('model', entry, classes=3))


def test_a_model_without_the_field_needs_none():
    weights = build('pretrained', {'type': 'timm.MobileNet', 'path': 'a.pth'})
    for norm in ('batch', {'kind': 'batch', 'epsilon': 1e-5}, None):
        weights.check(types.SimpleNamespace(encoder=types.SimpleNamespace(norm=norm)))
    weights.check(types.SimpleNamespace(encoder=None))
    # Zeros of b0 are the same; the variants of other encoders have other meanings.
    for encoder in ({'type': 'efficientnet.EfficientNet'}, {'type': 'mit.MiT', 'variant': 'b3'}):
        build('pretrained', {'type': 'smp.Unet', 'path': 'a.pth'}).check(
            types.SimpleNamespace(encoder=build('encoder', encoder)))
