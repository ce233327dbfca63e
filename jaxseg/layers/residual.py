"""The blocks of residual networks."""

from collections.abc import Callable

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.dropout import DropPath
from jaxseg.layers.squeeze_excite import SqueezeExcite


class ResidualBlock(nn.Module):
    """`relu(shortcut(x) + branch(x))`; a subclass defines the branch.

    Args:
      width: channels of the branch, which leaves `expansion` times as many.
      first_dilation: of the convolution that strides, or did before it was dilated.
      inner: channels of its 3x3 convolution in `groups` groups.
      pool: the shortcut averages 2x2 pixels before its convolution, which then has no stride.
    """

    width: int
    inner: int
    train: bool
    norm: Callable
    stride: int = 1
    first_dilation: int = 1
    dilation: int = 1
    groups: int = 1
    pool: bool = False
    squeeze_excite: bool = False
    drop_path: float = 0.0

    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.branch(x)
        if self.squeeze_excite:
            y = SqueezeExcite(max(8, (y.shape[-1] // 16 + 4) // 8 * 8), name='squeeze_excite')(y)
        y = DropPath(self.drop_path)(y, train=self.train)
        return nn.relu(y + self.shortcut(x))

    def branch(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H / stride, W / stride, width * expansion)."""
        raise NotImplementedError

    def shortcut(self, x: jax.Array) -> jax.Array:
        """The input itself, or a 1x1 convolution of it where the block changes its shape."""
        features, stride = self.width * self.expansion, self.stride
        if stride == 1 and x.shape[-1] == features:
            return x
        if self.pool:
            x, stride = nn.avg_pool(x, (2, 2), (stride, stride), 'SAME'), 1
        x = Conv(features, 1, stride, name='downsample_conv')(x)
        return self.norm(name='downsample_bn')(x)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions."""

    def branch(self, x: jax.Array) -> jax.Array:
        y = Conv(self.width, 3, self.stride, self.first_dilation, name='conv1')(x)
        y = nn.relu(self.norm(name='bn1')(y))
        return self.norm(name='bn2')(Conv(self.width, dilation=self.dilation, name='conv2')(y))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions; the 3x3 strides (torchvision's V1.5)."""

    expansion = 4

    def branch(self, x: jax.Array) -> jax.Array:
        y = nn.relu(self.norm(name='bn1')(Conv(self.inner, 1, name='conv1')(x)))
        y = Conv(self.inner, 3, self.stride, self.first_dilation, self.groups, name='conv2')(y)
        y = nn.relu(self.norm(name='bn2')(y))
        return self.norm(name='bn3')(Conv(self.width * self.expansion, 1, name='conv3')(y))
