"""Convolutions in the form that XLA on CPU runs fastest; what they compute is the same.

XLA has a fast program for float32, more than 16 channels or features, no groups, and no zeros
between the positions of the input. Where a form brings others under it, or avoids what is slow in
it, the functions here choose that form by the shapes.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.cores import cores
from jaxseg.layers.depthwise import pad_map
from jaxseg.layers.merge import fold
from jaxseg.layers.partition import on_many_devices
from jaxseg.layers.platform import runs_here
from jaxseg.layers.symbolic import are_numbers

LAYOUT = ('NHWC', 'HWIO', 'NHWC')
FEW = 16  # channels and features to which XLA's fast program does not apply
TILE = 64  # columns and features of a result that XLA gives to one core
LEAST_ROWS = 4  # of a strip of an image
Pair = tuple[int, int]


def xla_conv(x, kernel, strides, padding, dilation, groups, spacing=(1, 1)) -> jax.Array:
    """XLA's own; `spacing` - 1 zeros between the positions of `x`."""
    return lax.conv_general_dilated(x, kernel, strides, padding, lhs_dilation=spacing,
                                    rhs_dilation=dilation, dimension_numbers=LAYOUT,
                                    feature_group_count=groups)


def cpu_conv(x, kernel, strides, padding, dilation, groups, spacing=(1, 1)) -> jax.Array:
    """`xla_conv`; where it has no padding, the middle of one that has.

    XLA on CPU takes 2 to 8 times as long for windows of 2x2 or 3x3 without padding as with it
    (experiments/benchmarks/levers.csv).
    """
    reach = [(side - 1) * step for side, step in zip(kernel.shape[:2], dilation, strict=True)]
    small = any(reach) and max(kernel.shape[:2]) <= 3 and strides == spacing == (1, 1)
    if not small or any(map(any, padding)) or on_many_devices():
        return _conv_on_all_cores(x, kernel, strides, padding, dilation, groups, spacing)
    padding = tuple((side, side) for side in reach)
    y = _conv_on_all_cores(x, kernel, strides, padding, dilation, groups, spacing)
    return y[:, reach[0]:y.shape[1] - reach[0], reach[1]:y.shape[2] - reach[1]]


def _conv_on_all_cores(x, kernel, strides, padding, dilation, groups, spacing=(1, 1)) -> jax.Array:
    """With all images of the batch side by side where XLA would leave cores without work.

    XLA on CPU divides a convolution among the cores by columns and features only: 64 columns of 64
    features are computed by one core alone, however many rows and images there are.
    """
    (left, right), stride, batch = padding[1], strides[1], x.shape[0]
    rest, reach = ((side - 1) * step for side, step in zip(kernel.shape[:2], dilation, strict=True))
    unusual = groups > 1 or spacing != (1, 1) or min(left, right, reach + 1 - stride - left) < 0
    wanted = 1 if unusual else _images_for_all_cores(x, kernel, stride)
    if wanted == 1:
        return xla_conv(x, kernel, strides, padding, dilation, groups, spacing)
    rows = (x.shape[1] + sum(padding[0]) - rest - 1) // strides[0] + 1
    strips = max(1, min(-(-wanted // batch), rows // LEAST_ROWS))
    if batch * strips == 1:
        return xla_conv(x, kernel, strides, padding, dilation, groups, spacing)
    if kernel.shape[:2] == strides == (1, 1) and not any(map(any, padding)):
        y = xla_conv(x.reshape(1, 1, -1, x.shape[3]), kernel, strides, padding, dilation, groups)
        return y.reshape(*x.shape[:3], -1)
    if strips > 1:
        x = _in_strips(x, strips, -(-rows // strips), strides[0], rest + 1, padding[0][0])
        padding = (0, 0), padding[1]
    # Zeros between the images, as many as a window reaches out of one, and so many that each image
    # begins with a window.
    gap = max(left, right, left + right - reach)
    gap += -(x.shape[2] + gap) % stride
    columns = (x.shape[2] + left + right - reach - 1) // stride + 1
    images, height, width, channels = x.shape
    x = pad_map(x, ((0, 0), (0, gap))).transpose(1, 0, 2, 3)
    x = x.reshape(1, height, images * (width + gap), channels)
    padding = padding[0], (left, reach + 1 - stride - left)
    y = xla_conv(x, kernel, strides, padding, dilation, groups)
    y = y.reshape(y.shape[1], images, (width + gap) // stride, -1)
    y = y[:, :, :columns].transpose(1, 0, 2, 3)
    return y.reshape(batch, -1, *y.shape[2:])[:, :rows]


def _in_strips(x, strips: int, rows: int, stride: int, window: int, top: int) -> jax.Array:
    """(B * strips, ...): the rows of `x`, padded, of which each strip of `rows` results is made."""
    length = (rows - 1) * stride + window
    starts = [strip * rows * stride for strip in range(strips)]
    x = pad_map(x, ((top, starts[-1] + length - top - x.shape[1]), (0, 0)))
    x = jnp.stack([x[:, start:start + length] for start in starts], 1)
    return x.reshape(-1, *x.shape[2:])


def _images_for_all_cores(x: jax.Array, kernel: jax.Array, stride: int) -> int:
    """How many images beside each other give all cores work; 1 where one does, or they do not."""
    channels, features = kernel.shape[2:]
    known = runs_here() and are_numbers(x.shape)
    if on_many_devices() or not known or x.dtype != jnp.float32:
        return 1
    width = x.shape[2] // stride
    parts = max(features / TILE, 1) * max(width * min(features, TILE) / TILE ** 2, 1)
    return math.ceil(cores() / parts) if max(channels, features) > FEW else 1


def folding_is_faster(x: jax.Array, kernel: jax.Array, strides: Pair, dilation: Pair) -> bool:
    """Whether `fold_strides` makes a convolution faster: few channels, such as colors."""
    rows, columns, channels, features = kernel.shape
    strided = strides[0] == strides[1] > 1 and dilation == (1, 1)
    few = rows == columns > strides[0] and channels <= 4 and features > FEW
    return strided and few and are_numbers(x.shape) and not on_many_devices()


def fold_strides(x: jax.Array, kernel: jax.Array, stride: int, padding: Sequence[Pair]
                 ) -> tuple[jax.Array, jax.Array, tuple[Pair, ...]]:
    """A strided convolution as one of stride 1 over blocks of `stride` x `stride` pixels.

    The pixels of a block are its channels; zeros before and after the kernel make it whole blocks.
    On two cores of a Xeon the stem of a ResNet with 32 features, on 8x128x192, takes 8 ms in place
    of 48.

    Returns:
      The blocks of `x`, the kernel for them, and the padding in blocks.
    """
    blocks, taps, margins = [], [], []
    for side, window, (before, after) in zip(x.shape[1:3], kernel.shape[:2], padding, strict=True):
        shift = -before % stride  # zeros before the kernel, so that it begins with a block
        count = -(-(window + shift) // stride)
        size = (side + before + after - window) // stride + 1
        front = (before + shift) // stride
        blocks.append(-(-side // stride))
        taps.append((shift, count * stride - window - shift))
        margins.append((front, size - 1 + count - front - blocks[-1]))
    x = pad_map(x, [(0, count * stride - side) for count, side in zip(
        blocks, x.shape[1:3], strict=True)])
    kernel = jnp.pad(kernel, (*taps, (0, 0), (0, 0))).transpose(3, 0, 1, 2)
    return fold(x, stride), fold(kernel, stride).transpose(1, 2, 3, 0), tuple(margins)
