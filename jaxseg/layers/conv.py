"""Convolution: one function that every convolution of the library calls."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import flax.linen as nn
import jax
from jax import lax

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.conv_gradients import input_gradient, kernel_gradient
from jaxseg.layers.cpu_conv import (
    LAYOUT,
    Pair,
    cpu_conv,
    fold_strides,
    folding_is_faster,
    xla_conv,
)
from jaxseg.layers.dense import add_bias
from jaxseg.layers.depthwise import depthwise, strided_depthwise
from jaxseg.layers.platform import platform

# He et al. 2015 for ReLU networks, scaled by the outputs as torchvision's ResNet does.
KERNEL_INIT = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


def convolve(x: jax.Array, kernel: jax.Array, *, padding: Sequence[Pair] | str,
             strides: Pair = (1, 1), dilation: Pair = (1, 1), groups: int = 1) -> jax.Array:
    """Two-dimensional convolution in the dtype of `x`.

    On CPU it has no forward-mode derivative: reverse mode is defined by `_convolve` and
    `depthwise`. Other platforms use XLA's own gradients.

    Args:
      x: (B, H, W, C).
      kernel: (h, w, C / groups, features).
      padding: zeros before and after the rows, and the columns; or 'SAME' or 'VALID'.

    Returns:
      (B, H', W', features).
    """
    strides, dilation, kernel = tuple(strides), tuple(dilation), kernel.astype(x.dtype)
    if isinstance(padding, str):
        window = [(k - 1) * d + 1 for k, d in zip(kernel.shape[:2], dilation, strict=True)]
        padding = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    padding = tuple((int(before), int(after)) for before, after in padding)
    if platform() != 'cpu':
        return xla_conv(x, kernel, strides, padding, dilation, groups)
    if groups == x.shape[-1] == kernel.shape[-1]:
        if strides == (1, 1):
            return depthwise(x, kernel, padding, dilation)
        return strided_depthwise(x, kernel, strides, padding, dilation)
    if groups == 1 and folding_is_faster(x, kernel, strides, dilation):
        x, kernel, padding = fold_strides(x, kernel, strides[0], padding)
        strides = (1, 1)
    return _convolve(strides, padding, dilation, groups, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _convolve(strides, padding, dilation, groups, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution whose gradients are convolutions in the layout of the forward pass.

    XLA writes them with permuted dimensions. Its CPU compiler brings these into the usual
    layout everywhere but in the body of a loop, where they are 20 to 60 times slower
    (experiments/benchmarks/convolution_in_loop.csv).
    """
    return cpu_conv(x, kernel, strides, padding, dilation, groups)


def _forward(strides, padding, dilation, groups, x, kernel):
    return _convolve(strides, padding, dilation, groups, x, kernel), (x, kernel)


def _backward(strides, padding, dilation, groups, residuals, cotangent):
    x, kernel = residuals
    gradients = input_gradient, kernel_gradient
    return tuple(gradient(strides, padding, dilation, groups, x, kernel, cotangent)
                 for gradient in gradients)


_convolve.defvjp(_forward, _backward)


class Conv(nn.Module):
    """Convolution: (B, H, W, C) -> (B, H / stride, W / stride, features), rounded up.

    C and features divide by `groups`. The padding is PyTorch's, `(kernel - 1) // 2 * dilation` on
    both sides, or with `padding='same'` TensorFlow's, which at stride 2 and an even size has one
    row and column less before than after.
    """

    features: PositiveInt
    kernel: PositiveInt = 3
    stride: PositiveInt = 1
    dilation: PositiveInt = 1
    groups: PositiveInt = 1
    bias: bool = False
    padding: Literal['symmetric', 'same'] = 'symmetric'
    kernel_init: Callable = KERNEL_INIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1] // self.groups, self.features)
        kernel = self.param('kernel', self.kernel_init, shape)
        # Symmetric even at stride 2: 'SAME' would pad one side only and shift the image by a pixel.
        margin = (self.kernel - 1) // 2 * self.dilation
        symmetric = ((margin, margin), (margin, margin))
        x = convolve(x, kernel, padding='SAME' if self.padding == 'same' else symmetric,
                     strides=(self.stride, self.stride), dilation=(self.dilation, self.dilation),
                     groups=self.groups)
        if self.bias:
            bias = self.param('bias', nn.initializers.zeros, (self.features,))
            x = add_bias(x, bias)
        return x


class ConvTranspose(nn.Module):
    """Transposed convolution, PyTorch's: (B, H, W, C) -> (B, H', W', features).

    H' is `(H - 1) * stride - 2 * padding + kernel`: with kernel 4, stride 2 and padding 1 twice H.
    The kernel (h, w, C, features) stands in the order of PyTorch, mirrored against that of
    `jax.lax.conv_transpose`.
    """

    features: PositiveInt
    kernel: PositiveInt = 4
    stride: PositiveInt = 2
    padding: NonNegativeInt = 1
    bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param('transposed_kernel', KERNEL_INIT, shape).astype(x.dtype)
        margin = self.kernel - 1 - self.padding
        x = lax.conv_transpose(x, kernel[::-1, ::-1], (self.stride, self.stride),
                               ((margin, margin), (margin, margin)), dimension_numbers=LAYOUT)
        if self.bias:
            bias = self.param('bias', nn.initializers.zeros, (self.features,))
            x = add_bias(x, bias)
        return x
