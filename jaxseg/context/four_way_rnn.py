"""Four recurrences side by side: along every row and every column, in both directions."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.merge import Combination, Merge, MergeKind, combine, fold
from jaxseg.layers.recurrence import CellName, Recurrence
from jaxseg.layers.split_scan import scan_columns, scan_rows
from jaxseg.layers.sweep import Sweep


class FourWayRNN(nn.Module):
    """Recurrences in four directions over the same input (ION, Bell et al. 2016, arXiv:1512.04143).

    (B, H, W, C) -> (B, H, W, features) summed, (B, H, W, 4 features) concatenated, or C channels
    where `merge` adds to the input. No direction waits for another. After one layer a position
    depends on its own row and column alone, after two on every other. `features` is the state of
    one direction; each direction has its own parameters, named by the way it reads. `cell`,
    `patch`, `merge` and `remat` as in `renet.ReNet`.
    """

    features: PositiveInt
    cell: CellName = 'gru'
    combine: Combination = 'sum'
    patch: PositiveInt = 1
    merge: MergeKind = 'replace'
    remat: NonNegativeInt = 0

    def setup(self):
        for name, reverse in (('right', False), ('left', True), ('down', False), ('up', True)):
            setattr(self, name,
                    Recurrence(self.features, self.cell, reverse, remat=self.remat))
        self._join = Merge(self.merge, self.patch, name='merge')

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return self._merge(x, *self._along_rows(x), *self._along_columns(x))

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """Rows, columns and merge (`jaxseg.layers.sweep`)."""
        return (Sweep((0,), patch=self.patch), Sweep((0,), columns=True, patch=self.patch),
                Sweep((0, 1, 2)))

    def sweep(self, index: int, maps: Sequence[jax.Array], state: None) -> tuple[jax.Array, None]:
        """The result of a sweep for strips of its maps; no state is handed on."""
        if index == 2:
            parts = [part for both in maps[1:] for part in jnp.split(both, 2, -1)]
            return self._merge(maps[0], *parts), state
        along = self._along_rows if index == 0 else self._along_columns
        return jnp.concatenate(along(*maps), -1), state

    def _along_rows(self, x: jax.Array) -> list[jax.Array]:
        folded = fold(x, self.patch)
        return [scan_rows(each, folded) for each in (self.right, self.left)]

    def _along_columns(self, x: jax.Array) -> list[jax.Array]:
        folded = fold(x, self.patch)
        return [scan_columns(each, folded) for each in (self.down, self.up)]

    def _merge(self, x: jax.Array, *parts: jax.Array) -> jax.Array:
        return self._join(x, combine(parts, self.combine))
