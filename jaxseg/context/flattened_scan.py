"""Recurrences along the flattened feature map."""

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.merge import Combination, Merge, MergeKind, combine, fold
from jaxseg.layers.recurrence import CellName, Recurrence
from jaxseg.layers.split_scan import scan_sequence, turn
from jaxseg.layers.sweep import Sweep


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

    def setup(self):
        for name, direction in self._scans:
            setattr(self, f'{name}_{direction}', Recurrence(
                self.features, self.cell, direction == 'backward', remat=self.remat))
        self._join = Merge(self.merge, self.patch, name='merge')

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return self._merge(x, *(self._scan(index, x, None)[0]
                                for index in range(len(self._scans))))

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """A scan that hands its state on for each direction, and merge (`jaxseg.layers.sweep`)."""
        scans = [Sweep((0,), name == 'columns', 1 if direction == 'forward' else -1, self.patch)
                 for name, direction in self._scans]
        return (*scans, Sweep(tuple(range(len(scans) + 1))))

    def sweep(self, index: int, maps: Sequence[jax.Array], state: Any) -> tuple[jax.Array, Any]:
        """The result of a sweep for strips of its maps, and the state of the scan after it."""
        if index == len(self._scans):
            return self._merge(*maps), None
        return self._scan(index, *maps, state)

    @property
    def _scans(self) -> list[tuple[str, str]]:
        names = ('rows', 'columns') if self.transposed else ('rows',)
        return [(name, direction) for name in names for direction in ('forward', 'backward')]

    def _scan(self, index: int, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        name, direction = self._scans[index]
        arrange = reverse_odd_rows if self.order == 'snake' else lambda x: x
        orient = turn if name == 'columns' else lambda x: x
        x = arrange(orient(fold(x, self.patch)))
        y, state = scan_sequence(getattr(self, f'{name}_{direction}'), x, state)
        return orient(arrange(y)), state

    def _merge(self, x: jax.Array, *parts: jax.Array) -> jax.Array:
        return self._join(x, combine(parts, self.combine))
