"""Recurrent context: plain loops, receptive fields, flips, patches, gradients, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.context.flattened_scan import FlattenedScan, reverse_odd_rows
from jaxseg.context.four_way_rnn import FourWayRNN
from jaxseg.context.mdrnn import MDRNN2D, skew, unskew
from jaxseg.context.renet import ReNet
from jaxseg.layers.chrono_bias_init import REACH
from jaxseg.layers.merge import Merge, fold, unfold
from tests.references import recurrence, spatial
from tests.references.gradient import central_differences
from tests.selection import default_cases
from tests.variables import random, random_variables


@functools.partial(jax.jit, static_argnums=0)
def forward(layer, params, x):
    return layer.apply({'params': params}, x, train=False)


def run(layer, params: dict, x) -> np.ndarray:
    return np.asarray(forward(layer, params, x))


def made(layer, x) -> dict:
    return random_variables(layer, x, train=False).get('params', {})


def joined(parts: list[np.ndarray], how: str) -> np.ndarray:
    return np.concatenate(parts, -1) if how == 'concat' else sum(parts)


# Equal to plain loops

# `test_recurrence` compares every cell with its loop.
@pytest.mark.parametrize('cell', default_cases(
    ['mgu', 'mingru', 'minlstm', 'rglru', 's6', 'lru'], ['mingru', 's6']))
def test_renet_equals_the_loop_with_every_cell(cell):
    x, layer = random(2, 3, 4, 5), ReNet(3, cell)
    params = made(layer, x)
    np.testing.assert_allclose(run(layer, params, x), recurrence.renet(cell, x, params), rtol=1e-5,
                               atol=1e-5)


@pytest.mark.parametrize('cell, combine', [('gru', 'sum'), ('rglru', 'concat')])
def test_four_way_rnn_equals_the_loop_over_lines_and_positions(cell, combine):
    x, layer = random(2, 3, 4, 5), FourWayRNN(3, cell, combine)
    params = made(layer, x)
    np.testing.assert_allclose(run(layer, params, x),
                               joined(spatial.four_way_rnn(cell, x, params), combine), atol=1e-5)


@pytest.mark.parametrize('cell, order, transposed',
                         [('mingru', 'snake', True), ('gru', 'raster', True),
                          ('lru', 'snake', False)])
def test_flattened_scan_equals_the_loop_along_its_path(cell, order, transposed):
    x, layer = random(2, 3, 4, 5), FlattenedScan(3, cell, order, transposed, 'concat')
    params = made(layer, x)
    expected = joined(spatial.flattened_scan(cell, x, params, order=order, transposed=transposed),
                      'concat')
    np.testing.assert_allclose(run(layer, params, x), expected, atol=1e-5)


@pytest.mark.parametrize('cell', ['linear', 'gru'])
@pytest.mark.parametrize('height, width', default_cases(
    [(3, 4), (5, 2), (1, 3), (1, 1)], [(3, 4), (1, 1)]))
def test_the_diagonal_scan_equals_the_double_loop_over_rows_and_columns(cell, height, width):
    x, layer = random(2, height, width, 5), MDRNN2D(3, cell, 'concat')
    params = made(layer, x)
    expected = joined(spatial.mdrnn(cell, x, params['corners']), 'concat')
    np.testing.assert_allclose(run(layer, params, x), expected, atol=1e-5)


@pytest.mark.parametrize('cell', ['linear', 'gru'])
def test_the_gradient_of_the_diagonal_scan_equals_the_differences_of_the_double_loop(cell):
    x, weights, layer = random(1, 3, 2, 2), random(1, 3, 2, 2, seed=1), MDRNN2D(2, cell)
    params = made(layer, x)
    gradient = jax.jit(jax.grad(
        lambda params, x: jnp.sum(layer.apply({'params': params}, x, train=False) * weights),
        (0, 1)))
    expected = central_differences(
        lambda params, x: np.sum(sum(spatial.mdrnn(cell, x, params['corners'])) * weights),
        params, x)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
                 gradient(params, x), expected)


@pytest.mark.parametrize('merge', ['replace', 'residual', 'gated'])
def test_windows_and_merging_are_those_of_the_loop(merge):
    # Neither side divides by the patch.
    x, layer = random(2, 3, 5, 4), ReNet(3, patch=2, merge=merge)
    params = made(layer, x)
    y = recurrence.renet('gru', spatial.fold(x, 2), params)
    expected = spatial.merge(merge, x, y, params['merge0'], patch=2)
    assert expected.shape == (2, 3, 5, 6 if merge == 'replace' else 4)
    np.testing.assert_allclose(run(layer, params, x), expected, atol=1e-5)


def test_layers_are_the_same_as_a_list_of_single_ones():
    x, both, one = (random(2, 3, 4, 4), ReNet(2, 'mingru', layers=2, merge='residual'),
                    ReNet(2, 'mingru', merge='residual'))
    params = made(both, x)
    first, second = ({name.replace(index, '0'): value for name, value in params.items()
                      if index in name} for index in '01')
    np.testing.assert_allclose(run(both, params, x), run(one, second, run(one, first, x)),
                               atol=1e-5)


# Worked by hand

def test_snake_order_reverses_every_second_row():
    x = jnp.array([[1, 2, 3], [4, 5, 6]])[None, :, :, None]
    assert reverse_odd_rows(x).ravel().tolist() == [1, 2, 3, 6, 5, 4]
    assert reverse_odd_rows(x.swapaxes(1, 2)).ravel().tolist() == [1, 4, 5, 2, 3, 6]
    np.testing.assert_array_equal(reverse_odd_rows(reverse_odd_rows(x)), x)
    assert spatial.path(2, 3, 'snake') == [(0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (1, 0)]
    by_columns = spatial.path(2, 3, 'snake', by_columns=True)
    assert by_columns == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]


def test_windows_of_a_map_of_nine():
    x = jnp.arange(1, 10).reshape(1, 3, 3, 1)
    folded = fold(x, 2)
    assert folded[0].tolist() == [[[1, 2, 4, 5], [3, 3, 6, 6]], [[7, 8, 7, 8], [9, 9, 9, 9]]]
    np.testing.assert_array_equal(unfold(folded, 2)[:, :3, :3], x)
    assert fold(x, 1) is x


def test_the_diagonals_of_a_map_of_six():
    x = jnp.array([[1, 2, 3], [4, 5, 6]])[None, :, :, None]
    assert skew(x)[:, 0, :, 0].tolist() == [[1, 0], [2, 4], [3, 5], [0, 6]]
    np.testing.assert_array_equal(unskew(skew(x)), x)
    tall = random(2, 4, 3, 2)
    np.testing.assert_array_equal(unskew(skew(tall)), tall)


def test_a_linear_corner_with_equal_gates_counts_paths():
    # One third each, v = 9 at (0, 0) only: h[i, j] = 3 * binomial(i + j, i) / 3 ** (i + j).
    x, layer = np.zeros((1, 3, 3, 1), np.float32), MDRNN2D(1, combine='concat')
    x[0, 0, 0] = 9
    params = jax.tree.map(np.zeros_like, made(layer, x))
    params['corners']['input']['kernel'][0, 0, 3] = 1
    out = run(layer, params, x)
    np.testing.assert_allclose(out[0, :, :, 0],
                               [[3, 1, 1 / 3], [1, 2 / 3, 1 / 3], [1 / 3, 1 / 3, 2 / 9]], rtol=1e-6)
    assert not out[..., 1:].any()


def test_a_corner_starts_with_half_lives_of_up_to_a_side_of_the_map():
    x, biases = np.zeros((1, 2, 2, 1), np.float32), {}
    for cell in ('gru', 'linear'):
        layer = MDRNN2D(64, cell)
        bias = jax.jit(lambda layer=layer: layer.init(jax.random.key(0), x, train=False)[
            'params']['corners']['input']['bias'])()
        biases[cell] = np.asarray(bias).reshape(4, -1, 64).swapaxes(0, 1)
    reset, keep, candidate = biases['gru']
    up, left, new, value = biases['linear']
    for bias in (reset, candidate, value):
        np.testing.assert_array_equal(bias, 0)
    np.testing.assert_array_equal(up, left)
    new_share = np.exp(new) / (np.exp(up) + np.exp(left) + np.exp(new))
    for lifetime in (np.exp(keep), 1 / new_share - 1):
        assert 0.999 < lifetime.min() < 2 and REACH - 3 < lifetime.max() < REACH - 1


# What is seen, and symmetries

def depends_on(layer, height: int, width: int) -> np.ndarray:
    """(H * W, H, W): whether pixel n changes the output at a position."""
    count = height * width
    x = np.repeat(random(1, height, width, 2), count + 1, 0)
    for pixel, (i, j) in enumerate(np.ndindex(height, width)):
        x[pixel, i, j] += 1
    out = run(layer, made(layer, x), x)
    return np.abs(out[:-1] - out[-1:]).max(-1) > 1e-6


@pytest.mark.parametrize('layer', [
    ReNet(2, 'mingru'), FlattenedScan(2), FlattenedScan(2, order='raster', transposed=False),
    MDRNN2D(2), MDRNN2D(2, 'gru'), ReNet(2, patch=2, merge='gated')],
    ids=lambda layer: type(layer).__name__)
def test_every_output_depends_on_every_pixel(layer):
    assert depends_on(layer, 3, 4).all()


def test_one_layer_of_four_way_rnn_depends_on_its_row_and_column_only():
    seen = depends_on(FourWayRNN(2), 3, 4)
    for pixel, (i, j) in enumerate(np.ndindex(3, 4)):
        cross = np.zeros((3, 4), bool)
        cross[i, :] = cross[:, j] = True
        np.testing.assert_array_equal(seen[pixel], cross)


def test_a_flipped_image_exchanges_two_directions_of_four_way_rnn():
    x, layer = random(1, 3, 4, 3), FourWayRNN(2, 'mingru')
    params = made(layer, x)
    mirrored = {**params, 'right': params['left'], 'left': params['right']}
    np.testing.assert_allclose(run(layer, mirrored, x[:, :, ::-1])[:, :, ::-1],
                               run(layer, params, x), atol=1e-5)
    upside_down = {**params, 'up': params['down'], 'down': params['up']}
    np.testing.assert_allclose(run(layer, upside_down, x[:, ::-1])[:, ::-1], run(layer, params, x),
                               atol=1e-5)


@pytest.mark.parametrize('cell', ['linear', 'gru'])
def test_a_flipped_image_exchanges_the_corners(cell):
    x, layer = random(1, 3, 4, 3), MDRNN2D(2, cell)
    params = made(layer, x)
    for axes, corners in (((1,), [1, 0, 3, 2]), ((2,), [2, 3, 0, 1]), ((1, 2), [3, 2, 1, 0])):
        exchanged = jax.tree.map(lambda leaf, corners=corners: leaf[np.array(corners)], params)
        flipped = np.flip(run(layer, exchanged, np.flip(x, axes)), axes)
        np.testing.assert_allclose(flipped, run(layer, params, x), atol=1e-5)


@pytest.mark.parametrize('order', ['raster', 'snake'])
def test_a_rotation_by_180_degrees_exchanges_the_directions_of_the_flattened_scan(order):
    # With odd sides the path turned by 180 degrees is the path backward.
    x, layer = random(1, 3, 5, 3), FlattenedScan(2, order=order)
    params = made(layer, x)
    exchanged = {f'{lines}_{way}': params[f'{lines}_{other}'] for lines in ('rows', 'columns')
                 for way, other in (('forward', 'backward'), ('backward', 'forward'))}
    np.testing.assert_allclose(run(layer, exchanged, x[:, ::-1, ::-1])[:, ::-1, ::-1],
                               run(layer, params, x), atol=1e-5)


# Numbers, shapes, memory

def test_the_linear_diagonal_state_stays_between_its_inputs_however_large_the_map():
    x, layer = 100 * random(1, 40, 30, 2), MDRNN2D(2, combine='concat')
    params = made(layer, x)
    weights = params['corners']['input']
    corners = zip(weights['kernel'], weights['bias'], strict=True)
    value = np.stack([x @ kernel + bias for kernel, bias in corners])[..., 6:]
    out = run(layer, params, x).reshape(-1, 4, 2)
    largest = np.abs(value).max((1, 2, 3))
    assert (np.abs(out).max(0) <= largest * 1.0001).all()
    assert (np.abs(out).max(0) > 0.1 * largest).all()


def test_a_patch_and_a_merge_that_change_nothing_have_no_parameters():
    x = random(1, 2, 3, 4)
    assert set(made(ReNet(2), x)) == {
        'rows0_forward', 'rows0_backward', 'columns0_forward', 'columns0_backward'}
    assert set(made(FourWayRNN(2), x)) == {'right', 'left', 'down', 'up'}
    assert Merge().apply({}, x, x) is x


@pytest.mark.parametrize('layer', default_cases([ReNet, FourWayRNN, FlattenedScan], [ReNet]))
def test_checkpoints_change_no_number_and_reach_the_cell(layer):
    x = random(2, 3, 4, 3)
    params = made(layer(2, 'gru'), x)
    np.testing.assert_allclose(run(layer(2, 'gru', remat=2), params, x),
                               run(layer(2, 'gru'), params, x), atol=1e-6)


def test_memory_of_the_diagonal_scan_is_linear_in_the_number_of_positions_whatever_the_shape():
    def temporary(height, width):
        layer, x = MDRNN2D(8), jax.ShapeDtypeStruct((1, height, width, 8), jnp.float32)
        params = jax.eval_shape(lambda x: layer.init(jax.random.key(0), x, train=True), x)
        loss = jax.grad(lambda params, x: layer.apply(params, x, train=True).sum())
        return jax.jit(loss).lower(params, x).compile().memory_analysis().temp_size_in_bytes

    square = temporary(16, 16)
    assert temporary(32, 32) < 4.6 * square
    assert max(temporary(128, 2), temporary(2, 128)) < 1.5 * square
