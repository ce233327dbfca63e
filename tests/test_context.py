"""Context layers: slow references, and the symmetries that each one must have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.context.attention_pooling import AttentionPooling, attention_pool
from jaxseg.context.renet import ReNet
from jaxseg.context.self_attention import SelfAttention
from tests.references import attention, recurrence
from tests.references.gradient import central_differences
from tests.variables import random, random_variables, run


def flip(params: dict, pattern: str) -> dict:
    """Parameters with forward and backward exchanged where a name begins with `pattern`."""
    exchange, flipped = {'forward': 'backward', 'backward': 'forward'}, {}
    for name, value in params.items():
        scan, _, direction = name.partition('_')
        flipped[f'{scan}_{exchange[direction]}' if name.startswith(pattern) else name] = value
    return flipped


@pytest.mark.parametrize('cell, layers', [('gru', 1), ('lstm', 1), ('gru', 2)])
def test_renet_equals_the_loop_over_rows_columns_and_positions(cell, layers):
    x, layer = random(2, 3, 4, 5), ReNet(3, cell, layers)
    variables = random_variables(layer, x, train=False)
    expected = recurrence.renet(cell, x, variables['params'], layers=layers)
    assert expected.shape == (2, 3, 4, 6)
    np.testing.assert_allclose(run(layer, variables, x), expected, atol=1e-5)


def test_the_gradient_of_renet_equals_the_differences_of_the_plain_loop():
    x, weights, layer = random(2, 2, 3, 3), random(2, 2, 3, 4, seed=1), ReNet(2)
    params = random_variables(layer, x, train=False)['params']
    gradient = jax.jit(jax.grad(
        lambda params, x: jnp.sum(layer.apply({'params': params}, x, train=False) * weights),
        (0, 1)))
    expected = central_differences(
        lambda params, x: np.sum(recurrence.renet('gru', x, params) * weights), params, x)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
                 gradient(params, x), expected)


@pytest.mark.parametrize('cell', ['gru', 'lstm'])
def test_a_flipped_image_gives_flipped_features_when_renet_exchanges_its_directions(cell):
    x, layer = random(1, 4, 3, 3), ReNet(2, cell)
    params = random_variables(layer, x, train=False)['params']
    plain = run(layer, {'params': params}, x)
    # Upside down: the columns are scanned backwards, so the halves of the outputs are exchanged.
    upside_down = run(layer, {'params': flip(params, 'columns')}, x[:, ::-1])
    np.testing.assert_allclose(upside_down[:, ::-1], np.roll(plain, 2, -1), atol=1e-5)


def test_every_output_of_renet_depends_on_every_pixel():
    # Picture i of the batch differs from the last one in pixel i alone.
    x, layer = np.repeat(random(1, 3, 4, 2), 13, 0), ReNet(3)
    for pixel, (i, j) in enumerate(np.ndindex(3, 4)):
        x[pixel, i, j] += 1
    out = run(layer, random_variables(layer, x, train=False), x)
    assert np.abs(out[:-1] - out[-1:]).max(-1).min() > 1e-6


def test_attention_pooling_is_the_weighted_mean_of_its_formula():
    # Scores 0 and log 3: weights 1/4 and 3/4.
    x = jnp.array([[[[4.0, 0.0], [0.0, 8.0]]]])
    np.testing.assert_allclose(attention_pool(x, jnp.log(jnp.array([[[1.0, 3.0]]]))), [[1, 6]],
                               rtol=1e-6)
    x, scores = random(2, 3, 4, 5), 3 * random(2, 3, 4, seed=1)
    np.testing.assert_allclose(attention_pool(x, scores), attention.attention_pool(x, scores),
                               atol=1e-5)


def test_equal_scores_pool_to_the_mean_and_large_ones_do_not_overflow():
    x = random(2, 3, 4, 5)
    np.testing.assert_allclose(attention_pool(x, np.full((2, 3, 4), 7.0)), x.mean((1, 2)),
                               atol=1e-6)
    scores = np.zeros((2, 3, 4), np.float32)
    scores[:, 1, 2] = 1e5
    np.testing.assert_allclose(attention_pool(x, scores), x[:, 1, 2], atol=1e-6)


@pytest.mark.parametrize('features', [None, 7])
def test_the_pooled_vector_is_given_back_to_every_position(features):
    x, layer = random(2, 3, 4, 5), AttentionPooling(features)
    variables = random_variables(layer, x, train=False)
    linear = {name: lambda x, p=p: x @ p['kernel'] + p['bias']
              for name, p in variables['params'].items()}
    y = attention.attention_pool(x, linear['score'](x)[..., 0])
    own = linear['project'](x) if features else x
    np.testing.assert_allclose(run(layer, variables, x), own + linear['pooled'](y)[:, None, None],
                               atol=1e-5)


@pytest.mark.parametrize('layer',
                         [AttentionPooling(), SelfAttention(8, heads=2, layers=2, position='none')])
def test_attention_without_positions_commutes_with_every_permutation(layer):
    x = random(2, 3, 4, 8)
    variables, order = (random_variables(layer, x, train=False),
                        np.random.default_rng(3).permutation(12))

    def permuted(x):
        return x.reshape(2, 12, 8)[:, order].reshape(2, 3, 4, 8)

    np.testing.assert_allclose(run(layer, variables, permuted(x)),
                               permuted(run(layer, variables, x)), atol=1e-5)


def test_self_attention_with_positions_depends_on_where_a_pixel_is():
    x, layer = np.broadcast_to(random(1, 1, 1, 8), (1, 3, 4, 8)), SelfAttention(8, heads=2)
    out = run(layer, random_variables(layer, x, train=False), x).reshape(12, 8)
    assert (np.abs(out[:, None] - out[None]).max(-1) + np.eye(12)).min() > 1e-3


def test_a_block_of_self_attention_equals_the_formula():
    x, layer = random(2, 2, 3, 8), SelfAttention(8, heads=2, position='none')
    variables = random_variables(layer, x, train=False)
    p, tokens = variables['params'], x.reshape(2, 6, 8)
    qkv = np.einsum('bnc,cshd->sbnhd', norm(tokens, p['norm0_attention']), p['qkv0']['kernel'])
    attended = attention.attend(*(qkv + p['qkv0']['bias'][:, None, None]))
    tokens = tokens + np.einsum('bnhd,hdc->bnc', attended, p['out0']['kernel']) + p['out0']['bias']
    hidden = norm(tokens, p['norm0_mlp']) @ p['mlp0_in']['kernel'] + p['mlp0_in']['bias']
    tokens = (tokens + np.asarray(jax.nn.gelu(hidden)) @ p['mlp0_out']['kernel']
              + p['mlp0_out']['bias'])
    np.testing.assert_allclose(run(layer, variables, x).reshape(2, 6, 8), tokens, atol=1e-4)


def norm(x: np.ndarray, params: dict) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return (centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + 1e-6) * params['scale']
            + params['bias'])


def test_dropout_of_self_attention_works_in_training_only():
    x, layer = random(1, 2, 3, 8), SelfAttention(8, heads=2, dropout=0.5)
    variables = random_variables(layer, x, train=False)
    train = jax.jit(lambda key: layer.apply(variables, x, train=True, rngs={'dropout': key}))
    one, other = (train(jax.random.key(i)) for i in (1, 2))
    assert np.abs(np.asarray(one - other)).max() > 1e-3
    np.testing.assert_array_equal(run(layer, variables, x),
                                  run(SelfAttention(8, heads=2), variables, x))
