"""Residual networks."""

import functools
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax

from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, norm_layer
from jaxseg.layers.stages import Stage, Stages

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3),
          101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    width: int
    stride: int
    dilation: int
    norm: Callable
    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = Conv(self.width, stride=self.stride, dilation=self.dilation, name='conv1')(x)
        y = nn.relu(self.norm(name='bn1')(y))
        y = self.norm(name='bn2')(Conv(self.width, dilation=self.dilation, name='conv2')(y))
        return nn.relu(y + _shortcut(self, x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; the 3x3 strides (torchvision's V1.5)."""

    width: int
    stride: int
    dilation: int
    norm: Callable
    expansion = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(self.norm(name='bn1')(Conv(self.width, 1, name='conv1')(x)))
        y = Conv(self.width, stride=self.stride, dilation=self.dilation, name='conv2')(y)
        y = nn.relu(self.norm(name='bn2')(y))
        y = self.norm(name='bn3')(Conv(self.width * self.expansion, 1, name='conv3')(y))
        return nn.relu(y + _shortcut(self, x))


class ResNet(nn.Module):
    """ResNet 18, 34, 50, 101 or 152 (He et al. 2016), laid out, padded and named as torchvision's.

    (B, H, W, C) -> five stages: the stem at stride 2, then layer1 to layer4 at strides 4, 8, 16 and
    32. H and W must be multiples of `output_stride`. With `output_stride` 8 or 16 the later layers
    dilate instead of striding (Chen et al. 2017, DeepLab) and stay at that stride. torchvision's
    `layer1.0.conv1` is `layer1_0/conv1` here, `downsample.0` and `.1` are `downsample_conv` and
    `downsample_bn`.

    Args:
      depth: number of layers.
      width: channels of layer1, 64 in the paper.
      output_stride: stride of the last stage.
      dilate_first: whether the first block of a dilated layer dilates as the others of it, as in
        segmentation_models.pytorch; by default as the layer before, as in torchvision.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
    """

    depth: Literal[18, 34, 50, 101, 152] = 18
    width: PositiveInt = 64
    output_stride: Literal[8, 16, 32] = 32
    norm: NormSpec = 'batch'
    dilate_first: bool = False

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return self.output_stride

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        norm = functools.partial(norm_layer, self.norm, train)
        block = BasicBlock if self.depth < 50 else Bottleneck
        x = nn.relu(norm(name='bn1')(Conv(self.width, 7, 2, name='conv1')(x)))
        stages = [Stage(2, x)]
        x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        reached, dilation = 4, 1
        for index, blocks in enumerate(BLOCKS[self.depth]):
            stride, first_dilation = (1 if index == 0 else 2), dilation
            if reached * stride > self.output_stride:
                stride, dilation = 1, dilation * 2
                first_dilation = dilation if self.dilate_first else first_dilation
            reached *= stride
            for place in range(blocks):
                first = place == 0
                x = block(self.width * 2 ** index, stride if first else 1,
                          first_dilation if first else dilation,
                          norm=norm, name=f'layer{index + 1}_{place}')(x)
            stages.append(Stage(reached, x))
        return tuple(stages)


def _shortcut(block: nn.Module, x: jax.Array) -> jax.Array:
    """The input itself, or a 1x1 convolution of it where the block changes its shape."""
    width = block.width * block.expansion
    if block.stride == 1 and x.shape[-1] == width:
        return x
    x = Conv(width, 1, block.stride, name='downsample_conv', parent=block)(x)
    return block.norm(name='downsample_bn')(x)
