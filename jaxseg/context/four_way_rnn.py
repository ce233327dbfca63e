"""Four scans side by side: every row from the left and from the right, every column from above and from below."""

import flax.linen as nn
import jax

from jaxseg.layers.merge import Merge, combine, fold
from jaxseg.layers.recurrence import Recurrence


class FourWayRNN(nn.Module):
    """Recurrences in four directions over the same input (ION, Bell et al. 2016, arXiv:1512.04143).

    (B, H, W, C) -> (B, H, W, features) summed, (B, H, W, 4 features) concatenated, or C channels where `merge` adds to
    the input. No direction waits for another. One layer sees a position's own row and column and nothing else; a second
    one sees the whole picture. `features` is the state of one direction; every direction has parameters of its own,
    named by the way it reads. `cell`, `patch`, `merge` and `remat` as in `renet.ReNet`.

    Raises:
      InputError: an unknown cell, combination or merge, a patch below 1.
    """

    features: int
    cell: str = 'gru'
    combine: str = 'sum'
    patch: int = 1
    merge: str = 'replace'
    remat: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        folded = fold(x, self.patch)
        upright = folded.swapaxes(1, 2)
        parts = [self._scan(folded, 'right', False), self._scan(folded, 'left', True),
                 self._scan(upright, 'down', False).swapaxes(1, 2), self._scan(upright, 'up', True).swapaxes(1, 2)]
        return Merge(self.merge, self.patch, name='merge')(x, combine(parts, self.combine))

    def _scan(self, x: jax.Array, name: str, reverse: bool) -> jax.Array:
        lines = x.reshape(-1, *x.shape[2:])
        y, _ = Recurrence(self.features, self.cell, reverse, remat=self.remat, name=name)(lines)
        return y.reshape(*x.shape[:3], -1)
