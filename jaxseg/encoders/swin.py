"""Swin Transformer."""

import functools
from typing import Literal

import flax.linen as nn
import jax

from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers import windows
from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import Dense
from jaxseg.layers.dropout import DropPath
from jaxseg.layers.position import relative_bias
from jaxseg.layers.remat import call_block
from jaxseg.layers.stages import Stage, Stages
from jaxseg.layers.symbolic import pad_zeros

# Channels and heads of the first stage, which double with every stage, and blocks of the stages.
SIZES = {'tiny': (96, 3, (2, 2, 6, 2)), 'small': (96, 3, (2, 2, 18, 2)),
         'base': (128, 4, (2, 2, 18, 2)), 'large': (192, 6, (2, 2, 18, 2))}
PATCH, EXPANSION = 4, 4
INIT = nn.initializers.truncated_normal(0.02)

LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5)


class Block(nn.Module):
    """Attention within windows and two linear layers, each after a layer norm and in a shortcut."""

    heads: int
    window: int
    shift: int
    drop_path: float
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, drop_path = x.shape[-1], DropPath(self.drop_path)
        dense = functools.partial(Dense, kernel_init=INIT)
        y = self._attention(LayerNorm(dtype=x.dtype, name='norm1')(x))
        x = x + drop_path(dense(width, name='out')(y), train=self.train)
        y = LayerNorm(dtype=x.dtype, name='norm2')(x)
        y = nn.gelu(dense(EXPANSION * width, name='expand')(y), approximate=False)
        return x + drop_path(dense(width, name='project')(y), train=self.train)

    def _attention(self, x: jax.Array) -> jax.Array:
        width, size, side = x.shape[-1], x.shape[1:3], 2 * self.window - 1
        window, shift = (self.window, self.window), (self.shift, self.shift)
        dense = functools.partial(Dense, width, kernel_init=INIT)
        x = windows.partition(x, window, shift)
        parts = [dense(name=name)(x).reshape(*x.shape[:3], self.heads, width // self.heads)
                 for name in ('query', 'key', 'value')]
        table = self.param('relative_bias', INIT, (side ** 2, self.heads))
        relative = relative_bias(table.T.reshape(self.heads, side, side), self.window)
        # Positions that only padding made are attended to as well, as in training of the weights.
        padded = tuple(-(-length // self.window) * self.window for length in size)
        y = windows.attend_within(windows.regions(padded, window, shift), relative, *parts)
        return windows.join(y, size, window, shift).reshape(-1, *size, width)


class Swin(nn.Module):
    """Swin Transformer (Liu et al. 2021, arXiv:2103.14030).

    (B, H, W, C) -> four stages, at strides 4, 8, 16 and 32; sizes that are no multiple of a stride
    are padded with zeros at the bottom and the right, and so are maps that are no multiple of the
    window. Every second block shifts its windows, also where one covers the map, as models for
    detection and segmentation do (a classifier does not).

    Args:
      variant: 'tiny', 'small', 'base' or 'large'.
      window: height and width of a window; of published weights 7 or 12.
      output_norm: with a layer norm of its own for the features of every stage, as detection and
        segmentation models have (UPerNet).
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0 (in the paper
        0.2 for 'tiny', 0.3 for 'small', 0.5 for 'base').
      remat: computes blocks again in the backward pass instead of keeping what is inside them.
    """

    variant: Literal['tiny', 'small', 'base', 'large'] = 'tiny'
    window: PositiveInt = 7
    output_norm: bool = False
    drop_path: DropRate = 0.0
    remat: bool = False

    stride = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        width, heads, depths = SIZES[self.variant]
        x = Conv(width, PATCH, PATCH, bias=True, padding='same', name='stem_conv')(_pad(x, PATCH))
        x = LayerNorm(dtype=x.dtype, name='stem_norm')(x)
        stages, done = [], 0
        for stage, depth in enumerate(depths):
            if stage:
                x = LayerNorm(dtype=x.dtype, name=f'downsample{stage}_norm')(_merge(x))
                x = Dense(width * 2 ** stage, use_bias=False, kernel_init=INIT,
                          name=f'downsample{stage}_reduce')(x)
            for index in range(depth):
                rate = self.drop_path * done / (sum(depths) - 1)
                block = Block(heads * 2 ** stage, self.window, index % 2 * (self.window // 2),
                              rate, train, name=f'stage{stage}_{index}')
                x = call_block(block, x, self.remat)
                done += 1
            features = x
            if self.output_norm:
                features = LayerNorm(dtype=x.dtype, name=f'output{stage}_norm')(x)
            stages.append(Stage(PATCH * 2 ** stage, features))
        return tuple(stages)


def _pad(x: jax.Array, multiple: int) -> jax.Array:
    return pad_zeros(x, tuple(-(-side // multiple) * multiple for side in x.shape[1:3]))


def _merge(x: jax.Array) -> jax.Array:
    """2x2 positions, column by column, as channels: (B, H, W, C) -> (B, H / 2, W / 2, 4 C)."""
    x = _pad(x, 2)
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 4, 2, 5).reshape(batch, height // 2, width // 2, 4 * channels)
