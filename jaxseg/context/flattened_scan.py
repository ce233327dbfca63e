"""Recurrences along the flattened feature map."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.merge import Combination, Merge, MergeKind, combine, fold
from jaxseg.layers.recurrence import CellName, Recurrence


def reverse_odd_rows(x: jax.Array) -> jax.Array:
    """Every second row of (B, H, W, C) in reverse order; its own inverse."""
    odd = jnp.arange(x.shape[1]) % 2 == 1
    return jnp.where(odd[None, :, None, None], x[:, :, ::-1], x)


class FlattenedScan(nn.Module):
    """Scans over the flattened map (Vim, arXiv:2401.09417; VMamba, arXiv:2401.10166).

    (B, H, W, C) -> (B, H, W, features) summed, (B, H, W, 2 features) or, `transposed`,
    (B, H, W, 4 features) concatenated, or C channels where `merge` adds to the input. The sequence
    is read row by row in both directions and, as in VMamba, column by column in both directions
    too, each with its own parameters. In the order 'snake' every second row is reversed, so that
    the end of a row is next to the start of the following one; 'raster' returns to the left. After
    one layer every position depends on every other, through H * W steps: parallel for a linear
    cell, one by one for a GRU. `cell`, `patch`, `merge` and `remat` as in `renet.ReNet`.
    """

    features: PositiveInt
    cell: CellName = 'mingru'
    order: Literal['snake', 'raster'] = 'snake'
    transposed: bool = True
    combine: Combination = 'sum'
    patch: PositiveInt = 1
    merge: MergeKind = 'replace'
    remat: NonNegativeInt = 0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        folded = fold(x, self.patch)
        parts = self._scan(folded, 'rows')
        if self.transposed:
            parts += [y.swapaxes(1, 2) for y in self._scan(folded.swapaxes(1, 2), 'columns')]
        return Merge(self.merge, self.patch, name='merge')(x, combine(parts, self.combine))

    def _scan(self, x: jax.Array, name: str) -> list[jax.Array]:
        arrange = reverse_odd_rows if self.order == 'snake' else lambda x: x
        sequence = arrange(x).reshape(x.shape[0], -1, x.shape[-1])
        both = [Recurrence(self.features, self.cell, reverse, remat=self.remat,
                           name=f'{name}_{direction}')(sequence)[0]
                for direction, reverse in (('forward', False), ('backward', True))]
        return [arrange(y.reshape(*x.shape[:3], -1)) for y in both]
