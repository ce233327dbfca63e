"""Convolutional recurrent cells: scanned over a clip, whole and in pieces."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers.convolutional_cell import ConvGRU, ConvLSTM
from tests.references import spatial
from tests.variables import random, random_variables


def over_time(cell, **options):
    """The cell over the second axis of a clip (B, T, H, W, C), as a user scans it."""
    return nn.scan(cell, variable_broadcast='params', split_rngs={'params': False}, in_axes=1,
                   out_axes=1)(**options)


@pytest.mark.parametrize('cell, reference',
                         [(ConvGRU, spatial.conv_gru), (ConvLSTM, spatial.conv_lstm)])
def test_a_convolutional_cell_over_a_clip_equals_the_loop_whole_and_in_pieces(cell, reference):
    clip, layer = random(2, 4, 3, 4, 2), over_time(cell, features=3)
    start = cell(3).zero_state(clip[:, 0].shape)
    variables = random_variables(layer, start, clip)
    scan = jax.jit(layer.apply)
    last, out = scan(variables, start, clip)
    np.testing.assert_allclose(out, np.stack(reference(clip, variables['params']), 1), atol=1e-5)
    middle, first = scan(variables, start, clip[:, :2])
    end, second = scan(variables, middle, clip[:, 2:])
    np.testing.assert_array_equal(out, np.concatenate([first, second], 1))
    jax.tree.map(np.testing.assert_array_equal, last, end)


@pytest.mark.parametrize('cell', [ConvGRU, ConvLSTM])
def test_a_convolutional_cell_keeps_its_state_in_float32(cell):
    layer, x = cell(3), jax.ShapeDtypeStruct((2, 1, 5, 4), jnp.bfloat16)
    start = layer.zero_state(x.shape)
    assert not any(leaf.any() for leaf in jax.tree.leaves(start))
    (state, out), _ = jax.eval_shape(
        lambda x: layer.init_with_output(jax.random.key(0), start, x), x)
    assert (out.shape, out.dtype) == ((2, 1, 5, 3), jnp.bfloat16)
    before, after = (jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
                     for tree in (start, state))
    assert before == after


def test_the_forget_gate_of_a_convolutional_lstm_starts_open():
    layer, x = ConvLSTM(2), jnp.zeros((1, 2, 2, 3))
    params = jax.jit(layer.init)(jax.random.key(0), layer.zero_state(x.shape), x)['params']
    assert params['bias'].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
