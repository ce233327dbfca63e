"""ResNet equals a slow reference at every stage, with weights from a file of torchvision."""

import jax
import numpy as np
import pytest

from jaxseg.encoders.resnet import ResNet
from jaxseg.pretrained import torchvision
from tests.references import resnet as reference
from tests.selection import as_trials
from tests.torch_files import encode

IMAGES = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype(np.float32)


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize('depth, output_stride', [
    (18, 32), (50, 8), *as_trials((18, 8), (50, 32))])
def test_every_stage_equals_the_reference(tmp_path, depth, output_stride):
    encoder, weights = ResNet(depth, 4, output_stride), reference.random_weights(depth, 4)
    (tmp_path / 'resnet.pth').write_bytes(encode(weights))
    expected = jax.eval_shape(lambda: encoder.init(jax.random.key(0), IMAGES, train=False))
    variables = torchvision.ResNet(f'{tmp_path}/resnet.pth').load(expected)
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
