"""ConvNeXt: parameters of every size, strides, dilation, rates of stochastic depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.encoders import convnext
from jaxseg.encoders.convnext import ConvNeXt, GlobalResponseNorm
from jaxseg.errors import InputError
from jaxseg.layers import conv
from jaxseg.layers.dropout import DropPath
from tests.selection import default_cases

# Of timm's models without the norm and the classifier after the last stage, by version.
PARAMETERS = {
    'atto': (3_373_880, 3_386_760), 'femto': (4_832_016, 4_847_472), 'pico': (8_531_648, 8_552_256),
    'nano': (14_951_280, 14_981_520), 'tiny': (27_818_592, 27_864_960),
    'small': (49_453_152, 49_547_904), 'base': (87_564_416, 87_690_752),
    'large': (196_227_264, 196_416_768), 'xlarge': (348_143_872, None),
    'huge': (None, 657_467_008)}
RNGS = {'params': jax.random.key(0), 'drop_path': jax.random.key(1)}


def shapes(encoder, channels=3, train=False, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct((2, 64, 96, channels), dtype)
    return jax.eval_shape(lambda x: encoder.init_with_output(RNGS, x, train=train), images)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('variant, version', default_cases(
    [(variant, version) for variant, published in PARAMETERS.items() for version in (1, 2)
     if published[version - 1]], [('atto', 1), ('nano', 2)]))
def test_every_size_has_the_parameters_of_timms(variant, version):
    stages, variables = shapes(ConvNeXt(variant, version))
    assert count(variables['params']) == PARAMETERS[variant][version - 1]
    width = convnext.SIZES[variant][0]
    assert [stage.features.shape for stage in stages] == [
        (2, 64 // stride, 96 // stride, width * stride // 4) for stride in (4, 8, 16, 32)]


@pytest.mark.parametrize('output_stride, strides, convolutions', [
    (16, [4, 8, 16, 16], [(4, 1)] + 2 * [(1, 1)] + [(2, 1)] + 2 * [(1, 1)] + [(2, 1)] + 6 * [(1, 1)]
     + [(1, 1)] + 2 * [(1, 2)]),
    (8, [4, 8, 8, 8], [(4, 1)] + 2 * [(1, 1)] + [(2, 1)] + 2 * [(1, 1)] + [(1, 1)] + 6 * [(1, 2)]
     + [(1, 2)] + 2 * [(1, 4)])])
def test_later_stages_dilate_at_the_output_stride(monkeypatch, output_stride, strides,
                                                  convolutions):
    seen, original = [], conv.convolve

    def watch(x, kernel, *, strides, dilation, **options):
        seen.append((strides[0], dilation[0]))
        return original(x, kernel, strides=strides, dilation=dilation, **options)

    monkeypatch.setattr(conv, 'convolve', watch)
    encoder = ConvNeXt('atto', output_stride=output_stride)
    stages, variables = shapes(encoder)
    assert [stage.stride for stage in stages] == strides and encoder.stride == output_stride
    assert [stage.features.shape[2] for stage in stages] == [96 // stride for stride in strides]
    assert seen == convolutions
    assert count(variables) == PARAMETERS['atto'][0]


def test_any_channels_and_half_precision():
    stages, variables = shapes(ConvNeXt('atto', output_norm=True), 5, dtype=jnp.bfloat16)
    assert variables['params']['stem_conv']['kernel'].shape == (4, 4, 5, 40)
    assert all(stage.features.dtype == jnp.bfloat16 for stage in stages)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    # Besides the five-channel stem, output norms are all that is added.
    assert count(variables) == PARAMETERS['atto'][0] + 2 * 4 * 4 * 40 + 2 * 15 * 40


def test_stochastic_depth_grows_from_zero_to_its_rate(monkeypatch):
    rates = []
    monkeypatch.setattr(convnext, 'DropPath', lambda rate: rates.append(rate) or DropPath(rate))
    shapes(ConvNeXt('atto', drop_path=0.6), train=True)
    np.testing.assert_allclose(rates, np.linspace(0, 0.6, 12))


def test_blocks_are_computed_again_under_the_same_names():
    encoder, images = ConvNeXt('atto', remat=True), jnp.zeros((1, 32, 32, 3))
    variables = shapes(encoder)[1]
    assert jax.tree.structure(variables) == jax.tree.structure(shapes(ConvNeXt('atto'))[1])
    jaxpr = jax.make_jaxpr(lambda values: encoder.apply(values, images, train=True))(variables)
    assert sum('remat' in equation.primitive.name for equation in jaxpr.eqns) == 12


def test_response_norm_of_a_map_by_hand_and_of_zeros():
    x = jnp.array([[3.0, 1.0], [4.0, 0.0]]).reshape(1, 2, 1, 2)  # norms 5 and 1, mean 3
    params = {'scale': jnp.array([2.0, 1.0]), 'bias': jnp.array([0.5, 0.0])}
    y = GlobalResponseNorm().apply({'params': params}, x)
    np.testing.assert_allclose(y.reshape(2, 2), [[3 + 10 + 0.5, 1 + 1 / 3],
                                                 [4 + 2 * 4 * 5 / 3 + 0.5, 0]], rtol=1e-5)
    slope = jax.grad(lambda x: GlobalResponseNorm().apply({'params': params}, x).sum())
    np.testing.assert_array_equal(slope(jnp.zeros((1, 2, 1, 2))), np.ones((1, 2, 1, 2)))


@pytest.mark.parametrize('fields, words', [
    ({'variant': 'tny'}, "encoder.variant: .*tiny"), ({'version': 3}, 'encoder.version'),
    ({'output_stride': 4}, 'encoder.output_stride'), ({'drop_path': 1.0}, 'encoder.drop_path')])
def test_wrong_fields_are_named(fields, words):
    with pytest.raises(InputError, match=words):
        build('encoder', {'type': 'convnext.ConvNeXt', **fields})


def test_layer_scales_start_at_a_millionth():
    block = convnext.Block(1, 0.0, response_norm=False, train=False)
    scale = jax.jit(lambda: block.init(jax.random.key(0), jnp.zeros((1, 2, 2, 3)))[
        'params']['layer_scale'])()
    np.testing.assert_array_equal(scale, np.full(3, 1e-6, np.float32))
