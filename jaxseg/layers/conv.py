"""Convolution: one function through which every convolution of the library goes."""

from collections.abc import Sequence

import flax.linen as nn
import jax
from jax import lax

from jaxseg.layers.depthwise import depthwise

# He et al. 2015 for ReLU networks, scaled by the outputs as torchvision's ResNet does.
KERNEL_INIT = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


def convolve(x: jax.Array, kernel: jax.Array, *, padding: Sequence[tuple[int, int]] | str,
             strides: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1), groups: int = 1) -> jax.Array:
    """Two-dimensional convolution in the dtype of `x`.

    Args:
      x: (B, H, W, C).
      kernel: (h, w, C / groups, features).

    Returns:
      (B, H', W', features).
    """
    alone = groups == x.shape[-1] == kernel.shape[-1] and tuple(strides) == (1, 1) and not isinstance(padding, str)
    if alone and jax.default_backend() == 'cpu':
        return depthwise(x, kernel, tuple(map(tuple, padding)), tuple(dilation))
    return lax.conv_general_dilated(
        x, kernel.astype(x.dtype), strides, padding, rhs_dilation=dilation,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'), feature_group_count=groups)


class Conv(nn.Module):
    """Convolution with PyTorch's symmetric padding `(kernel - 1) // 2 * dilation`.

    (B, H, W, C) -> (B, H / stride, W / stride, features), rounded up; C and features divide by `groups`.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1] // self.groups, self.features)
        kernel = self.param('kernel', KERNEL_INIT, shape)
        # Symmetric even at stride 2, where 'SAME' would pad one side only and shift the picture by a pixel.
        margin = (self.kernel - 1) // 2 * self.dilation
        x = convolve(x, kernel, padding=((margin, margin), (margin, margin)), strides=(self.stride, self.stride),
                     dilation=(self.dilation, self.dilation), groups=self.groups)
        if self.bias:
            bias = self.param('bias', nn.initializers.zeros, (self.features,))
            x = x + bias.astype(x.dtype)[None, None, None]
        return x
