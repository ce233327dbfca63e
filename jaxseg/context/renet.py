"""ReNet: recurrent networks along the rows, then along the columns."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.merge import Merge, MergeKind, fold
from jaxseg.layers.recurrence import CellName, Recurrence
from jaxseg.layers.split_scan import scan_columns, scan_rows
from jaxseg.layers.sweep import Sweep


class ReNet(nn.Module):
    """Recurrent context (Visin et al. 2015, arXiv:1505.00393; ReSeg, arXiv:1511.07053).

    (B, H, W, C) -> (B, H, W, 2 features), or C channels where `merge` adds to the input. Two
    recurrences read every row, one from the left and one from the right, and their outputs are
    concatenated; two more read the columns of that. After one layer every position depends on every
    other. A row (then a column) is one batch element of the scan. `features` is the state of one
    direction, `cell` any cell of `Recurrence`, `remat` its steps a checkpoint.

    A layer reads windows of `patch` x `patch` positions, 2 x 2 in the papers, which makes its scans
    that much shorter, and `Merge` brings its output back to the size of the input. Several layers
    are the same as a list of single ones.
    """

    features: PositiveInt
    cell: CellName = 'gru'
    layers: PositiveInt = 1
    patch: PositiveInt = 1
    merge: MergeKind = 'replace'
    remat: NonNegativeInt = 0

    def setup(self):
        for index in range(self.layers):
            for name in (f'rows{index}', f'columns{index}'):
                for direction in ('forward', 'backward'):
                    setattr(self, f'{name}_{direction}', Recurrence(
                        self.features, self.cell, direction == 'backward', remat=self.remat))
            setattr(self, f'merge{index}', Merge(self.merge, self.patch))

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for index in range(self.layers):
            y = self._rows(index, x)
            x = self._merge(index, x, self._columns(index, y))
        return x

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """Rows, columns and merge of every layer (`jaxseg.layers.sweep`)."""
        return tuple(sweep for first in range(0, 3 * self.layers, 3) for sweep in (
            Sweep((first,), patch=self.patch), Sweep((first + 1,), columns=True, patch=self.patch),
            Sweep((first, first + 2))))

    def sweep(self, index: int, maps: Sequence[jax.Array], state: None) -> tuple[jax.Array, None]:
        """The result of a sweep for strips of its maps; no state is handed on."""
        layer, step = divmod(index, 3)
        return (self._rows, self._columns, self._merge)[step](layer, *maps), state

    def _rows(self, index: int, x: jax.Array) -> jax.Array:
        return self._scan(scan_rows, fold(x, self.patch), f'rows{index}')

    def _columns(self, index: int, y: jax.Array) -> jax.Array:
        return self._scan(scan_columns, y, f'columns{index}')

    def _merge(self, index: int, x: jax.Array, y: jax.Array) -> jax.Array:
        return getattr(self, f'merge{index}')(x, y)

    def _scan(self, scan: Callable, x: jax.Array, name: str) -> jax.Array:
        return jnp.concatenate([scan(getattr(self, f'{name}_{direction}'), x)
                                for direction in ('forward', 'backward')], -1)
