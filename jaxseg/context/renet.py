"""ReNet: recurrent networks that sweep the feature map along its rows, then along its columns."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.layers.recurrence import Recurrence


class ReNet(nn.Module):
    """Recurrent context (Visin et al. 2015, arXiv:1505.00393; ReSeg, arXiv:1511.07053).

    (B, H, W, C) -> (B, H, W, 2 features). Two recurrences read every row, one from the left and one from the right, and
    their outputs are concatenated; two more read the columns of that. After one layer every position has seen the whole
    picture. A row (then a column) is one batch element of the scan. `features` is the state of one direction.

    Raises:
      InputError: a cell other than 'gru' and 'lstm'.
    """

    features: int
    cell: str = 'gru'
    layers: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for index in range(self.layers):
            x = self._sweep(x, f'rows{index}')
            x = self._sweep(x.swapaxes(1, 2), f'columns{index}').swapaxes(1, 2)
        return x

    def _sweep(self, x: jax.Array, name: str) -> jax.Array:
        lines = x.reshape(-1, *x.shape[2:])
        both = [Recurrence(self.features, self.cell, reverse=reverse, name=f'{name}_{way}')(lines)
                for way, reverse in (('forward', False), ('backward', True))]
        return jnp.concatenate(both, -1).reshape(*x.shape[:3], -1)
