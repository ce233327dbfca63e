"""`jaxseg explain`: what it writes, attention of every model that has it, and what is refused."""

import re
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.commands import main
from jaxseg.commands.explanations import Explainer
from jaxseg.context.identity import Identity
from jaxseg.context.self_attention import SelfAttention
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from jaxseg.explain.attention_maps import attention_weights
from jaxseg.layers.attention import sow_attention
from jaxseg.layers.remat import call_block
from tests import runs
from tests.variables import random


@pytest.fixture(scope='module')
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp('image') / 'a.png'
    runs.write_image(path, 19, 27, 3)
    return path


def explainer(model, shape, variables=None, overlapping=False):
    """With a model that takes images as they are."""
    parts = types.SimpleNamespace(model=model, preprocess=lambda batch, key: batch)
    spec = types.SimpleNamespace(overlapping=overlapping)
    return Explainer(types.SimpleNamespace(parts=parts, spec=spec), variables or {},
                     np.zeros(shape))


@pytest.mark.parametrize('arguments, name', [
    (['--class=background'], 'a_grad_cam_background'),
    (['--class=star', '--method=integrated_gradients', '--region=2,3,9,12', '--steps=3'],
     'a_integrated_gradients_star'),
    (['--method=receptive_field', '--position=18,26'], 'a_receptive_field')])
def test_a_picture_and_the_values_at_the_size_of_the_image_are_written(
        trained, image, tmp_path, arguments, name):
    assert main(['explain', f'--workdir={trained}', f'--input={image}', f'--output={tmp_path}',
                 '--checkpoint=latest', *arguments]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f'{name}.png', f'{name}.npy'}
    values = np.load(tmp_path / f'{name}.npy')
    assert (values.shape, values.dtype) == ((19, 27), np.float32) and np.isfinite(values).all()
    # The image and the map side by side, enlarged 14 times, so that they can be looked at.
    assert runs.read_image(tmp_path / f'{name}.png').shape == (14 * 19, 14 * 2 * 27, 3)


class Brightest(nn.Module):
    """The logits of three classes are the channels of the image, as the context gives them."""

    encoder: nn.Module | None = None

    @nn.compact
    def __call__(self, x, *, train):
        return {'logits': Identity(name='context')(x, train=train)}


@pytest.fixture
def explain(monkeypatch, image, tmp_path, capsys):
    """What the command writes and prints of `Brightest`, in place of a trained run."""
    parts = types.SimpleNamespace(model=Brightest(), preprocess=lambda batch, key: batch)
    run = types.SimpleNamespace(
        parts=parts, spec=DatasetSpec('none', ('a', 'b', 'c')), variables=lambda which: (0, {}),
        record=types.SimpleNamespace(value_range=(0, 255), mean=(0.2, 0.4, 0.6)),
        predictor=lambda variables: lambda image: image.argmax(-1))
    monkeypatch.setattr('jaxseg.commands.explain.open_workdir', lambda *_, **__: run)

    def written(*arguments):
        assert main(['explain', '--workdir=none', f'--input={image}', f'--output={tmp_path}/maps',
                     *arguments]) == 0
        file, = (tmp_path / 'maps').glob('*.npy')
        return np.load(file), capsys.readouterr().out

    return written


def test_grad_cam_is_of_the_class_and_of_the_region_where_it_is_predicted(explain, image):
    pixels = runs.read_image(image).astype(float)
    values, _ = explain('--class=b')
    share = (pixels.argmax(-1) == 1).mean()
    np.testing.assert_allclose(values, share * pixels[..., 1], rtol=1e-5)


def test_grad_cam_is_of_the_region_that_is_given(explain, image):
    values, _ = explain('--class=c', '--region=2,3,9,12')
    expected = 7 * 9 / (19 * 27) * runs.read_image(image)[..., 2].astype(float)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_integrated_gradients_are_of_the_class_in_the_region(explain, image):
    values, out = explain('--class=b', '--method=integrated_gradients', '--region=2,3,9,12')
    pixels, expected = runs.read_image(image)[..., 1].astype(float), np.zeros((19, 27))
    expected[2:9, 3:12] = (pixels - 0.4 * 255)[2:9, 3:12] / (7 * 9)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    score = pixels[2:9, 3:12].mean()
    printed = [float(number) for number in re.findall(r'-?\d+\.\d+', out.splitlines()[0])]
    assert printed == pytest.approx([score - 102, score, 102, score - 102], abs=2e-3)


def test_a_receptive_field_is_that_of_the_position(explain):
    values, _ = explain('--method=receptive_field', '--position=18,25')
    assert np.argwhere(values).tolist() == [[18, 25]]


class Rematerialized(nn.Module):
    """An encoder of one block."""

    remat: bool = True

    @nn.compact
    def __call__(self, x):
        return call_block(nn.Dense(3, name='block'), x, self.remat)


def test_grad_cam_is_of_the_features_of_a_rematerialized_block():
    region = np.zeros((5, 6), bool)
    region[1:3, 2:5] = True
    block = {'kernel': jnp.eye(3), 'bias': jnp.array([1.0, 2.0, 3.0])}
    found = explainer(Model(Rematerialized()), (5, 6, 3), {'params': {'encoder': {'block': block}}})
    np.testing.assert_allclose(found.grad_cam(1, region, 'encoder/block'), 2 * region.mean(),
                               rtol=1e-6)


class Lookup(nn.Module):
    """An encoder whose only attention lies, of cell i of a 2 x 3 map, on the cell i + 1."""

    size: tuple | None
    tokens: int = 0
    stride: int = 4

    @nn.compact
    def __call__(self, x):
        key = 40 * jnp.eye(6 + self.tokens)[None, :, None]
        sow_attention(self, jnp.roll(key, -1, 1), key, size=self.size)
        return x


class Model(nn.Module):
    """Nothing but an encoder."""

    encoder: nn.Module
    input_scale: float = 1.0

    def __call__(self, x, *, train):
        return {'logits': self.encoder(x)}


@pytest.mark.parametrize('size, tokens', [((2, 3), 0), (None, 0), (None, 2)])
def test_attention_is_shown_at_the_cell_that_the_position_is_in(size, tokens):
    # An image of 7x11, padded to 8x12: three cells of 4x4 pixels a row.
    found = explainer(Model(Lookup(size, tokens)), (7, 11, 3))
    for position, (row, column) in (((1, 1), (1, 5)), ((3, 8), (5, 1)), ((6, 5), (5, 9))):
        values = found.attention(position, None)['encoder']
        assert values.shape == (7, 11)
        peak = np.unravel_index(values.argmax(), values.shape)
        assert (peak[0] // 4, peak[1] // 4) == (row // 4, column // 4)
        assert values[row, column] > 0.7


def test_attention_of_an_image_that_the_model_makes_smaller_is_at_its_size():
    # 14x22 pixels become 7x11.
    found = explainer(Model(Lookup((2, 3)), input_scale=0.5), (14, 22, 3))
    values = found.attention((6, 17), None)['encoder']
    assert values.shape == (14, 22) and values[10:, :7].min() > values[:6].max()


def test_what_self_attention_sows_is_what_it_computes_with():
    layer = SelfAttention(features=8, heads=2, position='relative')
    x = jnp.array(random(1, 3, 4, 8))
    variables = jax.jit(lambda key: layer.init(key, x, train=False))(jax.random.key(0))
    assert set(variables) == {'params'}
    _, state = jax.jit(lambda variables: layer.apply(
        variables, x, train=False, capture_intermediates=True))(variables)
    state = state['intermediates']
    sown, = state['attention']
    value = state['qkv0']['__call__'][0][0, ..., 2, :, :].reshape(12, 2, 4)
    weights = attention_weights(sown.query[0], sown.key[0], sown.bias[0])
    mixed = jnp.einsum('hnm,mhd->nhd', weights, value)
    out = variables['params']['out0']
    expected = jnp.einsum('nhd,hdc->nc', mixed, out['kernel']) + out['bias'][None]
    np.testing.assert_allclose(state['out0']['__call__'][0].reshape(12, 8), expected, atol=1e-5)
    assert (sown.size, sown.key_size) == ((3, 4), (3, 4))


@pytest.mark.parametrize('encoder, context, expected', [
    ({'type': 'vit.ViT', 'variant': [8, 2, 2], 'patch': 4, 'grid': [2, 2], 'taps': [0, 1]}, [],
     {'encoder/block0': (None, 129, 129), 'encoder/block1': (None, 129, 129)}),
    ({'type': 'dinov3.DINOv3', 'variant': [16, 2, 2, 16], 'patch': 4, 'registers': 2}, [],
     {'encoder/block0': (None, 131, 131), 'encoder/block1': (None, 131, 131)}),
    ({'type': 'mit.MiT'}, [], {'encoder/stage0_block0': ((8, 16), 128, 2),
                               'encoder/stage3_block1': ((1, 2), 2, 2)}),
    ({'type': 'vgg_like.VGGLike', 'widths': [4, 4], 'depth': 1},
     [{'type': 'self_attention.SelfAttention', 'features': 8, 'layers': 2}],
     {'context/layers_0/0': ((8, 16), 128, 128), 'context/layers_0/1': ((8, 16), 128, 128)})])
def test_models_with_attention_have_maps_of_every_block(encoder, context, expected):
    model = build('model', {
        'type': 'segmentation_model.SegmentationModel', 'encoder': encoder, 'context': context,
        'decoder': {'type': 'fcn.FCN', 'widths': [4]}}, classes=2)
    images = jax.ShapeDtypeStruct((1, 32, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    assert 'intermediates' not in variables
    found = jax.eval_shape(
        lambda variables, x: explainer(model, (32, 64, 3), variables)._attentions(x),
        variables, images)
    shapes = {name: (each.size, each.query.shape[1], each.key.shape[1])
              for name, each in found.items()}
    assert shapes.items() >= expected.items()


def test_vit_has_a_rollout_over_all_blocks():
    class Two(nn.Module):
        stride: int = 4

        @nn.compact
        def __call__(self, x):
            return Lookup(None, name='b')(Lookup(None, name='a')(x))

    found = explainer(Model(Two()), (8, 12, 3)).attention((1, 1), None)
    assert list(found) == ['encoder/a', 'encoder/b', 'rollout']
    # A quarter stays in cell 0 and comes two cells further, half is from the next one.
    np.testing.assert_allclose(found['rollout'][1:3, [1, 5, 9]].mean(0), [0.25, 0.5, 0.25],
                               atol=0.13)
    assert list(explainer(Model(Two()), (8, 12, 3)).attention((1, 1), 'encoder/b')) == ['encoder/b']
    with pytest.raises(InputError, match='--layer=encoder/c: '):
        explainer(Model(Two()), (8, 12, 3)).attention((1, 1), 'encoder/c')


class Above(nn.Module):
    """One class, whose logit is the pixel above."""

    def __call__(self, x, *, train):
        return {'logits': jnp.roll(x, 1, 1)}


def test_a_single_class_that_may_overlap_has_a_receptive_field():
    field = explainer(Above(), (5, 6, 1), overlapping=True).receptive_field((3, 2))
    assert np.argwhere(field).tolist() == [[2, 2]]


def test_a_receptive_field_that_needs_too_much_memory_is_refused(monkeypatch):
    monkeypatch.setattr('jaxseg.memory.available_bytes', lambda: 100)
    with pytest.raises(InputError, match='^--input: explaining an image of 5x6 needs .* of memory'):
        explainer(Above(), (5, 6, 1)).receptive_field((3, 2))


@pytest.mark.parametrize('arguments, words', [
    ([], ['--class is missing', 'background']),
    (['--class=stra'], ['--class=stra', "did you mean 'star'"]),
    (['--class=star', '--method=gradcam'], ['--method', 'gradcam']),
    (['--class=star', '--region=0,0,20,5'], ['--region=0,0,20,5', '19x27']),
    (['--class=star', '--region=4,0,4,5'], ['--region=4,0,4,5', 'empty']),
    (['--class=star', '--region=0,0,x,5'], ['--region=0,0,x,5', '4 integers']),
    (['--class=star', '--region=0,0,-1,5'], ['--region=0,0,-1,5', '4 integers']),
    (['--class=star', '--position=19,0'], ['--position=19,0', '18,26']),
    (['--class=star', '--position=1'], ['--position=1', '2 integers']),
    (['--class=star', '--position=1,1', '--region=0,0,1,1'], ['exclude each other']),
    (['--class=star', '--position=1,1', '--layer=no'], ['--layer=no', 'known: context']),
    (['--class=star', '--steps=4'], ['--steps=4', 'no effect', 'grad_cam']),
    (['--class=star', '--method=attention'], ['--class=star', 'no effect']),
    (['--method=receptive_field', '--layer=context'], ['--layer=context', 'no effect']),
    (['--class=star', '--method=integrated_gradients', '--steps=0'], ['--steps=0']),
    (['--method=attention'], ['no attention', 'vit.ViT']),
    (['--class=star', '--config.steps=3'], ['--config.steps', 'no effect']),
    (['--class=star', '--input=none.png'], ['--input=none.png: no such file'])])
def test_bad_options_are_refused_before_anything_is_written(trained, image, tmp_path, arguments,
                                                            words, capfd):
    runs.refused(['explain', f'--workdir={trained}', f'--input={image}',
                  f'--output={tmp_path}/new', *arguments], words, capfd)
    assert not list((tmp_path / 'new').glob('*'))
