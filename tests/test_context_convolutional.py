"""Every convolutional context against loops over positions; its gradient and receptive field."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.context.aspp import ASPP
from jaxseg.context.large_kernel_attention import LargeKernelAttention
from jaxseg.context.ocr import OCR, region_features
from jaxseg.context.pyramid_pooling import PyramidPooling
from tests.references import convolutional
from tests.references.gradient import central_differences
from tests.variables import random, random_variables, run

# Each with its loop over positions.
LAYERS = {
    'aspp': (ASPP(4, rates=(1, 3)), functools.partial(convolutional.aspp, rates=(1, 3))),
    'pyramid_pooling': (PyramidPooling(4, bins=(1, 2, 3)),
                        functools.partial(convolutional.pyramid_pooling, bins=(1, 2, 3))),
    'ocr': (OCR(4, classes=3), lambda x, variables: convolutional.ocr(x, variables)[0]),
    'large_kernel_attention': (LargeKernelAttention(4, kernel=5, dilation=2),
                               functools.partial(convolutional.large_kernel_attention, dilation=2)),
}
every_layer = pytest.mark.parametrize('name', LAYERS)


def alive(layer, x, **options) -> dict:
    """Random variables with biases that keep most ReLUs active, even with a few channels."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 1 if path[-1].key == 'bias' else leaf,
        random_variables(layer, x, **options))


@every_layer
@pytest.mark.parametrize('shape', [(2, 5, 7, 6), (1, 1, 4, 4)])
def test_a_layer_equals_the_loop_over_positions(name, shape):
    layer, slow = LAYERS[name]
    x = random(*shape)
    variables = alive(layer, x, train=False)
    expected = slow(x.astype(np.float64), variables)
    assert expected.shape == (*shape[:3], 4) and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(run(layer, variables, x), expected, atol=1e-5)


@every_layer
def test_the_gradient_of_a_layer_equals_the_differences_of_the_loop(name):
    layer, slow = LAYERS[name]
    x, weights = random(1, 2, 3, 3), random(1, 2, 3, 4, seed=1)
    variables = alive(layer, x, train=False)
    statistics = variables['batch_stats']

    def loss(params, x):
        return jnp.sum(layer.apply({'params': params, 'batch_stats': statistics}, x, train=False)
                       * weights)

    gradient = jax.jit(jax.grad(loss, (0, 1)))(variables['params'], x)
    expected = central_differences(
        lambda params, x: np.sum(slow(x, {'params': params, 'batch_stats': statistics}) * weights),
        variables['params'], x)
    # Biases of a softmax's scores cancel; every kernel has a gradient.
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(expected) if leaf.ndim > 1) > 1e-3
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), gradient,
                 expected)


# Receptive fields.

def influence(layer, variables, x: np.ndarray) -> np.ndarray:
    """(pixels, H, W): how much every position changes with the features of one pixel."""
    moved = np.repeat(x, x.shape[1] * x.shape[2] + 1, 0)
    for pixel, (i, j) in enumerate(np.ndindex(*x.shape[1:3])):
        moved[pixel, i, j] += 1
    out = run(layer, variables, moved)
    return np.abs(out[:-1] - out[-1:]).max(-1)


@pytest.mark.parametrize('layer',
                         [ASPP(8, rates=(1,)), PyramidPooling(8, bins=(1, 2)), OCR(8, classes=3)],
                         ids=lambda layer: type(layer).__name__)
def test_every_position_of_a_global_layer_depends_on_every_pixel(layer):
    x = random(1, 5, 7, 4)
    assert influence(layer, alive(layer, x, train=False), x).min() > 1e-5


@pytest.mark.parametrize('kernel, dilation, reach', [(5, 2, 3), (3, 3, 2), (5, 1, 2)])
def test_large_kernel_depends_on_its_reach_in_both_directions_and_no_further(kernel, dilation,
                                                                             reach):
    x, layer = random(1, 5, 9, 4), LargeKernelAttention(4, kernel, dilation)
    changes = influence(layer, alive(layer, x, train=False), x)
    places = np.array(list(np.ndindex(5, 9)))
    distance = np.abs(places[:, None] - places[None]).max(-1).reshape(45, 5, 9)
    assert changes[distance > reach].max() == 0
    assert changes[distance <= reach].min() > 1e-6


def test_the_default_large_kernel_depends_on_11_positions_each_way():
    x, layer = random(1, 1, 24, 2), LargeKernelAttention(2)
    changes = influence(layer, alive(layer, x, train=False), x)[:, 0]
    assert changes[0, 11] > 1e-6 and changes[0, 12] == 0


@pytest.mark.parametrize('layer',
                         [ASPP(4, rates=(1, 3)), PyramidPooling(4, bins=(1, 2, 3)),
                          OCR(4, classes=3)],
                         ids=lambda layer: type(layer).__name__)
def test_a_flipped_image_gives_flipped_features_when_the_kernels_are_flipped(layer):
    # Cells of 3 over 5 rows or 7 columns overlap; the flip must find the same ones.
    x = random(1, 5, 7, 4)
    variables = alive(layer, x, train=False)
    flipped = jax.tree.map(lambda leaf: leaf[::-1, ::-1] if leaf.ndim == 4 else leaf, variables)
    np.testing.assert_allclose(run(layer, flipped, x[:, ::-1, ::-1])[:, ::-1, ::-1],
                               run(layer, variables, x), atol=1e-5)


# Regions.

def test_a_region_is_the_weighted_mean_of_its_formula():
    # Class 0: logits 0 and log 3, weights 1/4 and 3/4. Class 1: equal.
    x, logits = (jnp.array([[[[4.0, 0.0], [0.0, 8.0]]]]),
                 jnp.array([[[[0.0, 5.0], [jnp.log(3.0), 5.0]]]]))
    np.testing.assert_allclose(region_features(x, logits), [[[1, 6], [2, 4]]], rtol=1e-6)
    x, logits = random(2, 3, 4, 5), 3 * random(2, 3, 4, 6, seed=1)
    np.testing.assert_allclose(region_features(x, logits), convolutional.region_features(x, logits),
                               atol=1e-5)


def test_regions_do_not_change_with_the_order_of_the_positions_or_a_constant_and_do_not_overflow():
    x, logits, order = (random(2, 3, 4, 5), random(2, 3, 4, 6, seed=1),
                        np.random.default_rng(3).permutation(12))
    permuted = [array.reshape(2, 12, -1)[:, order].reshape(array.shape) for array in (x, logits)]
    expected = region_features(x, logits)
    np.testing.assert_allclose(region_features(*permuted), expected, atol=1e-6)
    np.testing.assert_allclose(region_features(x, logits + np.float32(7)), expected, atol=1e-5)
    logits[:, 1, 2] = 1e5
    np.testing.assert_allclose(region_features(x, logits), np.repeat(x[:, 1, 2][:, None], 6, 1),
                               atol=1e-6)


def test_the_order_of_the_classes_does_not_matter():
    x, layer, order = random(1, 3, 4, 4), OCR(4, classes=3), np.array([2, 0, 1])
    variables = random_variables(layer, x, train=False)
    params = {**variables['params'],
              'coarse': jax.tree.map(lambda leaf: leaf[..., order], variables['params']['coarse'])}
    np.testing.assert_allclose(run(layer, {**variables, 'params': params}, x),
                               run(layer, variables, x), atol=1e-5)


def test_ocr_sows_its_coarse_logits_in_training_only():
    layer, x = OCR(4, classes=3), random(2, 5, 7, 6)
    variables = random_variables(layer, x, train=True)

    def sown(train, x):
        return layer.apply(variables, x, train=train, mutable=['auxiliary', 'batch_stats'])[1]

    logits, = jax.jit(functools.partial(sown, True))(x)['auxiliary']['regions']
    np.testing.assert_allclose(logits, convolutional.ocr(x, variables)[1], atol=1e-5)
    updates = jax.eval_shape(functools.partial(sown, True), x.astype(jnp.bfloat16))
    logits, = updates['auxiliary']['regions']
    assert (logits.shape, logits.dtype) == ((2, 5, 7, 3), jnp.float32)
    assert 'auxiliary' not in jax.eval_shape(functools.partial(sown, False), x)


# Training.

@every_layer
def test_training_moves_every_running_statistic(name):
    layer, x = LAYERS[name][0], random(2, 5, 7, 6)
    variables = random_variables(layer, x, train=True)
    mutable = ['batch_stats', 'auxiliary']
    _, after = jax.jit(lambda: layer.apply(variables, x, train=True, mutable=mutable))()
    jax.tree.map(lambda a, b: np.testing.assert_array_less(1e-4, np.abs(a - b)),
                 after['batch_stats'], variables['batch_stats'])


@pytest.mark.parametrize('layer', [ASPP(4, rates=(1,)), PyramidPooling(4, bins=(1, 2))],
                         ids=lambda layer: type(layer).__name__)
def test_every_running_variance_of_a_batch_of_one_is_one_of_several_values(layer):
    # A norm of the image's mean would have zero variance here, and divide by almost zero later.
    x = random(1, 5, 7, 4)
    variables = random_variables(layer, x, train=True)
    _, after = jax.jit(lambda: layer.apply(variables, x, train=True, mutable=['batch_stats']))()
    after = after['batch_stats']
    for name, statistics in after.items():
        seen = statistics['batch']['var'] - 0.9 * variables['batch_stats'][name]['batch']['var']
        assert seen.min() > 1e-4, name


def test_group_norm_does_not_normalise_the_mean_of_a_image_away():
    # A mean of 2 channels in 2 groups would become their biases; the projection has 2 in a group.
    layer, x, weights = (PyramidPooling(64, bins=(1, 2), norm='group'), random(1, 3, 5, 4),
                         random(1, 3, 5, 64, seed=1))
    variables = alive(layer, x, train=True)
    gradient = jax.jit(jax.grad(
        lambda params: jnp.sum(layer.apply({'params': params}, x, train=True) * weights)))
    gradient = gradient(variables['params'])
    assert np.abs(gradient['bin1_conv']['kernel']).min() > 1e-3


def test_large_kernel_begins_with_attention_as_large_as_its_input():
    # Kernels scaled by all channels, as for a full convolution, would make it 64 times smaller.
    x, layer = random(1, 24, 24, 128), LargeKernelAttention(128)
    params = jax.jit(lambda: layer.init(jax.random.key(0), x, train=False))()['params']
    for name in ('near', 'far'):
        kernel = np.asarray(params[name]['kernel'])
        assert abs((kernel ** 2).sum((0, 1)).mean() - 1) < 0.1
