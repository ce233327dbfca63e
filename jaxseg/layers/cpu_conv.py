"""Convolutions in the form that XLA on CPU runs fastest; what they compute is the same.

XLA has a fast program for float32, more than 16 channels or features, no groups, and no zeros
between the positions of the input. Where a form brings others under it, or avoids what is slow in
it, the functions here choose that form by the shapes.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.cores import cores
from jaxseg.layers.depthwise import pad_map
from jaxseg.layers.merge import fold
from jaxseg.layers.partition import on_many_devices
from jaxseg.layers.symbolic import are_numbers

LAYOUT = ('NHWC', 'HWIO', 'NHWC')
FEW = 16  # channels and features to which XLA's fast program does not apply
PART = 2 ** 12  # values of a row of the result that XLA gives to one core
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


def _conv_on_all_cores(x, kernel, strides, padding, dilation, groups, spacing) -> jax.Array:
    """With the images of a batch side by side, where one of them is too narrow for all cores.

    XLA on CPU divides a convolution among the cores by columns and features only, in parts of 4,096
    values of a row of the result: 64 columns of 64 features are computed by one core alone.
    """
    (left, right), stride = padding[1], strides[1]
    batch, height, width, channels = x.shape
    reach = (kernel.shape[1] - 1) * dilation[1]
    unusual = groups > 1 or spacing != (1, 1) or min(left, right, reach + 1 - stride - left) < 0
    if unusual or not _has_idle_cores(x, kernel, stride):
        return xla_conv(x, kernel, strides, padding, dilation, groups, spacing)
    if kernel.shape[:2] == strides == (1, 1) and not any(map(any, padding)):
        y = xla_conv(x.reshape(1, 1, -1, channels), kernel, strides, padding, dilation, groups)
        return y.reshape(batch, height, width, -1)
    # Zeros between the images, as many as a window reaches out of one, and so many that each image
    # begins with a window.
    gap = max(left, right, left + right - reach)
    gap += -(width + gap) % stride
    x = pad_map(x, ((0, 0), (0, gap))).transpose(1, 0, 2, 3)
    x = x.reshape(1, height, batch * (width + gap), channels)
    padding = padding[0], (left, reach + 1 - stride - left)
    y = xla_conv(x, kernel, strides, padding, dilation, groups)
    y = y.reshape(y.shape[1], batch, (width + gap) // stride, -1)
    columns = (width + left + right - reach - 1) // stride + 1
    return y[:, :, :columns].transpose(1, 0, 2, 3)


def _has_idle_cores(x: jax.Array, kernel: jax.Array, stride: int) -> bool:
    """Whether XLA would leave cores without work that have it with the images side by side."""
    channels, features = kernel.shape[2:]
    if on_many_devices() or not are_numbers(x.shape) or len(x) == 1 or x.dtype != jnp.float32:
        return False
    parts = x.shape[2] // stride * features / PART
    return max(channels, features) > FEW and parts < cores()


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
