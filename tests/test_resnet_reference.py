"""ResNet equals a slow reference at every stage; weights are named as torchvision's."""

import re

import jax
import numpy as np
import pytest

from jaxseg.encoders.resnet import ResNet
from tests.references import resnet as reference

NORM = {'weight': ('params', 'scale'), 'bias': ('params', 'bias'),
        'running_mean': ('batch_stats', 'mean'), 'running_var': ('batch_stats', 'var')}
IMAGES = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype(np.float32)


def our_name(name: str) -> tuple[str, ...]:
    """`layer1.0.downsample.1.running_var` -> `batch_stats, layer1_0, downsample_bn, batch, var`."""
    name = re.sub(r'(layer\d)\.(\d+)', r'\1_\2', name)
    name = name.replace('downsample.0', 'downsample_conv').replace('downsample.1', 'downsample_bn')
    *path, part = name.split('.')
    if 'conv' in path[-1]:
        return ('params', *path, 'kernel')
    collection, leaf = NORM[part]
    return (collection, *path, 'batch', leaf)


def our_variables(weights: dict[str, np.ndarray]) -> dict:
    variables: dict = {}
    for name, value in weights.items():
        *path, leaf = our_name(name)
        place = variables
        for key in path:
            place = place.setdefault(key, {})
        place[leaf] = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    return variables


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize('depth, output_stride', [(18, 32), (18, 8), (50, 32), (50, 8)])
def test_every_stage_equals_the_reference(depth, output_stride):
    encoder, weights = ResNet(depth, 4, output_stride), reference.random_weights(depth, 4)
    variables = our_variables(weights)
    expected = jax.eval_shape(lambda: encoder.init(jax.random.key(0), IMAGES, train=False))
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, expected)
    apply = jax.jit(lambda variables: encoder.apply(variables, IMAGES, train=False))
    stages = apply(variables)
    truth = reference.resnet(weights, IMAGES.transpose(0, 3, 1, 2), depth, output_stride)
    strides = [2, 4, 8, 8, 8] if output_stride == 8 else [2, 4, 8, 16, 32]
    for stage, features, stride in zip(stages, truth, strides, strict=True):
        ours = np.asarray(stage.features).transpose(0, 3, 1, 2)
        assert stage.stride == stride and ours.shape[2:] == (64 // stride, 96 // stride)
        assert largest_difference(ours, features) < 1e-5


@pytest.mark.parametrize('wrong', [
    {'shortcuts': False}, {'pool_margin': (0, 2)}, {'pool_margin': (2, 0)}])
@pytest.mark.parametrize('depth', [18, 50])
def test_a_wrong_network_differs_at_every_stage_after_the_stem(wrong, depth):
    weights, images = reference.random_weights(depth, 4), IMAGES.transpose(0, 3, 1, 2)
    right = reference.resnet(weights, images, depth)
    other = reference.resnet(weights, images, depth, **wrong)
    np.testing.assert_array_equal(right[0], other[0])
    for a, b in zip(right[1:], other[1:], strict=True):
        assert largest_difference(b, a) > 1e-2
