"""Convolutions against a loop over output pixels and against XLA's own gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.layers import conv_gradients
from jaxseg.layers.conv import Conv, ConvTranspose, convolve
from jaxseg.layers.resize import upsample_nearest
from jaxseg.layers.upsample_conv import UpsampleConv, convolve_upsampled
from tests.convolutions import assert_equal_vjps, convolutions_of, reference
from tests.variables import random, random_variables


def slow_convolution(x, kernel, margin, stride, dilation, groups):
    """Every output pixel by itself, zeros around the image."""
    x = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    size = kernel.shape[0]
    reach = (size - 1) * dilation + 1
    height, width = ((side - reach) // stride + 1 for side in x.shape[1:3])
    out = np.zeros((x.shape[0], height, width, kernel.shape[-1]))
    inside, outside = kernel.shape[2], kernel.shape[3] // groups
    for i, j, group in np.ndindex(height, width, groups):
        patch = x[:, i * stride:i * stride + reach:dilation, j * stride:j * stride + reach:dilation]
        of_group = slice(group * outside, (group + 1) * outside)
        channels = patch[..., group * inside:(group + 1) * inside]
        out[:, i, j, of_group] = np.einsum('bhwc,hwcf->bf', channels, kernel[..., of_group])
    return out


@pytest.mark.parametrize('kernel, stride, dilation, groups', [
    (1, 1, 1, 1), (1, 2, 1, 1), (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (7, 2, 1, 1),
    (3, 1, 1, 4)])
def test_a_convolution_equals_the_loop_with_symmetric_padding(kernel, stride, dilation, groups):
    x = random(2, 8, 9, 4)
    layer = Conv(8, kernel, stride, dilation, groups)
    params = layer.init(jax.random.key(0), x)['params']
    expected = slow_convolution(x, np.asarray(params['kernel']), (kernel - 1) // 2 * dilation,
                                stride, dilation, groups)
    assert expected.shape[1:3] == (-(-8 // stride), -(-9 // stride))
    np.testing.assert_allclose(layer.apply({'params': params}, x), expected, atol=1e-5)


def test_a_convolution_keeps_the_dtype_of_its_input_and_float32_parameters():
    layer, x = Conv(4, bias=True), jnp.ones((1, 5, 5, 2), jnp.bfloat16)
    out, variables = layer.init_with_output(jax.random.key(0), x)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    gradients = jax.grad(lambda variables: layer.apply(variables, x).sum().astype(jnp.float32))
    assert gradients(variables)['params']['kernel'].dtype == jnp.float32


@pytest.mark.parametrize('size, strides, dilation, groups, padding', [
    ((1, 1), (1, 1), (1, 1), 1, ((0, 0), (0, 0))), ((1, 1), (2, 3), (1, 1), 1, ((0, 0), (0, 0))),
    ((1, 1), (2, 1), (1, 1), 1, ((1, 0), (0, 2))), ((1, 1), (2, 2), (1, 1), 2, ((0, 0), (0, 0))),
    ((3, 3), (1, 1), (1, 1), 1, ((1, 1), (1, 1))), ((3, 3), (2, 2), (1, 1), 1, ((1, 1), (1, 1))),
    ((3, 2), (2, 3), (1, 1), 1, ((0, 1), (2, 0))), ((3, 3), (1, 1), (2, 3), 1, ((2, 2), (3, 3))),
    ((3, 3), (2, 2), (2, 2), 2, ((4, 1), (0, 3))), ((3, 3), (1, 1), (1, 1), 2, ((1, 1), (1, 1))),
    ((5, 1), (3, 2), (1, 1), 4, ((2, 2), (0, 0))), ((2, 2), (1, 1), (1, 1), 1, ((3, 4), (5, 2))),
    ((3, 3), (1, 1), (1, 1), 1, ((-1, 1), (1, -2))), ((3, 3), (2, 2), (1, 1), 1, 'SAME'),
    ((2, 3), (1, 1), (1, 2), 1, 'VALID'), ((2, 2), (1, 1), (3, 2), 1, ((1, 1), (1, 1))),
    ((8, 8), (8, 8), (1, 1), 1, ((0, 0), (0, 0)))])
def test_gradients_equal_those_of_xla(size, strides, dilation, groups, padding):
    options = dict(strides=strides, dilation=dilation, groups=groups, padding=padding)
    kernel = random(*size, 4 // groups, 8, seed=1)
    assert_equal_vjps(functools.partial(convolve, **options),
                      functools.partial(reference, **options), random(2, 8, 9, 4), kernel)


@pytest.mark.parametrize('rows', [1, 2, 4])
@pytest.mark.parametrize('window, dilation, margins', [
    (3, 1, (1, 1)), (3, 2, (2, 2)), (5, 1, (0, 3)), (3, 1, (0, 0)), (3, 1, (-1, 1))])
def test_weight_gradients_in_blocks_of_rows_equal_those_of_xla(monkeypatch, rows, window, dilation,
                                                               margins):
    monkeypatch.setattr(conv_gradients, 'BLOCK', rows * 2 * 8 * (4 + 20))
    x, kernel = random(2, 11, 8, 4), random(window, window, 4, 20, seed=1)
    options = dict(padding=(margins, (1, 1)), dilation=(dilation, dilation))
    assert_equal_vjps(functools.partial(convolve, **options),
                      functools.partial(reference, **options), x, kernel)
    jaxpr = str(jax.make_jaxpr(jax.grad(lambda kernel: convolve(x, kernel, **options).sum()))(
        kernel))
    assert jaxpr.count('conv_general_dilated') > 3  # forward, and a block each


def test_a_map_has_no_more_than_so_many_blocks(monkeypatch):
    monkeypatch.setattr(conv_gradients, 'BLOCK', 1)
    images, cotangent = jnp.zeros((4, 100, 3, 2)), jnp.zeros((100, 3, 2, 20))
    assert conv_gradients._rows_of_a_block(images, cotangent) == 7  # 15 blocks, no more than 16


@pytest.mark.parametrize('batch', [3, 5])
def test_weight_gradients_of_an_odd_batch_are_those_of_an_even_one_and_of_an_image(batch):
    x, kernel = random(batch, 6, 7, 4), random(3, 3, 4, 20, seed=1)
    function = functools.partial(convolve, padding=((1, 1), (0, 2)))
    assert_equal_vjps(function, functools.partial(reference, padding=((1, 1), (0, 2))), x, kernel)
    gradient = jax.grad(lambda kernel: function(x, kernel).sum())
    # After the forward pass and the gradient of the input.
    *_, first, second = convolutions_of(jax.make_jaxpr(gradient)(kernel).jaxpr)
    assert [each.invars[1].aval.shape[2] for each in (first, second)] == [batch - 1, 1]


@pytest.mark.parametrize('channels, features', [(20, 5), (4, 5), (16, 16)])
@pytest.mark.parametrize('window, dilation, margins', [
    (3, (1, 1), ((1, 1), (1, 1))), (3, (2, 1), ((0, 3), (2, 1))), (2, (1, 1), ((1, 0), (0, 0)))])
def test_weight_gradients_of_few_features_equal_those_of_xla(channels, features, window, dilation,
                                                             margins):
    options = dict(padding=margins, dilation=dilation)
    x, kernel = random(2, 6, 7, channels), random(window, window, channels, features, seed=1)
    assert_equal_vjps(functools.partial(convolve, **options),
                      functools.partial(reference, **options), x, kernel)
    if window == 3:  # the gradient of 2x2 is a product
        gradient = jax.grad(lambda kernel: convolve(x, kernel, **options).sum())
        *_, last = convolutions_of(jax.make_jaxpr(gradient)(kernel).jaxpr)
        assert last.invars[1].aval.shape[3] == (channels if channels > 16 else 32)


@pytest.mark.parametrize('channels, features, strides, dilation', [
    (129, 128, (1, 1), (1, 1)), (128, 130, (1, 1), (2, 3)), (70, 3, (2, 1), (1, 1))])
def test_gradients_of_many_channels_equal_those_of_xla(channels, features, strides, dilation):
    options = dict(strides=strides, dilation=dilation, padding=((1, 1), (2, 0)))
    kernel = random(3, 3, channels, features, seed=1)
    assert_equal_vjps(functools.partial(convolve, **options),
                      functools.partial(reference, **options), random(2, 6, 7, channels), kernel)


@pytest.mark.parametrize('strides, dilation, padding', [
    ((1, 1), (1, 1), ((1, 1), (1, 1))), ((2, 3), (1, 1), ((1, 1), (0, 2))),
    ((1, 2), (2, 1), ((0, 3), (2, 0))), ((2, 2), (1, 1), ((0, 0), (-1, 1)))])
def test_input_gradients_of_few_positions_equal_those_of_xla(strides, dilation, padding):
    options = dict(strides=strides, dilation=dilation, padding=padding)
    x, kernel = random(2, 6, 4, 70), random(3, 2, 70, 80, seed=1)
    assert_equal_vjps(functools.partial(convolve, **options),
                      functools.partial(reference, **options), x, kernel)
    _, vjp_fn = jax.vjp(lambda x: convolve(x, kernel, **options), x)
    found = jax.make_jaxpr(vjp_fn)(jax.eval_shape(lambda: convolve(x, kernel, **options)))
    assert all(each.invars[1].aval.shape[2] != 80 for each in convolutions_of(found.jaxpr))


@pytest.mark.parametrize('size', [(1, 1), (1, 4), (5, 3)])
def test_a_convolution_of_an_upsampled_map_never_makes_that_map(size):
    def upsampled(x, kernel):
        return reference(upsample_nearest(x, 2), kernel, padding=((1, 1), (1, 1)))

    kernel = random(3, 3, 4, 5, seed=1)
    assert_equal_vjps(convolve_upsampled, upsampled, random(2, *size, 4), kernel)


@pytest.mark.parametrize('features', [4, 5])
def test_a_convolution_beside_skips_is_that_of_the_concatenation(features):
    x, skips = random(2, 3, 4, 6), [random(2, 6, 8, 3, seed=3), random(2, 6, 8, 2, seed=4)]
    layer = UpsampleConv(features)
    kernel = random(3, 3, 11, features, seed=1)

    def layer_of(x, first, second, kernel):
        return layer.apply({'params': {'kernel': kernel}}, x, (first, second))

    def concatenated(x, first, second, kernel):
        return reference(jnp.concatenate([upsample_nearest(x, 2), first, second], -1), kernel,
                         padding=((1, 1), (1, 1)))

    assert_equal_vjps(layer_of, concatenated, x, *skips, kernel)
    made = jax.make_jaxpr(layer_of)(x, *skips, kernel)
    shapes = {value.aval.shape for equation in made.jaxpr.eqns for value in equation.outvars}
    assert ((2, 6, 8, 11) in shapes) == (features == 4)  # four times 4 are too few channels


def test_gradients_in_a_loop_are_convolutions_in_the_layout_of_the_forward_pass():
    """XLA on CPU runs any other layout 20 to 60 times slower in the body of a loop."""
    x, kernel = random(2, 6, 5, 20), random(3, 3, 20, 20, seed=1)

    def loss(x, kernel):
        step = lambda x, _: (convolve(x, kernel, padding=((1, 1), (1, 1))), None)  # noqa: E731
        return jnp.sum(lax.scan(step, x, None, length=2)[0])

    convolutions = list(convolutions_of(jax.make_jaxpr(jax.grad(loss, (0, 1)))(x, kernel).jaxpr))
    assert len(convolutions) == 3
    for params in (equation.params for equation in convolutions):
        numbers = params['dimension_numbers']
        assert (numbers.lhs_spec, numbers.rhs_spec) == ((0, 3, 1, 2), (3, 2, 0, 1))
        assert params['lhs_dilation'] == (1, 1) and params['batch_group_count'] == 1


@pytest.mark.parametrize('kernel, padding, dilation, strides', [
    ((3, 5), ((1, 1), (2, 2)), (1, 1), (1, 1)), ((3, 3), ((3, 3), (2, 2)), (3, 2), (1, 1)),
    ((1, 4), ((0, 0), (0, 0)), (1, 2), (1, 1)), ((9, 3), ((4, 4), (3, 0)), (1, 1), (1, 1)),
    ((2, 2), ((0, 3), (2, 1)), (1, 1), (1, 1)),
    ((3, 3), ((1, 1), (0, 1)), (1, 1), (2, 2)), ((5, 3), ((2, 2), (3, 2)), (2, 3), (2, 3)),
    ((2, 4), ((0, 0), (1, 0)), (1, 1), (1, 4)), ((1, 1), ((0, 0), (0, 0)), (1, 1), (2, 2)),
    ((3, 3), ((-1, 1), (1, -2)), (1, 1), (2, 2))])
def test_a_depthwise_convolution_equals_a_grouped_one(kernel, padding, dilation, strides):
    options = dict(padding=padding, dilation=dilation, groups=3, strides=strides)
    assert_equal_vjps(functools.partial(convolve, **options),
                      functools.partial(reference, **options),
                      random(2, 9, 8, 3), random(*kernel, 1, 3, seed=1))


def test_a_depthwise_convolution_on_cpu_is_a_sum_of_shifted_maps_in_float32():
    x, kernel = jnp.ones((1, 4, 40, 2), jnp.bfloat16), jnp.ones((1, 31, 1, 2))
    convolution = functools.partial(convolve, padding=((0, 0), (0, 0)), groups=2)
    assert 'conv_general_dilated' not in str(jax.make_jaxpr(convolution)(x, kernel))
    # 256 + 1 + ... + 1 would stay 256 in the 8 bits of bfloat16.
    out = convolution(x, kernel.at[0, 0].set(256))
    np.testing.assert_array_equal(np.asarray(out, np.float32), 286)


@pytest.mark.parametrize('kernel, stride, padding', [(4, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_a_transposed_convolution_adds_the_kernel_at_every_position(kernel, stride, padding):
    """y[i * stride + a - padding] += x[i] kernel[a], with the kernel as it is."""
    layer, x = ConvTranspose(3, kernel, stride, padding, bias=True), random(2, 4, 5, 2)
    variables = random_variables(layer, x)
    found = layer.apply(variables, x)
    params = variables['params']
    height, width = ((side - 1) * stride + kernel for side in x.shape[1:3])
    wanted = np.zeros((2, height, width, 3))
    for i, j in np.ndindex(4, 5):
        patch = np.einsum('bc,hwco->bhwo', x[:, i, j], params['transposed_kernel'])
        wanted[:, i * stride:i * stride + kernel, j * stride:j * stride + kernel] += patch
    wanted = wanted[:, padding:height - padding, padding:width - padding] + params['bias']
    np.testing.assert_allclose(found, wanted, atol=1e-5)
