"""Residual networks."""

import functools
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, norm_layer
from jaxseg.layers.pooling import max_pool
from jaxseg.layers.remat import call_block
from jaxseg.layers.residual import BasicBlock, Bottleneck
from jaxseg.layers.stages import Stage, Stages

BLOCKS = {18: (2, 2, 2, 2), 26: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3),
          101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
BASIC = (18, 34)  # the depths with two convolutions in a block, the others have three


class ResNet(nn.Module):
    """ResNet 18 to 200 (He et al. 2016, arXiv:1512.03385), laid out and named as torchvision's.

    (B, H, W, C) -> five stages: the stem at stride 2, then layer1 to layer4 at strides 4, 8, 16 and
    32. H and W must be multiples of `output_stride`. With `output_stride` 8 or 16 the later layers
    dilate instead of striding (Chen et al. 2017, DeepLab) and stay at that stride. torchvision's
    `layer1.0.conv1` is `layer1_0/conv1` here, `downsample.0` and `.1` are `downsample_conv` and
    `downsample_bn`. Its relatives:

    - ResNeXt (Xie et al. 2017, arXiv:1611.05431) 50 32x4d: depth 50, groups 32, width_per_group 4;
    - wide ResNet (Zagoruyko & Komodakis 2016, arXiv:1605.07146) 50-2: depth 50, width_per_group
      128;
    - ResNet-D (He et al. 2019, arXiv:1812.01187), timm's resnet50d: depth 50, deep_stem,
      average_shortcut;
    - SE-ResNet (Hu et al. 2018, arXiv:1709.01507), timm's seresnet50: depth 50, squeeze_excite.

    Args:
      depth: number of layers.
      width: channels of layer1, 64 in the paper.
      output_stride: stride of the last stage.
      dilate_first: whether the first block of a dilated layer dilates as the others of it, as in
        segmentation_models.pytorch; by default as the layer before, as in torchvision.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      groups: of the 3x3 convolutions of bottlenecks, which depths 18 and 34 do not have.
      width_per_group: channels of a group in layer1, where `width` is 64.
      deep_stem: three 3x3 convolutions in place of one of 7x7.
      average_shortcut: shortcuts average 2x2 pixels where they would skip three of four.
      squeeze_excite: squeeze and excitation to a sixteenth at the end of every branch.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0.
      remat: recompute every block in the backward pass instead of storing what is in it.

    Raises:
      InputError: groups or their width at a depth that has no bottlenecks.
    """

    depth: Literal[18, 26, 34, 50, 101, 152, 200] = 18
    width: PositiveInt = 64
    output_stride: Literal[8, 16, 32] = 32
    norm: NormSpec = 'batch'
    dilate_first: bool = False
    groups: PositiveInt = 1
    width_per_group: PositiveInt = 64
    deep_stem: bool = False
    average_shortcut: bool = False
    squeeze_excite: bool = False
    drop_path: DropRate = 0.0
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return self.output_stride

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        norm = functools.partial(norm_layer, self.norm, train)
        x = self._stem(x, norm)
        stages = [Stage(2, x)]
        x = max_pool(x, 3, 2, padding=1)
        block = self._block(train, norm)
        counts = BLOCKS[self.depth]
        reached, dilation, number = 4, 1, 0
        for index, blocks in enumerate(counts):
            stride, first_dilation = (1 if index == 0 else 2), dilation
            if reached * stride > self.output_stride:
                stride, dilation = 1, dilation * 2
                first_dilation = dilation if self.dilate_first else first_dilation
            reached *= stride
            width = self.width * 2 ** index
            inner = max(1, width * self.width_per_group // 64) * self.groups
            for place in range(blocks):
                first = place == 0
                made = block(width, inner=inner, stride=stride if first else 1,
                             first_dilation=first_dilation if first else dilation,
                             dilation=dilation, pool=self.average_shortcut and index > 0,
                             drop_path=self.drop_path * number / (sum(counts) - 1),
                             name=f'layer{index + 1}_{place}')
                x = call_block(made, x, self.remat)
                number += 1
            stages.append(Stage(reached, x))
        return tuple(stages)

    def _stem(self, x: jax.Array, norm: Callable) -> jax.Array:
        if not self.deep_stem:
            return nn.relu(norm(name='bn1')(Conv(self.width, 7, 2, name='conv1')(x)))
        half = max(1, self.width // 2)
        for index, (width, stride) in enumerate(((half, 2), (half, 1), (self.width, 1)), 1):
            x = Conv(width, 3, stride, name=f'conv{index}')(x)
            x = nn.relu(norm(name=f'bn{index}')(x))
        return x

    def _block(self, train: bool, norm: Callable) -> Callable:
        block = BasicBlock if self.depth in BASIC else Bottleneck
        if block is BasicBlock and (self.groups, self.width_per_group) != (1, 64):
            raise InputError(f'encoder.groups: {self.groups} groups of {self.width_per_group} '
                             f'channels (encoder.width_per_group), but the blocks of depth '
                             f'{self.depth} have no groups; give depth 26, or 50 and more')
        return functools.partial(block, groups=self.groups, squeeze_excite=self.squeeze_excite,
                                 train=train, norm=norm)
