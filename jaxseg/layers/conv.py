"""Convolution: one function that every convolution of the library calls."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.cpu_conv import (
    FEW,
    LAYOUT,
    Pair,
    cpu_conv,
    fold_strides,
    folding_is_faster,
    xla_conv,
)
from jaxseg.layers.dense import weight_gradient
from jaxseg.layers.depthwise import depthwise, pad_map, strided_depthwise
from jaxseg.layers.partition import on_many_devices
from jaxseg.layers.platform import platform

# He et al. 2015 for ReLU networks, scaled by the outputs as torchvision's ResNet does.
KERNEL_INIT = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
WIDE = 64  # channels of a matrix product that runs at the speed of a large one
BLOCK = 2 ** 18  # values of a block of rows, 1 MiB in float32
MOST_BLOCKS = 16


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
    gradients = _input_gradient, _kernel_gradient
    return tuple(gradient(strides, padding, dilation, groups, x, kernel, cotangent)
                 for gradient in gradients)


_convolve.defvjp(_forward, _backward)


def _input_gradient(strides, padding, dilation, groups, x, kernel, cotangent) -> jax.Array:
    """The cotangent, spread out by the strides, convolved with the rotated kernel."""
    rows, columns, inputs, outputs = kernel.shape
    if groups == 1 and _positions_are_few(kernel, cotangent):
        return _input_gradient_by_product(strides, padding, dilation, x, kernel, cotangent)
    rotated = kernel[::-1, ::-1].reshape(rows, columns, inputs, groups, outputs // groups)
    rotated = rotated.transpose(0, 1, 4, 3, 2).reshape(
        rows, columns, outputs // groups, groups * inputs)
    margins = []
    for axis in (0, 1):
        before, reach = padding[axis][0], (kernel.shape[axis] - 1) * dilation[axis]
        covered = (cotangent.shape[axis + 1] - 1) * strides[axis] + 1
        margins.append((reach - before, x.shape[axis + 1] - covered + before))
    return cpu_conv(cotangent, rotated, (1, 1), margins, dilation, groups, spacing=strides)


def _positions_are_few(kernel: jax.Array, cotangent: jax.Array) -> bool:
    """Whether the rotation of a kernel would take about as long as the convolution with it."""
    return math.prod(cotangent.shape[:3]) < min(kernel.shape[2:]) and not on_many_devices()


def _input_gradient_by_product(strides, padding, dilation, x, kernel, cotangent) -> jax.Array:
    """What each position of the cotangent gives to its window, added up; no kernel is rotated."""
    rows, columns, inputs, outputs = kernel.shape
    given = lax.dot_general(cotangent.reshape(-1, outputs), kernel.reshape(-1, outputs),
                            (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
    given = given.reshape(*cotangent.shape[:3], rows, columns, inputs)
    total = jnp.zeros(x.shape, jnp.float32)
    for i, j in np.ndindex(rows, columns):
        margins = []
        for axis, tap in enumerate((i, j)):
            first = tap * dilation[axis] - padding[axis][0]
            covered = (cotangent.shape[axis + 1] - 1) * strides[axis] + 1
            margins.append((first, x.shape[axis + 1] - first - covered, strides[axis] - 1))
        total += lax.pad(given[:, :, :, i, j], jnp.float32(0), ((0, 0, 0), *margins, (0, 0, 0)))
    return total.astype(x.dtype)


def _kernel_gradient(strides, padding, dilation, groups, x, kernel, cotangent) -> jax.Array:
    """The input convolved with the cotangent; images are its channels, channels its images."""
    batch, height, width, channels = x.shape
    if groups == 1 and _products_are_faster(strides, kernel):
        return _kernel_gradient_by_products(strides, padding, dilation, x, kernel, cotangent)
    usual = groups == 1 and strides == (1, 1) and not on_many_devices()
    if usual and _features_are_few(batch, kernel):
        return _kernel_gradient_of_few_features(padding, dilation, x, kernel, cotangent)
    if usual and _is_odd(batch):
        return sum(_kernel_gradient(strides, padding, dilation, groups, x[part], kernel,
                                    cotangent[part]) for part in (slice(-1), slice(-1, None)))
    margins = []
    for axis in (0, 1):
        before, reach = padding[axis][0], (kernel.shape[axis] - 1) * dilation[axis]
        covered = (cotangent.shape[axis + 1] - 1) * strides[axis] + 1
        margins.append((before, covered + reach - x.shape[axis + 1] - before))
    # (C / groups, H, W, groups * B): one group of images for every group of channels.
    images = x.reshape(batch, height, width, groups, channels // groups)
    images = images.transpose(4, 1, 2, 3, 0).reshape(
        channels // groups, height, width, groups * batch)
    cotangent = cotangent.transpose(1, 2, 0, 3)
    rows = _rows_of_a_block(images, cotangent)
    if rows >= len(cotangent) or not usual:
        gradient = xla_conv(images, cotangent, dilation, margins, strides, groups)
        return gradient.transpose(1, 2, 0, 3)
    images, reach = pad_map(images, (margins[0], (0, 0))), (kernel.shape[0] - 1) * dilation[0]
    gradient = jnp.zeros((channels, *kernel.shape[:2], kernel.shape[-1]), jnp.float32)
    for start in range(0, len(cotangent), rows):
        part = cotangent[start:start + rows]
        gradient += xla_conv(images[:, start:start + len(part) + reach], part, dilation,
                          ((0, 0), margins[1]), strides, groups)
    return gradient.transpose(1, 2, 0, 3).astype(kernel.dtype)


def _is_odd(batch: int) -> bool:
    """Of several images: XLA takes up to 4 times as long for an odd number of channels."""
    return batch > 1 and batch % 2 == 1


def _features_are_few(batch: int, kernel: jax.Array) -> bool:
    """Whether XLA's fast program takes neither the images, as channels, nor the features."""
    return max(batch, kernel.shape[-1]) <= FEW


def _kernel_gradient_of_few_features(padding, dilation, x, kernel, cotangent) -> jax.Array:
    """With more than 16 features, for which XLA has its fast program: the channels, or zeros.

    With input and cotangent exchanged this is the gradient of the mirrored kernel.
    """
    rows, columns, channels, features = kernel.shape
    if channels <= FEW:
        missing = 2 * FEW - features
        cotangent, kernel = (jnp.pad(part, (*[(0, 0)] * 3, (0, missing)))
                             for part in (cotangent, kernel))
        wide = _kernel_gradient((1, 1), padding, dilation, 1, x, kernel, cotangent)
        return wide[..., :features]
    reach = [(side - 1) * step for side, step in zip((rows, columns), dilation, strict=True)]
    margins = [(far - before, far - after)
               for far, (before, after) in zip(reach, padding, strict=True)]
    mirrored = _kernel_gradient((1, 1), margins, dilation, 1, cotangent,
                                kernel.transpose(0, 1, 3, 2), x)
    return mirrored[::-1, ::-1].transpose(0, 1, 3, 2)


def _rows_of_a_block(images: jax.Array, cotangent: jax.Array) -> int:
    """How many rows of (C, H, W, B) and (H', W', B, features) a convolution of them shall take.

    XLA reads both again for every channel, so what it reads should stay in the cache of a core:
    with blocks the gradient of a kernel takes 0.3 to 0.6 of the time, and the step of a U-Net 0.78
    (experiments/benchmarks/levers.csv). To 16 features, for which XLA has another program, they
    give nothing. Every block is compiled.
    """
    height, width, batch, features = cotangent.shape
    if features <= FEW:
        return height
    fitting = BLOCK // (width * batch * (len(images) + features))
    return max(fitting, -(-height // MOST_BLOCKS), 1)


def _products_are_faster(strides: Pair, kernel: jax.Array) -> bool:
    """Whether the gradient of a kernel is left to matrix products.

    A convolution with a window as large as the map is slow where the result has few positions, and
    where strides spread its window (experiments/benchmarks/levers.csv).
    """
    rows, columns = kernel.shape[:2]
    if on_many_devices():  # the strided slices of a split map would be moved between devices
        return rows == columns == 1
    return max(rows, columns) <= 2 or strides != (1, 1)


def _kernel_gradient_by_products(strides, padding, dilation, x, kernel, cotangent) -> jax.Array:
    """A product for every position of the kernel, or every row of it where channels are few."""
    rows, columns, channels, features = kernel.shape
    x = pad_map(x, padding)

    def inputs(i: int, j: int) -> jax.Array:
        starts = [tap * step for tap, step in zip((i, j), dilation, strict=True)]
        ends = [start + (side - 1) * stride + 1 for start, side, stride in zip(
            starts, cotangent.shape[1:3], strides, strict=True)]
        return x[:, starts[0]:ends[0]:strides[0], starts[1]:ends[1]:strides[1]]

    together = 1 if channels >= WIDE and columns <= 3 else columns
    gradient = jnp.stack([
        weight_gradient(jnp.concatenate([inputs(i, j + more) for more in range(together)], -1),
                        cotangent)
        for i in range(rows) for j in range(0, columns, together)])
    return gradient.reshape(rows, columns, channels, features).astype(kernel.dtype)


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
            x = x + bias.astype(x.dtype)[None, None, None]
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
            x = x + bias.astype(x.dtype)[None, None, None]
        return x
