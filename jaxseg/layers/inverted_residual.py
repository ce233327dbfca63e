"""The block of MobileNet and EfficientNet."""

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.dropout import DropPath


class InvertedResidual(nn.Module):
    """Inverted bottleneck (Sandler et al. 2018, arXiv:1801.04381) with a depthwise convolution.

    (B, H, W, C) -> (B, H / stride, W / stride, features), plus the input where `residual`.

    Args:
      hidden: channels of the depthwise convolution; where these are C, nothing expands to them.
      norm: (name) -> a norm.
      activation: after all convolutions but the last.
      squeeze_excite: (name) -> the layer after the depthwise convolution; None for none.
    """

    features: int
    hidden: int
    kernel: int
    stride: int
    dilation: int
    residual: bool
    norm: Callable
    activation: Callable
    squeeze_excite: Callable | None = None
    drop_path: float = 0.0
    padding: Literal['symmetric', 'same'] = 'symmetric'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        if self.hidden != x.shape[-1]:
            y = Conv(self.hidden, 1, name='expand_conv')(y)
            y = self.activation(self.norm(name='expand_bn')(y))
        y = Conv(self.hidden, self.kernel, self.stride, self.dilation, groups=self.hidden,
                 padding=self.padding, name='depthwise_conv')(y)
        y = self.activation(self.norm(name='depthwise_bn')(y))
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(name='squeeze_excite')(y)
        y = self.norm(name='project_bn')(Conv(self.features, 1, name='project_conv')(y))
        return x + DropPath(self.drop_path)(y, train=train) if self.residual else y


def scale_channels(channels: int, factor: float) -> int:
    """The nearest multiple of 8 that is at least 90 % of the product."""
    scaled = max(8, int(channels * factor + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * channels * factor else scaled
