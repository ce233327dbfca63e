"""A hierarchical encoder that mixes positions by linear recurrences alone."""

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, Positive, PositiveInt, Range
from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import Dense
from jaxseg.layers.dropout import DropPath
from jaxseg.layers.recurrence import CellName, Recurrence
from jaxseg.layers.remat import call_block
from jaxseg.layers.split_scan import scan_columns, scan_rows
from jaxseg.layers.stages import Stage, Stages

FIRST_STRIDE = 4


class RecurrentPyramid(nn.Module):
    """Four stages of gated recurrences along rows and columns, each half as fine as the last.

    The pyramid and the overlapping patches are those of SegFormer (Xie et al. 2021,
    arXiv:2105.15203); in place of attention, the blocks scan the map as ReNet does (Visin et al.
    2015, arXiv:1505.00393), with a recurrence that is linear in its state and runs in parallel, and
    gate the result with their input as Griffin's do (De et al. 2024, arXiv:2402.19427). Blocks of
    even index read the rows, those of odd index the columns, in both directions: after two blocks
    every position depends on every other, in time linear in their number.

    (B, H, W, C) -> stages at strides 4, 8, 16 and 32, of which H and W must be multiples.

    Args:
      widths: channels of every stage.
      depths: blocks of every stage.
      cell: any cell of `jaxseg.layers.recurrence.Recurrence`.
      expansion: channels inside the perceptron of a block, over those of its stage.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0.
      remat: computes blocks again in the backward pass instead of keeping what is inside them.

    Raises:
      InputError: another number of depths than of widths.
    """

    widths: tuple[PositiveInt, ...] = (32, 64, 160, 256)
    depths: tuple[PositiveInt, ...] = (2, 2, 4, 2)
    cell: CellName = 'mingru'
    expansion: Annotated[float, Range(1)] = 2.0
    drop_path: DropRate = 0.0
    remat: bool = False

    @property
    def stride(self) -> int:
        """The stride of the deepest stage."""
        return FIRST_STRIDE * 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        if not self.widths or len(self.widths) != len(self.depths):
            raise InputError(f'encoder.depths: {self.depths} for widths {self.widths}; give one '
                             f'number of blocks for every stage, and at least one stage')
        stages, index = [], 0
        for stage, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            kernel, stride = (7, FIRST_STRIDE) if stage == 0 else (3, 2)
            x = Conv(width, kernel, stride, bias=True, name=f'patches{stage}')(x)
            x = nn.LayerNorm(dtype=x.dtype, name=f'patches{stage}_norm')(x)
            for place in range(depth):
                drop_path = self.drop_path * index / max(1, sum(self.depths) - 1)
                block = _Block(index % 2 == 1, self.cell, self.expansion, drop_path, train,
                               name=f'stage{stage}_block{place}')
                x = call_block(block, x, self.remat)
                index += 1
            features = nn.LayerNorm(dtype=x.dtype, name=f'stage{stage}_norm')(x)
            stages.append(Stage(FIRST_STRIDE * 2 ** stage, features))
        return tuple(stages)


class _Block(nn.Module):
    """`x + out(scan(norm(x)) * silu(gate(norm(x))))`, then `x + mlp(norm(x))`."""

    columns: bool
    cell: CellName
    expansion: Positive
    drop_path: float
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, dtype = x.shape[-1], x.dtype
        y = nn.LayerNorm(dtype=dtype, name='norm_scan')(x)
        gate = nn.silu(Dense(2 * width, name='gate')(y))
        y = Dense(width, name='out')(self._scan(y) * gate)
        x = x + DropPath(self.drop_path)(y, train=self.train)
        y = nn.LayerNorm(dtype=dtype, name='norm_mlp')(x)
        y = nn.gelu(Dense(int(self.expansion * width), name='mlp_in')(y))
        y = Dense(width, name='mlp_out')(y)
        return x + DropPath(self.drop_path)(y, train=self.train)

    def _scan(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, 2 C): both directions along the rows or the columns."""
        scan = scan_columns if self.columns else scan_rows
        return jnp.concatenate([scan(Recurrence(x.shape[-1], self.cell, reverse, name=name), x)
                                for name, reverse in (('forward', False), ('backward', True))], -1)
