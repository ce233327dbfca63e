"""Every encoder with every decoder that it has the stages for, at any size, by shapes alone."""

import functools
import importlib
import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import pytest

from jaxseg.build import build, parts_of
from jaxseg.errors import InputError
from jaxseg.layers.resize import pad_to_multiple
from jaxseg.training.groups import layer_factors
from tests.recorders import calls_out_of_training
from tests.selection import default_cases

CLASSES = 7
SIZES = ((101, 131), (512, 1024))
# Encoders that end at stride 16, from where four steps of a decoder lead to stride 1, and decoders
# that have five by default.
TRANSFORMERS = ('vit.ViT', 'dinov3.DINOv3')
STRIDE_16 = ('vgg_like.VGGLike', *TRANSFORMERS)
FIVE_STEPS = {name: {'widths': [256, 128, 64, 32]} for name in (
    'unet.UNet', 'unet_plus_plus.UNetPlusPlus', 'manet.MAnet')}
# One encoder for the usual strides: decoders trace the larger size for these.
LARGE = ('resnet.ResNet', 'convnext.ConvNeXt', 'vit.ViT')
# Those and two with a stage at stride 1: the other encoders have the strides of one of these.
ALL_STRIDES = (*LARGE, 'vgg.VGG', 'vgg_like.VGGLike')
# Pairs in which the decoder needs stages of strides that the encoder has not.
REFUSED = {(encoder, decoder) for encoder in TRANSFORMERS for decoder in (
    'deeplab.DeepLabV3Plus', 'fpn.FPN', 'pspnet.PSPNet', 'upernet.UPerNet')}


ENCODERS, DECODERS = list(parts_of('encoder')), list(parts_of('decoder'))


@functools.cache
def encoded(encoder, size, **fields):
    """The encoder, the size of images that a model pads, and its stages for them by shape alone.

    Also the names of its modules and parameters, in the order in which they compute, and the layers
    that are not told that it trains.
    """
    part, names = build('encoder', {'type': encoder, **fields}), []
    images = jax.ShapeDtypeStruct((1, *size, 5), jnp.float32)
    padded = jax.eval_shape(lambda x: pad_to_multiple(x, part.stride), images)

    def encode(x):
        stages, variables = part.init_with_output(jax.random.key(0), x, train=True)
        names.extend(variables['params'])  # what `eval_shape` returns is sorted
        return stages

    with calls_out_of_training() as calls:
        stages = jax.eval_shape(encode, padded)
    return part, padded.shape[1:3], stages, names, calls


@pytest.mark.parametrize('encoder, size', default_cases(
    [(encoder, size) for encoder in ENCODERS for size in SIZES],
    [(encoder, SIZES[0]) for encoder in ENCODERS] + [(encoder, SIZES[1]) for encoder in LARGE]))
def test_stages_are_in_order_of_depth_and_have_the_sizes_of_their_strides(encoder, size):
    part, padded, stages, *_ = encoded(encoder, size)
    strides = [stage.stride for stage in stages]
    assert strides == sorted(strides) and part.stride % strides[-1] == 0
    for stage in stages:
        assert stage.features.shape[:3] == (1, *(side // stage.stride for side in padded))
        assert stage.features.dtype == jnp.float32


@pytest.mark.parametrize('encoder', ENCODERS)
def test_every_layer_of_an_encoder_is_told_that_it_trains(encoder):
    """Else statistics would not move, and stochastic depth would drop nothing."""
    *_, calls = encoded(encoder, SIZES[0])
    assert not calls


@pytest.mark.parametrize('encoder, fields', [
    *((encoder, {}) for encoder in ENCODERS), ('vgg.VGG', {'norm': None})])
def test_groups_of_layers_are_in_the_order_in_which_they_compute(encoder, fields):
    *_, names, _ = encoded(encoder, SIZES[0], **fields)
    # A norm of what a stage gives to the decoder is not on the way to deeper stages.
    names = [name for name in names if not re.fullmatch(r'output\d_norm|norm', name)]
    found = list(layer_factors([f'encoder/{name}/kernel' for name in names], 0.5).values())
    for name, factor, after in zip(names, found, found[1:], strict=False):
        assert after >= factor, name
        if re.match('patches|embed|downsample|transition', name):  # of the first block after it
            assert after == factor, name


@pytest.mark.parametrize('decoder', DECODERS)
@pytest.mark.parametrize('encoder', default_cases(ENCODERS, ALL_STRIDES))
def test_a_decoder_takes_the_stages_or_names_those_that_it_needs(encoder, decoder):
    for size in SIZES if encoder in LARGE else SIZES[:1]:
        _, padded, stages, *_ = encoded(encoder, size)
        fields = FIVE_STEPS.get(decoder, {}) if encoder in STRIDE_16 else {}
        part = build('decoder', {'type': decoder, **fields}, classes=CLASSES)

        def decode(stages, part=part):
            return part.init_with_output(jax.random.key(0), stages, train=False)[0]

        if (encoder, decoder) in REFUSED:
            with pytest.raises(InputError, match='^decoder') as error:
                jax.eval_shape(decode, stages)
            assert all(str(stage.stride) in str(error.value) for stage in stages)
            continue
        features = jax.eval_shape(decode, stages)
        stride = padded[0] // features.shape[1]
        assert features.shape[1:3] == (padded[0] // stride, padded[1] // stride)
        assert stride in {1, 2, 4, 8, 16, 32}


@pytest.mark.parametrize('decoder', DECODERS)
def test_logits_have_the_size_of_the_images_and_every_layer_is_told_that_it_trains(decoder):
    model = build('model', {'type': 'segmentation_model.SegmentationModel',
                            'encoder': {'type': 'vgg_like.VGGLike', 'widths': [4] * 6, 'depth': 1},
                            'decoder': {'type': decoder}}, classes=CLASSES)
    images = jax.ShapeDtypeStruct((2, 101, 131, 3), jnp.float32)
    keys = {name: jax.random.key(0) for name in ('params', 'dropout', 'drop_path')}
    with calls_out_of_training() as calls:
        outputs, variables = jax.eval_shape(
            lambda x: model.init_with_output(keys, x, train=True), images)
    assert not calls
    assert outputs['logits'].shape == (2, 101, 131, CLASSES)
    assert outputs['logits'].dtype == jnp.float32
    assert set(variables['params']) <= {'encoder', 'context', 'decoder', 'head'}


def test_the_benchmark_has_a_row_for_every_part(monkeypatch):
    folder = pathlib.Path(__file__).parents[1] / 'experiments/benchmarks'
    monkeypatch.setattr(sys, 'path', [str(folder), *sys.path])
    zoo = importlib.import_module('zoo')
    assert {entry['type'] for entry in zoo.ENCODERS} == set(ENCODERS)
    assert {entry['type'] for entry in zoo.DECODERS} == set(DECODERS)
    for kind, entries in (('encoder', zoo.ENCODERS), ('decoder', zoo.DECODERS)):
        for entry in entries:
            build(kind, entry, classes=CLASSES)
