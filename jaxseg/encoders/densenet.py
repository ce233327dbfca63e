"""DenseNet."""

import functools
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, norm_layer
from jaxseg.layers.pooling import max_pool
from jaxseg.layers.remat import call_block
from jaxseg.layers.stages import Stage, Stages

# Channels of the stem, channels that a layer adds, layers of every block.
SIZES = {121: (64, 32, (6, 12, 24, 16)), 161: (96, 48, (6, 12, 36, 24)),
         169: (64, 32, (6, 12, 32, 32)), 201: (64, 32, (6, 12, 48, 32))}


class _DenseLayer(nn.Module):
    """The input and `growth` channels that a 1x1 and a 3x3 convolution compute from it."""

    growth: int
    norm: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(self.norm(name='norm1')(x))
        y = Conv(4 * self.growth, 1, name='conv1')(y)
        y = nn.relu(self.norm(name='norm2')(y))
        return jnp.concatenate([x, Conv(self.growth, name='conv2')(y)], -1)


class DenseNet(nn.Module):
    """DenseNet 121, 161, 169 or 201 (Huang et al. 2017, arXiv:1608.06993), named as torchvision's.

    (B, H, W, C) -> five stages: the stem at stride 2, then the blocks at strides 4, 8, 16 and 32,
    each after the norm and, but for the last, the ReLU that follow it, and before the convolution
    that halves its channels and the pooling, as in segmentation_models.pytorch. H and W must be
    multiples of 32. torchvision's `denseblock1.denselayer1` is `block1_layer1` here.

    Args:
      depth: number of layers.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      remat: recompute every layer in the backward pass, so that the memory of a block is linear in
        its layers, not quadratic (Pleiss et al. 2017, arXiv:1707.06990).
    """

    depth: Literal[121, 161, 169, 201] = 121
    norm: NormSpec = 'batch'
    remat: bool = False

    stride = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        norm = functools.partial(norm_layer, self.norm, train)
        features, growth, blocks = SIZES[self.depth]
        x = nn.relu(norm(name='norm0')(Conv(features, 7, 2, name='conv0')(x)))
        stages = [Stage(2, x)]
        x = max_pool(x, 3, 2, padding=1)
        for index, layers in enumerate(blocks, 1):
            for place in range(1, layers + 1):
                layer = _DenseLayer(growth, norm, name=f'block{index}_layer{place}')
                x = call_block(layer, x, self.remat)
            if index < len(blocks):
                x = nn.relu(norm(name=f'transition{index}_norm')(x))
                stages.append(Stage(2 ** (index + 1), x))
                x = Conv(x.shape[-1] // 2, 1, name=f'transition{index}_conv')(x)
                x = nn.avg_pool(x, (2, 2), (2, 2))
        return (*stages, Stage(self.stride, norm(name='norm5')(x)))
