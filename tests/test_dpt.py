"""DPT: stages of a transformer or a pyramid, at any size; parity is in test_parity.py."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.decoders.dpt import DPT
from jaxseg.errors import InputError
from jaxseg.layers.stages import Stage

NARROW = dict(widths=(3, 4, 5, 6), features=8)


def shapes(decoder, strides, size=(64, 96), channels=4, class_features=False):
    stages = tuple(
        Stage(stride, jax.ShapeDtypeStruct((2, size[0] // stride, size[1] // stride, channels),
                                           jnp.bfloat16), class_features) for stride in strides)
    return jax.eval_shape(
        lambda stages: decoder.init_with_output(jax.random.key(0), stages, train=False), stages)


def test_it_has_the_parameters_of_transformers():
    """Of dpt-large-ade without the unit that has no input, and without the 1x1 head."""
    _, variables = shapes(DPT(readout='project'), [16] * 4, channels=2048, class_features=True)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == 38_421_504


@pytest.mark.parametrize('strides, size, factors, result', [
    ((16,) * 4, (64, 96), (4, 2, 1, -2), (32, 48)),
    ((16,) * 4, (80, 48), (4, 2, 1, -2), (40, 24)),  # 5 x 3 patches
    ((14,) * 4, (70, 98), (4, 2, 1, -2), (40, 56)),
    ((2, 4, 8, 16, 32), (64, 96), (1, 1, 1, 1), (32, 48)),
    ((2, 4, 8, 8, 8), (64, 96), (1, 1, -2, -4), (32, 48)),
    ((1, 2, 4, 8), (64, 96), (-2, -2, -2, -2), (64, 96))], ids=str)
def test_stages_become_a_pyramid_and_the_result_has_half_its_finest_stride(
        strides, size, factors, result):
    out, variables = shapes(DPT(**NARROW), strides, size)
    assert out.shape == (2, *result, 8) and out.dtype == jnp.bfloat16
    for index, (factor, width) in enumerate(zip(factors, NARROW['widths'], strict=True)):
        resize = variables['params'].get(f'reassemble{index}_resize', {})
        kernels = {name: leaf.shape for name, leaf in resize.items() if name != 'bias'}
        assert kernels == ({} if factor == 1 else {'kernel': (3, 3, width, width)} if factor < 0
                           else {'transposed_kernel': (factor, factor, width, width)})


def test_the_class_token_is_projected_where_it_is_asked_for():
    _, variables = shapes(DPT(**NARROW, readout='project'), [16] * 4, channels=10,
                          class_features=True)
    assert variables['params']['readout2']['kernel'].shape == (10, 5)
    assert variables['params']['reassemble2_project']['kernel'].shape == (1, 1, 5, 5)


@pytest.mark.parametrize('strides, message', [
    ((16, 16, 16), 'decoder: -4 is not a stage of this encoder, which has 3'),
    ((6,) * 4, 'decoder: stage -1 of the encoder, of stride 6, cannot be resized to stride 16')])
def test_stages_that_do_not_suit_are_named(strides, message):
    with pytest.raises(InputError, match=message):
        shapes(DPT(**NARROW), strides)


@pytest.mark.parametrize('readout, class_features, words', [
    ('project', False, "'project', .* has no class token .*readout='ignore'.*class_features=True"),
    ('add', False, "'add', .* has no class token"),
    ('ignore', True, "'ignore', .* has a class token .*readout='project'.*class_features=False")])
def test_a_readout_that_does_not_suit_the_features_is_named(readout, class_features, words):
    with pytest.raises(InputError, match=f'^decoder.readout: {words}'):
        shapes(DPT(**NARROW, readout=readout), [16] * 4, channels=5, class_features=class_features)
