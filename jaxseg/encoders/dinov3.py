"""The vision transformers of DINOv3, with rotary positions."""

import functools
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, NonNegativeInt, Positive, PositiveInt
from jaxseg.layers.position import rotate
from jaxseg.layers.remat import call_block
from jaxseg.layers.stages import Stages
from jaxseg.layers.tokens import PatchEmbed, check_heads, prepend, stage_of, tap_indices
from jaxseg.layers.transformer_block import KERNEL_INIT, TransformerBlock, layer_norm

# Channels, blocks, heads, channels inside the MLP.
VARIANTS = {'tiny': (192, 12, 3, 768), 'small': (384, 12, 6, 1536), 'base': (768, 12, 12, 3072),
            'large': (1024, 24, 16, 4096), 'huge': (1280, 32, 20, 5120),
            '7b': (4096, 40, 32, 8192)}
BASE = 100.0  # of the wavelengths
EPSILON = 1e-5


class DINOv3(nn.Module):
    """Siméoni et al. 2025, arXiv:2508.10104: a vision transformer without a table of positions.

    (B, H, W, C) -> one stage a tap, all at stride `patch`, of which H and W must be multiples.
    Queries and keys of patches are rotated by their row and column, which go from -1 to 1 whatever
    the size of the image. The random shifts and scales of these in training are left out.

    Args:
      variant: a name, or the numbers of channels, blocks, heads and channels inside the MLP.
      patch: side of a patch.
      taps: indices of the blocks whose outputs are stages; by default four, evenly spaced.
      norm_taps: apply the final norm to every tap.
      class_features: concatenate the class token to the features of every position.
      registers: tokens without a meaning after the class token.
      layer_scale: its initial value.
      mlp: 'swiglu' in the variants that are published as 'small plus', 'huge plus' and '7b'.
      qkv_bias: biases of query and value; the key has none. '7b' and timm's models without `qkvb`
        in the name have none.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0.
      remat: computes blocks again in the backward pass instead of keeping what is inside them.

    Raises:
      InputError: heads that do not divide the channels into groups of a multiple of 4, or taps that
        are no blocks.
    """

    variant: (Literal['tiny', 'small', 'base', 'large', 'huge', '7b']
              | tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]) = 'small'
    patch: PositiveInt = 16
    taps: tuple[NonNegativeInt, ...] | None = None
    norm_taps: bool = True
    class_features: bool = False
    registers: NonNegativeInt = 4
    layer_scale: Positive = 1e-5
    mlp: Literal['gelu', 'swiglu'] = 'gelu'
    qkv_bias: bool = True
    drop_path: DropRate = 0.0
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of all stages."""
        return self.patch

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        named = isinstance(self.variant, str)
        width, depth, heads, hidden = VARIANTS[self.variant] if named else self.variant
        check_heads(width, heads)
        if width // heads % 4:
            raise InputError(f'encoder.variant: heads of {width // heads} channels, which must be '
                             f'a multiple of 4; change the numbers of heads or channels')
        taps = tap_indices(self.taps, depth)
        x = PatchEmbed(width, self.patch, name='patch_embed')(x)
        size, tokens = x.shape[1:3], [self.param('class_token', KERNEL_INIT, (1, 1, width))]
        if self.registers:
            tokens.append(self.param('registers', KERNEL_INIT, (1, self.registers, width)))
        x = prepend(tokens, x.reshape(x.shape[0], -1, width))
        # Angles of 0 do not rotate the tokens in front.
        angle = jnp.pad(_angles(size, width // heads), ((1 + self.registers, 0), (0, 0)))
        norm = layer_norm(x.dtype, EPSILON, 'norm') if self.norm_taps else lambda x: x
        stages = []
        for index in range(depth):
            block = TransformerBlock(heads, hidden, self.mlp == 'swiglu', self.layer_scale,
                                     self.drop_path * index / max(depth - 1, 1),
                                     'query_value' if self.qkv_bias else 'none', EPSILON,
                                     name=f'block{index}')
            x = call_block(block, x, self.remat, train=train,
                           rotation=functools.partial(rotate, angle=angle))
            if index in taps:
                stages.append(stage_of(norm(x), size, self.patch,
                                       class_features=self.class_features))
        return tuple(stages)


def _angles(size: tuple[int, int], channels: int) -> jax.Array:
    """Of every patch: the first half of the angles from its row, the others from its column.

    (h * w, channels / 2), `2 pi c / 100^(4 t / channels)`, t < channels / 4, of coordinates c of
    the centres of patches between -1 and 1.
    """
    wavelength = BASE ** (jnp.arange(channels // 4) / (channels // 4))
    rows, columns = (
        2 * math.pi * ((2 * jnp.arange(side) + 1) / side - 1)[:, None] / wavelength[None]
        for side in size)
    shape = *size, channels // 4
    angles = jnp.concatenate([jnp.broadcast_to(rows[:, None], shape),
                              jnp.broadcast_to(columns[None], shape)], -1)
    return angles.reshape(-1, channels // 2)
