"""Vision transformers with learned positions: ViT, DeiT and DINOv2."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import DropRate, NonNegativeInt, Positive, PositiveInt
from jaxseg.layers.remat import call_block
from jaxseg.layers.resize import resize_bicubic, resize_bilinear
from jaxseg.layers.stages import Stages
from jaxseg.layers.tokens import PatchEmbed, check_heads, prepend, stage_of, tap_indices
from jaxseg.layers.transformer_block import KERNEL_INIT, TransformerBlock, layer_norm

# Channels, blocks, heads, and 'swiglu' where the MLP is gated.
VARIANTS = {'tiny': (192, 12, 3), 'small': (384, 12, 6), 'base': (768, 12, 12),
            'large': (1024, 24, 16), 'huge': (1280, 32, 16), 'giant': (1536, 40, 24, 'swiglu')}
OFFSET = 0.1  # of DINOv2: added to the size that positions are resized to


class ViT(nn.Module):
    """Vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) with outputs of some blocks.

    Also DeiT (Touvron et al. 2021, arXiv:2012.12877; its distillation token is a register with a
    position), DeiT III (arXiv:2204.07118) and DINOv2 (Oquab et al. 2023, arXiv:2304.07193), with
    registers (Darcet et al. 2023, arXiv:2309.16588) or without. (B, H, W, C) -> one stage a tap,
    all at stride `patch`, of which H and W must be multiples. For other sizes than `grid` the table
    of positions is resized.

    Args:
      variant: a name, or the numbers of channels, blocks and heads, and 'swiglu' after them for the
        gated MLP of 'giant', DINOv2's.
      patch: side of a patch.
      grid: patches of the images that positions are stored for: (14, 14) of 224 x 224 at patch 16.
      taps: indices of the blocks whose outputs are stages; by default four, evenly spaced.
      norm_taps: apply the final norm to every tap.
      class_features: concatenate the class token to the features of every position (readout
        'project' of `jaxseg.decoders.dpt`).
      registers: tokens without a meaning after the class token.
      token_positions: which of these tokens have a position.
      resampling: of positions: bicubic, 'antialias' as timm, 'plain' as transformers' ViT and
        DINOv2, 'offset' as DINOv2 without registers of its authors; or 'bilinear' as DPT.
      layer_scale: initial value, 1e-5 in DINOv2; None for no layer scale.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0.
      remat: computes blocks again in the backward pass instead of keeping what is inside them.

    Raises:
      InputError: heads that do not divide the channels, or taps that are no blocks.
    """

    variant: (Literal['tiny', 'small', 'base', 'large', 'huge', 'giant']
              | tuple[PositiveInt, PositiveInt, PositiveInt]
              | tuple[PositiveInt, PositiveInt, PositiveInt, Literal['swiglu']]) = 'small'
    patch: PositiveInt = 16
    grid: tuple[PositiveInt, PositiveInt] = (14, 14)
    taps: tuple[NonNegativeInt, ...] | None = None
    norm_taps: bool = False
    class_features: bool = False
    registers: NonNegativeInt = 0
    token_positions: Literal['none', 'class', 'all'] = 'class'
    resampling: Literal['antialias', 'plain', 'offset', 'bilinear'] = 'antialias'
    layer_scale: Positive | None = None
    drop_path: DropRate = 0.0
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of all stages."""
        return self.patch

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        named = isinstance(self.variant, str)
        width, depth, heads, *gated = VARIANTS[self.variant] if named else self.variant
        check_heads(width, heads)
        taps = tap_indices(self.taps, depth)
        x = PatchEmbed(width, self.patch, name='patch_embed')(x)
        size = x.shape[1:3]
        x = self._with_tokens(x, width)
        hidden, stages = 4 * width, []
        if gated:  # as many parameters as with two layers
            hidden = -(-int(hidden * 2 / 3) // 8) * 8
        norm = layer_norm(x.dtype, 1e-6, 'norm') if self.norm_taps else lambda x: x
        for index in range(depth):
            block = TransformerBlock(heads, hidden, bool(gated), self.layer_scale,
                                     self.drop_path * index / max(depth - 1, 1),
                                     name=f'block{index}')
            x = call_block(block, x, self.remat, train=train)
            if index in taps:
                stages.append(stage_of(norm(x), size, self.patch,
                                       class_features=self.class_features))
        return tuple(stages)

    def _with_tokens(self, x: jax.Array, width: int) -> jax.Array:
        """Patches (B, h, w, C) with positions, as a sequence after the other tokens."""
        size = x.shape[1:3]
        tokens = [self.param('class_token', KERNEL_INIT, (1, 1, width))]
        if self.registers:
            tokens.append(self.param('registers', KERNEL_INIT, (1, self.registers, width)))
        placed = {'none': 0, 'class': 1, 'all': 1 + self.registers}[self.token_positions]
        rows, columns = self.grid
        table = self.param('position', KERNEL_INIT, (1, placed + rows * columns, width))
        of_tokens, of_patches = table[:, :placed], table[:, placed:].reshape(1, *self.grid, width)
        of_patches = self._resized(of_patches, size)
        x = (x + of_patches).astype(x.dtype).reshape(x.shape[0], -1, width)
        start = jnp.concatenate(tokens, 1)
        return prepend([start[:, :placed] + of_tokens, start[:, placed:]], x)

    def _resized(self, positions: jax.Array, size: tuple[int, int]) -> jax.Array:
        """(1, *grid, C) -> (1, *size, C)."""
        offset = OFFSET if self.resampling == 'offset' else 0
        scale = [(new + offset) / old for new, old in zip(size, self.grid, strict=True)]
        if self.resampling == 'bilinear':
            return resize_bilinear(positions, size, tuple(zip(size, self.grid, strict=True)))
        return resize_bicubic(positions, size, antialias=self.resampling == 'antialias',
                              scale=scale)
