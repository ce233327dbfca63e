"""The feature map read as one long line."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.layers.merge import Merge, combine, fold
from jaxseg.layers.recurrence import Recurrence

ORDERS = ('snake', 'raster')


def turn(x: jax.Array) -> jax.Array:
    """Every second row of (B, H, W, C) the other way round; its own inverse."""
    odd = jnp.arange(x.shape[1]) % 2 == 1
    return jnp.where(odd[None, :, None, None], x[:, :, ::-1], x)


class FlattenedScan(nn.Module):
    """Scans over the flattened map (Vim, Zhu et al. 2024, arXiv:2401.09417; VMamba, Liu et al. 2024, arXiv:2401.10166).

    (B, H, W, C) -> (B, H, W, features) summed, (B, H, W, 2 features) or, `transposed`, (B, H, W, 4 features)
    concatenated, or C channels where `merge` adds to the input. The line is read row by row in both directions and, as
    in VMamba, column by column in both directions too, each with parameters of its own. In the order 'snake' every
    second row is turned, so that the end of a row stands beside the start of the next; 'raster' jumps back to the
    left. After one layer every position has seen the whole picture, through H * W steps: a linear cell does them in
    parallel, a GRU one by one. `cell`, `patch`, `merge` and `remat` as in `renet.ReNet`.

    Raises:
      InputError: an unknown order, cell, combination or merge, a patch below 1.
    """

    features: int
    cell: str = 'mingru'
    order: str = 'snake'
    transposed: bool = True
    combine: str = 'sum'
    patch: int = 1
    merge: str = 'replace'
    remat: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.order not in ORDERS:
            raise InputError(f'order: {self.order!r} is unknown; known: {", ".join(ORDERS)}')
        folded = fold(x, self.patch)
        parts = self._scan(folded, 'rows')
        if self.transposed:
            parts += [y.swapaxes(1, 2) for y in self._scan(folded.swapaxes(1, 2), 'columns')]
        return Merge(self.merge, self.patch, name='merge')(x, combine(parts, self.combine))

    def _scan(self, x: jax.Array, name: str) -> list[jax.Array]:
        arrange = turn if self.order == 'snake' else lambda x: x
        line = arrange(x).reshape(x.shape[0], -1, x.shape[-1])
        both = [Recurrence(self.features, self.cell, reverse, remat=self.remat, name=f'{name}_{way}')(line)[0]
                for way, reverse in (('forward', False), ('backward', True))]
        return [arrange(y.reshape(*x.shape[:3], -1)) for y in both]
