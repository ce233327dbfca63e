"""Residual networks."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Norm

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    width: int
    stride: int
    dilation: int
    conv: Callable
    norm: Callable
    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv(self.width, stride=self.stride, dilation=self.dilation, name='conv1')(x)
        y = nn.relu(self.norm(name='bn1')(y))
        y = self.norm(name='bn2')(self.conv(self.width, dilation=self.dilation, name='conv2')(y))
        return nn.relu(y + _shortcut(self, x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut; the 3x3 holds the stride (torchvision's V1.5)."""

    width: int
    stride: int
    dilation: int
    conv: Callable
    norm: Callable
    expansion = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(self.norm(name='bn1')(self.conv(self.width, 1, name='conv1')(x)))
        y = self.conv(self.width, stride=self.stride, dilation=self.dilation, name='conv2')(y)
        y = nn.relu(self.norm(name='bn2')(y))
        y = self.norm(name='bn3')(self.conv(self.width * self.expansion, 1, name='conv3')(y))
        return nn.relu(y + _shortcut(self, x))


class ResNet(nn.Module):
    """ResNet 18, 34, 50, 101 or 152 (He et al. 2016), laid out, padded and named as torchvision's.

    (B, H, W, C) -> `{2: ..., 4: ..., 8: ..., 16: ..., 32: ...}`; H and W must be multiples of `output_stride`. With
    `output_stride` 8 or 16 the later stages dilate instead of striding (Chen et al. 2017, DeepLab), and the last stage
    stands at that stride. torchvision's `layer1.0.conv1` is `layer1_0/conv1` here, `downsample.0` and `.1` are
    `downsample_conv` and `downsample_bn`. `width` is the number of channels of the first stage, 64 in the paper.

    Raises:
      InputError: unknown depth or output stride.
    """

    depth: int = 18
    width: int = 64
    output_stride: int = 32
    norm: str = 'batch'

    @property
    def stride(self) -> int:
        """The coarsest stride."""
        return self.output_stride

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> dict[int, jax.Array]:
        if self.depth not in STAGES or self.output_stride not in (8, 16, 32):
            raise InputError(f'encoder resnet.ResNet: depth {self.depth}, output_stride {self.output_stride}; depth is '
                             f'one of {", ".join(map(str, STAGES))}, and output_stride 8, 16 or 32')
        norm = functools.partial(_norm, self.norm, train)
        block = BasicBlock if self.depth < 50 else Bottleneck
        x = nn.relu(norm(name='bn1')(Conv(self.width, 7, 2, name='conv1')(x)))
        features = {2: x}
        x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        reached, dilation = 4, 1
        for stage, blocks in enumerate(STAGES[self.depth]):
            stride, first_dilation = (1 if stage == 0 else 2), dilation
            if reached * stride > self.output_stride:
                stride, dilation = 1, dilation * 2
            reached *= stride
            for index in range(blocks):
                first = index == 0
                x = block(self.width * 2 ** stage, stride if first else 1, first_dilation if first else dilation,
                          conv=Conv, norm=norm, name=f'layer{stage + 1}_{index}')(x)
            features[reached] = x
        return features


def _norm(kind: str, train: bool, name: str) -> Callable[[jax.Array], jax.Array]:
    return functools.partial(Norm(kind, name=name), train=train)


def _shortcut(block: nn.Module, x: jax.Array) -> jax.Array:
    """The input itself, or a 1x1 convolution of it where the block changes its shape."""
    width = block.width * block.expansion
    if block.stride == 1 and x.shape[-1] == width:
        return x
    x = block.conv(width, 1, block.stride, name='downsample_conv')(x)
    return block.norm(name='downsample_bn')(x)
