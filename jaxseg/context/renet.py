"""ReNet: recurrent networks along the rows, then along the columns."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.merge import Merge, MergeKind, fold
from jaxseg.layers.recurrence import CellName, Recurrence


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

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for index in range(self.layers):
            y = self._scan(fold(x, self.patch), f'rows{index}')
            y = self._scan(y.swapaxes(1, 2), f'columns{index}').swapaxes(1, 2)
            x = Merge(self.merge, self.patch, name=f'merge{index}')(x, y)
        return x

    def _scan(self, x: jax.Array, name: str) -> jax.Array:
        lines = x.reshape(-1, *x.shape[2:])
        both = [Recurrence(self.features, self.cell, reverse, remat=self.remat,
                           name=f'{name}_{direction}')(lines)[0]
                for direction, reverse in (('forward', False), ('backward', True))]
        return jnp.concatenate(both, -1).reshape(*x.shape[:3], -1)
