"""ConvNeXt, versions 1 and 2."""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import DropRate
from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import Dense, multiply_channels
from jaxseg.layers.dropout import DropPath
from jaxseg.layers.remat import call_block
from jaxseg.layers.stages import Stage, Stages

# Channels of the first stage, which double with every stage, and blocks of the stages.
SIZES = {
    'atto': (40, (2, 2, 6, 2)), 'femto': (48, (2, 2, 6, 2)), 'pico': (64, (2, 2, 6, 2)),
    'nano': (80, (2, 2, 8, 2)), 'tiny': (96, (3, 3, 9, 3)), 'small': (96, (3, 3, 27, 3)),
    'base': (128, (3, 3, 27, 3)), 'large': (192, (3, 3, 27, 3)), 'xlarge': (256, (3, 3, 27, 3)),
    'huge': (352, (3, 3, 27, 3))}
PATCH, KERNEL, EXPANSION, EPSILON = 4, 7, 4, 1e-6
LAYER_SCALE = 1e-6  # at first
DENSE_INIT = nn.initializers.truncated_normal(0.02)
TINY = 1e-30  # keeps the gradient of a square root finite where a channel is 0 everywhere

LayerNorm = functools.partial(nn.LayerNorm, epsilon=EPSILON)


class GlobalResponseNorm(nn.Module):
    """`x + scale * x * n + bias` (Woo et al. 2023, arXiv:2301.00808): (B, H, W, C) -> the same.

    n is the norm of a channel over the map, divided by the mean of these norms over the channels.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale, bias = (self.param(name, nn.initializers.zeros, (x.shape[-1],))
                       for name in ('scale', 'bias'))
        squares = jnp.sum(jnp.square(x.astype(jnp.float32)), (1, 2), keepdims=True)
        norms = jnp.sqrt(jnp.maximum(squares, TINY))
        relative = norms / (norms.mean(-1, keepdims=True) + EPSILON)
        y = x + scale[None, None, None] * x * relative + bias[None, None, None]
        return y.astype(x.dtype)  # float32 until here, as are the sums of the gradients


class Block(nn.Module):
    """7x7 depthwise convolution, layer norm and two linear layers around a shortcut.

    Args:
      response_norm: version 2, with global response norm instead of layer scale.
    """

    dilation: int
    drop_path: float
    response_norm: bool
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        y = Conv(width, KERNEL, dilation=self.dilation, groups=width, bias=True,
                 name='depthwise_conv')(x)
        y = LayerNorm(dtype=x.dtype, name='norm')(y)
        dense = functools.partial(Dense, kernel_init=DENSE_INIT)
        y = nn.gelu(dense(EXPANSION * width, name='expand')(y), approximate=False)
        if self.response_norm:
            y = GlobalResponseNorm(name='response_norm')(y)
        y = dense(width, name='project')(y)
        if not self.response_norm:
            scale = self.param('layer_scale', nn.initializers.constant(LAYER_SCALE), (width,))
            y = multiply_channels(y, scale)
        return x + DropPath(self.drop_path)(y, train=self.train)


class ConvNeXt(nn.Module):
    """ConvNeXt (Liu et al. 2022, arXiv:2201.03545) and V2 (Woo et al. 2023, arXiv:2301.00808).

    (B, H, W, C) -> four stages, at strides 4, 8, 16 and 32. H and W must be multiples of 32, or of
    a smaller `output_stride`. With `output_stride` 8 or 16 the later stages dilate instead of
    striding, as timm's. Sizes up to nano are of V2 and of timm; 'xlarge' was published for V1 alone
    and 'huge' for V2.

    Args:
      variant: 'atto' to 'huge'.
      version: 1, with layer scale, or 2, with global response norm.
      output_stride: stride of the last stage.
      output_norm: with a layer norm of its own for the features of every stage, as detection and
        segmentation models have (UPerNet).
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0 (in the paper
        0.1 for 'tiny' to 0.5 for 'xlarge').
      remat: computes blocks again in the backward pass instead of keeping what is inside them.
    """

    variant: Literal['atto', 'femto', 'pico', 'nano', 'tiny', 'small', 'base', 'large', 'xlarge',
                     'huge'] = 'tiny'
    version: Literal[1, 2] = 1
    output_stride: Literal[8, 16, 32] = 32
    output_norm: bool = False
    drop_path: DropRate = 0.0
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return self.output_stride

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        width, depths = SIZES[self.variant]
        x = Conv(width, PATCH, PATCH, bias=True, padding='same', name='stem_conv')(x)
        x = LayerNorm(dtype=x.dtype, name='stem_norm')(x)
        stages, reached, dilation, done = [], PATCH, 1, 0
        for stage, depth in enumerate(depths):
            if stage:
                stride, first_dilation = 2, dilation
                if reached == self.output_stride:
                    stride, dilation = 1, dilation * 2
                reached *= stride
                x = LayerNorm(dtype=x.dtype, name=f'downsample{stage}_norm')(x)
                x = Conv(width * 2 ** stage, 2, stride, first_dilation, bias=True, padding='same',
                         name=f'downsample{stage}_conv')(x)
            for index in range(depth):
                rate = self.drop_path * done / (sum(depths) - 1)
                block = Block(dilation, rate, self.version == 2, train,
                              name=f'stage{stage}_{index}')
                x = call_block(block, x, self.remat)
                done += 1
            features = x
            if self.output_norm:
                features = LayerNorm(dtype=x.dtype, name=f'output{stage}_norm')(x)
            stages.append(Stage(reached, features))
        return tuple(stages)
