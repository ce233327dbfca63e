"""Explanations: the axioms that each must satisfy, on functions that are known by construction."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.explain.attention_maps import attention_weights, rollout_row
from jaxseg.explain.capture import check_layer, layer_maps, shifted
from jaxseg.explain.heatmap import at_image_size, blend, blend_signed, outlined
from jaxseg.explain.integrated_gradients import integrated_gradients
from jaxseg.explain.seg_grad_cam import seg_grad_cam
from jaxseg.layers.stages import Stage
from tests.variables import random

PATCH = np.s_[2:4, 8:12]  # the red cue, far from the region that is explained
REGION = np.zeros((12, 16), bool)
REGION[9:11, 1:3] = True


class Encoder(nn.Module):
    """Channel 0 is how red a pixel is beyond green, channel 1 its blue: two stages, one strided."""

    @nn.compact
    def __call__(self, x):
        red = jax.nn.relu(x[..., 0] - x[..., 1])
        features = jnp.stack([red, x[..., 2]], -1)
        pooled = nn.avg_pool(features, (2, 2), (2, 2))
        return Stage(1, features), Stage(2, pooled)


class Planted(nn.Module):
    """Class 1 wherever there is red anywhere, class 2 by the blue of the pixel itself."""

    @nn.compact
    def __call__(self, x):
        fine, deep = Encoder(name='encoder')(x)
        red = jnp.broadcast_to(deep.features[..., 0].sum((1, 2), keepdims=True), x.shape[:3])
        return {'logits': jnp.stack([jnp.zeros_like(red), red, fine.features[..., 1]], -1)}


def apply(images):
    return Planted().apply({}, images)


def image_with_a_cue():
    image = np.array(0.2 * random(1, 12, 16, 3))
    image[..., 0] = image[..., 1]  # no red
    image[0][PATCH] = [0.9, 0.1, 0.5]
    return jnp.array(image)


def logits_at(layer):
    run = shifted(apply, layer)

    def found(images, delta):
        features, outputs = run(images, delta)
        return features, outputs['logits']

    return found


def test_grad_cam_is_hand_worked():
    # y = 3 A_0 - A_1 at every place, summed over two pixels: the gradients have the means 2/4 * 3
    # and 2/4 * -1 over four places.
    features = jnp.array([[[[1, 1], [2, 0]], [[0, 4], [1, 6.0]]]])

    def run(images, delta):
        shown = features + delta
        return features, (3 * shown[..., 0] - shown[..., 1])[..., None]

    region = jnp.array([[True, False], [False, True]])
    shape = jax.ShapeDtypeStruct(features.shape, features.dtype)
    found = seg_grad_cam(run, features, shape, 0, region)
    np.testing.assert_allclose(found, [[1.5 - 0.5, 3], [0, 0]])


def test_a_planted_cue_is_where_grad_cam_lies():
    images = image_with_a_cue()
    maps = layer_maps(apply, jax.ShapeDtypeStruct(images.shape, images.dtype))
    assert {name: shape.shape for name, shape in maps.items()} == {'encoder': (1, 6, 8, 2)}
    found = np.array(seg_grad_cam(logits_at('encoder'), images, maps['encoder'], 1, REGION))
    assert (found[1:2, 4:6] > 0).all()
    found[1:2, 4:6] = 0
    assert not found.any()


def test_a_planted_cue_is_where_integrated_gradients_lie():
    images = image_with_a_cue()
    found = integrated_gradients(lambda x: apply(x)['logits'][0][REGION][:, 1].mean(), images,
                                 jnp.zeros_like(images), 32)
    values = np.array(found.values[0])
    assert np.abs(values[PATCH]).sum() > 0
    assert values.sum() == pytest.approx(float(found.score - found.baseline_score), rel=1e-5)
    values[PATCH] = 0
    np.testing.assert_allclose(values, 0, atol=1e-6)


def test_integrated_gradients_of_a_linear_function_are_exact_in_one_step():
    weights, x, baseline = random(4, 5), random(4, 5, seed=1), random(4, 5, seed=2)
    found = integrated_gradients(lambda x: (weights * x).sum(), x, baseline, 1)
    np.testing.assert_allclose(found.values, weights * (x - baseline), rtol=1e-6)


def test_integrated_gradients_are_complete_up_to_an_error_that_shrinks_with_the_steps():
    x, weights = random(30), random(30, 30, seed=1)

    def score(x):
        return jnp.tanh(weights @ x).sum() + jnp.sin(x).prod()

    errors = []
    for steps in (4, 16, 64):
        found = integrated_gradients(score, x, jnp.zeros_like(x), steps)
        errors.append(abs(float(found.values.sum() - found.score + found.baseline_score)))
    assert errors[0] > 1e-3 and errors[1] < errors[0] / 8 and errors[2] < max(errors[1] / 8, 2e-5)


def test_the_gradient_by_a_layer_is_that_by_its_features():
    images = image_with_a_cue()
    run = logits_at('encoder')
    delta = jnp.array(random(1, 6, 8, 2))
    features, logits = run(images, delta)
    np.testing.assert_allclose(features, Encoder().apply({}, images)[1].features)
    # The finer stage, from which class 2 comes, is left as it is.
    np.testing.assert_allclose(logits[..., 2], apply(images)['logits'][..., 2])
    np.testing.assert_allclose(logits[..., 1] - apply(images)['logits'][..., 1],
                               np.full((1, 12, 16), delta[..., 0].sum()), rtol=1e-4)
    with pytest.raises(InputError, match="--layer=encodr: .*did you mean 'encoder'"):
        check_layer('encodr', {'encoder': 1}, '--layer')


def test_attention_weights_are_those_of_the_dense_softmax():
    query, key, bias = random(7, 2, 4), random(5, 2, 4, seed=1), random(2, 7, 5, seed=2)
    # With columns of the identity as values, the results are the weights of four of five keys.
    value = jnp.broadcast_to(jnp.eye(5)[:, None, :4], (5, 2, 4))
    for bias_or_none in (None, jnp.array(bias)):
        dense = jax.nn.dot_product_attention(
            query, key, value, bias_or_none if bias_or_none is None else bias_or_none[None])
        found = attention_weights(query, key, bias_or_none)
        np.testing.assert_allclose(found.sum(-1), np.ones((2, 7)), rtol=1e-6)
        np.testing.assert_allclose(found[..., :4], dense.transpose(1, 0, 2), atol=1e-5)
        one = attention_weights(query[3:4], key, bias_or_none if bias_or_none is None else
                                bias_or_none[:, 3:4])
        np.testing.assert_allclose(one[:, 0], found[:, 3], rtol=1e-6)


def test_a_rollout_row_is_that_of_the_product_of_all_matrices():
    blocks = [(random(6, 2, 4, seed=i), random(6, 2, 4, seed=i + 5)) for i in range(3)]
    product = np.eye(6)
    for query, key in blocks:
        scores = np.einsum('nhd,mhd->hnm', query, key) / 2
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        product = (0.5 * weights.mean(0) + 0.5 * np.eye(6)) @ product
    for index in range(6):
        row = rollout_row(blocks, index)
        np.testing.assert_allclose(row, product[index], rtol=1e-4)
        assert row.sum() == pytest.approx(1, rel=1e-5)


def test_maps_are_brought_to_the_image_between_the_centres_of_their_cells():
    # Cells of 4 pixels with centres at 1.5 and 5.5; the last two columns were padded away.
    found = at_image_size(np.array([[0.0, 4.0]]), (1, 8), (1, 6))
    np.testing.assert_allclose(found, [[0, 0, 0.5, 1.5, 2.5, 3.5]])
    rows = at_image_size(np.array([[0.0], [4.0]]), (8, 1), (6, 1))
    np.testing.assert_allclose(rows, found.T)


def test_pictures_are_bright_at_the_maximum_and_red_for_blue_against():
    image = np.full((3, 4, 3), 100, np.uint8)
    values = np.zeros((3, 4))
    values[1, 1] = 2
    shown = blend(image, values).astype(int)
    assert shown[1, 1].sum() > 2 * shown[0, 0].sum()
    values[2, 2] = -2
    signed = blend_signed(image, values).astype(int)
    assert signed[1, 1, 0] > 200 > signed[1, 1, 2] and signed[2, 2, 2] > 200 > signed[2, 2, 0]
    assert (signed[0, 0] == 60).all() and (blend(image, 0 * values) < 60).all()


def test_the_border_of_a_region_is_white_within_and_black_without():
    region = np.zeros((6, 6), bool)
    region[1:5, 1:5] = True
    found = outlined(np.full((6, 6, 3), 100, np.uint8), region)[..., 0]
    assert (found[2:4, 2:4] == 100).all() and (found[0] == 0).all() and (found[1, 1:5] == 255).all()
