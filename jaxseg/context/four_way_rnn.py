"""Four recurrences side by side: along every row and every column, in both directions."""

import flax.linen as nn
import jax

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.merge import Combination, Merge, MergeKind, combine, fold
from jaxseg.layers.recurrence import CellName, Recurrence


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

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        folded = fold(x, self.patch)
        transposed = folded.swapaxes(1, 2)
        parts = [self._scan(folded, 'right', False), self._scan(folded, 'left', True),
                 self._scan(transposed, 'down', False).swapaxes(1, 2),
                 self._scan(transposed, 'up', True).swapaxes(1, 2)]
        return Merge(self.merge, self.patch, name='merge')(x, combine(parts, self.combine))

    def _scan(self, x: jax.Array, name: str, reverse: bool) -> jax.Array:
        lines = x.reshape(-1, *x.shape[2:])
        y, _ = Recurrence(self.features, self.cell, reverse, remat=self.remat, name=name)(lines)
        return y.reshape(*x.shape[:3], -1)
