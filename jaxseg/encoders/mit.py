"""Mix Transformer, the encoder of SegFormer."""

from typing import Literal

import flax.linen as nn
import jax

from jaxseg.fields import DropRate
from jaxseg.layers.attention import attend, sow_attention
from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import Dense
from jaxseg.layers.dropout import DropPath
from jaxseg.layers.remat import call_block
from jaxseg.layers.stages import Stage, Stages

# Blocks of every stage.
BLOCKS = {'b0': (2, 2, 2, 2), 'b1': (2, 2, 2, 2), 'b2': (3, 4, 6, 3),
          'b3': (3, 4, 18, 3), 'b4': (3, 8, 27, 3), 'b5': (3, 6, 40, 3)}
WIDTHS, NARROW = (64, 128, 320, 512), (32, 64, 160, 256)  # NARROW of b0
STRIDES, HEADS, REDUCTIONS = (4, 8, 16, 32), (1, 2, 5, 8), (8, 4, 2, 1)
MLP_RATIO = 4
# Layer norms after a convolution have the first one in the reference, all others the second.
EPSILON_AFTER_CONV, EPSILON = 1e-5, 1e-6
DENSE_INIT = nn.initializers.truncated_normal(0.02)
# No norm follows, so that the deviation must be that of one channel's window.
DEPTHWISE_INIT = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')


class _Block(nn.Module):
    """Efficient self-attention and Mix-FFN, each around a shortcut: (B, H, W, C) -> the same.

    Keys and values come from a map that a convolution with a kernel and a stride of `reduction`
    makes smaller. The 3x3 depthwise convolution in the feed-forward network, with the zeros that it
    pads with, takes the place of position encodings.
    """

    heads: int
    reduction: int
    drop_path: float
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        drop = DropPath(self.drop_path)
        x = x + drop(self._attention(_norm(x, 'norm1')), train=self.train)
        return x + drop(self._mlp(_norm(x, 'norm2')), train=self.train)

    def _attention(self, x: jax.Array) -> jax.Array:
        size, source = self.reduction, x
        if size > 1:
            # Rows and columns that are no multiple are dropped, as without padding.
            rows, columns = (max(side // size, 1) * size for side in x.shape[1:3])
            source = Conv(x.shape[-1], size, size, bias=True, padding='same', name='reduce_conv')(
                x[:, :rows, :columns])
            source = _norm(source, 'reduce_norm', EPSILON_AFTER_CONV)
        query, key = self._heads(x, 'query'), self._heads(source, 'key')
        sow_attention(self, query, key, size=x.shape[1:3], key_size=source.shape[1:3])
        y = attend(query, key, self._heads(source, 'value'))
        return _dense(y.reshape(x.shape), x.shape[-1], 'out')

    def _heads(self, x: jax.Array, name: str) -> jax.Array:
        """(B, H, W, C) -> (B, H * W, heads, C / heads)."""
        return _dense(x, x.shape[-1], name).reshape(x.shape[0], -1, self.heads,
                                                    x.shape[-1] // self.heads)

    def _mlp(self, x: jax.Array) -> jax.Array:
        hidden = MLP_RATIO * x.shape[-1]
        y = Conv(hidden, groups=hidden, bias=True, kernel_init=DEPTHWISE_INIT, name='mlp_conv')(
            _dense(x, hidden, 'mlp_in'))
        return _dense(nn.gelu(y, approximate=False), x.shape[-1], 'mlp_out')


class MiT(nn.Module):
    """Mix Transformer b0 to b5 (SegFormer, Xie et al. 2021, arXiv:2105.15203).

    (B, H, W, C) -> four stages, at strides 4, 8, 16 and 32; H and W should be multiples of 32. A
    stage begins with overlapping patches, a convolution that strides, and ends with layer norm.
    There are no position encodings: images may have another size than in training.

    Args:
      variant: 'b0' to 'b5'.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0 (0.1 in the
        paper).
      remat: computes the blocks again in the backward pass in place of keeping what they computed,
        which takes less memory and more time.
    """

    variant: Literal['b0', 'b1', 'b2', 'b3', 'b4', 'b5'] = 'b0'
    drop_path: DropRate = 0.0
    remat: bool = False

    stride = STRIDES[-1]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        depths, widths = BLOCKS[self.variant], NARROW if self.variant == 'b0' else WIDTHS
        step, stages = self.drop_path / (sum(depths) - 1), []
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            kernel, stride = (7, 4) if index == 0 else (3, 2)
            x = Conv(width, kernel, stride, bias=True, name=f'embed{index}_conv')(x)
            x = _norm(x, f'embed{index}_norm', EPSILON_AFTER_CONV)
            for place in range(depth):
                block = _Block(HEADS[index], REDUCTIONS[index],
                               step * (sum(depths[:index]) + place), train,
                               name=f'stage{index}_block{place}')
                x = call_block(block, x, self.remat)
            x = _norm(x, f'stage{index}_norm')
            stages.append(Stage(STRIDES[index], x))
        return tuple(stages)


def _dense(x: jax.Array, features: int, name: str) -> jax.Array:
    return Dense(features, kernel_init=DENSE_INIT, name=name)(x)


def _norm(x: jax.Array, name: str, epsilon: float = EPSILON) -> jax.Array:
    return nn.LayerNorm(epsilon, dtype=x.dtype, use_fast_variance=False, name=name)(x)
