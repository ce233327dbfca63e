"""The gradients of a convolution on CPU, as convolutions and matrix products that XLA runs fast."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.layers.cpu_conv import FEW, Pair, cpu_conv, xla_conv
from jaxseg.layers.dense import weight_gradient
from jaxseg.layers.depthwise import pad_map
from jaxseg.layers.partition import on_many_devices

WIDE = 64  # channels of a matrix product that runs at the speed of a large one
BLOCK = 2 ** 18  # values of a block of rows, 1 MiB in float32
MOST_BLOCKS = 16


def input_gradient(strides, padding, dilation, groups, x, kernel, cotangent) -> jax.Array:
    """The cotangent, spread out by the strides, convolved with the rotated kernel."""
    rows, columns, inputs, outputs = kernel.shape
    if groups == 1 and _positions_are_few(kernel, cotangent):
        return _input_gradient_by_product(strides, padding, dilation, x, kernel, cotangent)
    rotated = kernel[::-1, ::-1].reshape(rows, columns, inputs, groups, outputs // groups)
    rotated = rotated.transpose(0, 1, 4, 3, 2).reshape(
        rows, columns, outputs // groups, groups * inputs)
    margins = [(reach - before, rest + before) for before, reach, rest
               in _bounds(strides, padding, dilation, x, kernel, cotangent)]
    return cpu_conv(cotangent, rotated, (1, 1), margins, dilation, groups, spacing=strides)


def _bounds(strides, padding, dilation, x, kernel, cotangent) -> list[tuple[int, int, int]]:
    """Of rows and of columns: zeros before, last minus first of a window, and positions of `x`
    after the first that begin no window, however many zeros there are before.
    """
    bounds = []
    for axis in (0, 1):
        starts = (cotangent.shape[axis + 1] - 1) * strides[axis] + 1
        bounds.append((padding[axis][0], (kernel.shape[axis] - 1) * dilation[axis],
                       x.shape[axis + 1] - starts))
    return bounds


def _positions_are_few(kernel: jax.Array, cotangent: jax.Array) -> bool:
    """Whether the rotation of a kernel would take about as long as the convolution with it."""
    return math.prod(cotangent.shape[:3]) < min(kernel.shape[2:]) and not on_many_devices()


def _input_gradient_by_product(strides, padding, dilation, x, kernel, cotangent) -> jax.Array:
    """What each position of the cotangent gives to its window, added up; no kernel is rotated."""
    rows, columns, inputs, outputs = kernel.shape
    given = lax.dot_general(cotangent.reshape(-1, outputs), kernel.reshape(-1, outputs),
                            (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
    given = given.reshape(*cotangent.shape[:3], rows, columns, inputs)
    bounds = _bounds(strides, padding, dilation, x, kernel, cotangent)
    total = jnp.zeros(x.shape, jnp.float32)
    for taps in np.ndindex(rows, columns):
        first = [tap * step - before
                 for tap, step, (before, _, _) in zip(taps, dilation, bounds, strict=True)]
        margins = [(start, rest - start, stride - 1) for start, (_, _, rest), stride
                   in zip(first, bounds, strides, strict=True)]
        total += lax.pad(given[:, :, :, *taps], jnp.float32(0), ((0, 0, 0), *margins, (0, 0, 0)))
    return total.astype(x.dtype)


def kernel_gradient(strides, padding, dilation, groups, x, kernel, cotangent) -> jax.Array:
    """The input convolved with the cotangent; images are its channels, channels its images."""
    batch, height, width, channels = x.shape
    if groups == 1 and _products_are_faster(strides, kernel):
        return _kernel_gradient_by_products(strides, padding, dilation, x, kernel, cotangent)
    usual = groups == 1 and strides == (1, 1) and not on_many_devices()
    if usual and _features_are_few(batch, kernel):
        return _kernel_gradient_of_few_features(padding, dilation, x, kernel, cotangent)
    if usual and _is_odd(batch):
        return sum(kernel_gradient(strides, padding, dilation, groups, x[part], kernel,
                                    cotangent[part]) for part in (slice(-1), slice(-1, None)))
    bounds = _bounds(strides, padding, dilation, x, kernel, cotangent)
    margins = [(before, reach - rest - before) for before, reach, rest in bounds]
    # (C / groups, H, W, groups * B): one group of images for every group of channels.
    images = x.reshape(batch, height, width, groups, channels // groups)
    images = images.transpose(4, 1, 2, 3, 0).reshape(
        channels // groups, height, width, groups * batch)
    cotangent = cotangent.transpose(1, 2, 0, 3)
    rows = _rows_of_a_block(images, cotangent)
    if rows >= len(cotangent) or not usual:
        gradient = xla_conv(images, cotangent, dilation, margins, strides, groups)
        return gradient.transpose(1, 2, 0, 3)
    images, (_, reach, _) = pad_map(images, (margins[0], (0, 0))), bounds[0]
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
    channels, features = kernel.shape[2:]
    if channels <= FEW:
        missing = 2 * FEW - features
        cotangent, kernel = (jnp.pad(part, (*[(0, 0)] * 3, (0, missing)))
                             for part in (cotangent, kernel))
        wide = kernel_gradient((1, 1), padding, dilation, 1, x, kernel, cotangent)
        return wide[..., :features]
    margins = [(reach - before, reach - after) for (before, reach, _), (_, after) in zip(
        _bounds((1, 1), padding, dilation, x, kernel, cotangent), padding, strict=True)]
    mirrored = kernel_gradient((1, 1), margins, dilation, 1, cotangent,
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
