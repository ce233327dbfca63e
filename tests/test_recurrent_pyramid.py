"""The recurrent encoder equals a slow reference, reaches the whole image, and has its counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.encoders import recurrent_pyramid
from jaxseg.encoders.recurrent_pyramid import RecurrentPyramid
from jaxseg.errors import InputError
from jaxseg.layers.dropout import DropPath
from tests.references.recurrent_pyramid import pyramid
from tests.variables import random, random_variables

SMALL = dict(widths=(4, 6), depths=(2, 1))


def shapes(encoder, channels=3, dtype=jnp.float32):
    images = jnp.zeros((2, 64, 96, channels), dtype)
    keys = {'params': jax.random.key(0), 'drop_path': jax.random.key(1)}
    return jax.eval_shape(lambda: encoder.init_with_output(keys, images, train=True))


@pytest.mark.parametrize('cell', ['mingru', 'lstm'])
def test_every_stage_equals_the_slow_reference(cell):
    encoder, x = RecurrentPyramid(**SMALL, cell=cell), random(2, 16, 24, 3)
    variables = random_variables(encoder, x, train=False)
    stages = jax.jit(lambda x: encoder.apply(variables, x, train=False))(x)
    params = jax.tree.map(np.float64, variables['params'])
    truth = pyramid(x, params, **SMALL, cell=cell)
    assert [stage.stride for stage in stages] == [4, 8]
    for stage, features in zip(stages, truth, strict=True):
        np.testing.assert_allclose(stage.features, features, atol=2e-5)


def test_after_rows_and_columns_every_position_depends_on_every_pixel():
    encoder, x = RecurrentPyramid((4,), (2,)), random(1, 16, 24, 3)
    variables = random_variables(encoder, x, train=False)

    def corner(x):
        return encoder.apply(variables, x, train=False)[0].features[0, 0, 0, 0]

    gradient = jax.jit(jax.grad(corner))(x)
    assert (np.abs(gradient).max(-1) > 0).all()


def test_the_default_has_four_stages_and_its_number_of_parameters():
    stages, variables = shapes(RecurrentPyramid(), channels=5)
    assert [(stage.stride, *stage.features.shape) for stage in stages] == [
        (4, 2, 16, 24, 32), (8, 2, 8, 12, 64), (16, 2, 4, 6, 160), (32, 2, 2, 3, 256)]
    assert RecurrentPyramid().stride == 32
    expected, before = 0, 5
    for stage, (width, depth) in enumerate(zip((32, 64, 160, 256), (2, 2, 4, 2), strict=True)):
        kernel = 7 if stage == 0 else 3
        expected += kernel ** 2 * before * width + width + 2 * 2 * width
        scans = 2 * (width + 1) * 2 * width
        gate, out = (width + 1) * 2 * width, (2 * width + 1) * width
        expected += depth * (scans + 2 * (gate + out) + 2 * 2 * width)
        before = width
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == expected


def test_computing_blocks_again_changes_no_gradient_and_keeps_less():
    x = random(1, 16, 24, 3)
    variables = random_variables(RecurrentPyramid(**SMALL), x, train=False)

    def run(remat):
        encoder = RecurrentPyramid(**SMALL, remat=remat)

        def loss(params):
            stages = encoder.apply({'params': params}, x, train=False)
            return sum(jnp.sum(stage.features ** 3) for stage in stages)

        traced = str(jax.make_jaxpr(jax.grad(loss))(variables['params']))
        return jax.jit(jax.grad(loss))(variables['params']), 'remat' in traced

    (plain, no), (again, yes) = run(False), run(True)
    assert yes and not no
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), plain, again)


def test_features_have_the_dtype_of_the_images():
    stages, variables = shapes(RecurrentPyramid(**SMALL), dtype=jnp.bfloat16)
    assert {stage.features.dtype for stage in stages} == {jnp.dtype(jnp.bfloat16)}
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(variables['params'])}
    assert dtypes == {jnp.dtype(jnp.float32)}


def test_stochastic_depth_grows_with_the_blocks(monkeypatch):
    rates = []
    monkeypatch.setattr(recurrent_pyramid, 'DropPath',
                        lambda rate: rates.append(rate) or DropPath(rate))
    shapes(RecurrentPyramid((4, 6), (2, 3), drop_path=0.4))
    np.testing.assert_allclose(rates, np.repeat([0, 0.1, 0.2, 0.3, 0.4], 2), atol=1e-9)


@pytest.mark.parametrize('fields, key', [
    (dict(widths=[4, 6], depths=[1]), 'encoder.depths'), (dict(widths=[], depths=[]), 'depths')])
def test_another_number_of_depths_than_of_widths_is_refused(fields, key):
    with pytest.raises(InputError, match=key):
        shapes(build('encoder', {'type': 'recurrent_pyramid.RecurrentPyramid', **fields}))
