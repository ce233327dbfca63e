"""Normalisation by name: batch or group, statistics in float32."""

import flax.linen as nn
import jax
from jax import lax

from jaxseg.errors import InputError

KINDS = ('batch', 'group')
DATA_AXIS = 'data'
GROUPS = 32


class Norm(nn.Module):
    """Batch norm (Ioffe & Szegedy 2015) or group norm (Wu & He 2018) over the last axis: same shape, same dtype.

    Batch norm uses the statistics of the global batch: under `jit` the array is global, and under a `pmap` whose axis
    is called 'data' they are averaged over it. Group norm makes 32 groups, or the largest number below that divides.

    Raises:
      InputError: an unknown kind.
    """

    kind: str = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.kind == 'batch':
            axis = DATA_AXIS if train and _bound(DATA_AXIS) and not self.is_initializing() else None
            return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=x.dtype,
                                axis_name=axis, name='batch')(x)
        if self.kind == 'group':
            groups = next(n for n in range(min(GROUPS, x.shape[-1]), 0, -1) if x.shape[-1] % n == 0)
            return nn.GroupNorm(groups, epsilon=1e-5, dtype=x.dtype, name='group')(x)
        raise InputError(f'norm: {self.kind!r} is unknown; known: {", ".join(KINDS)}')


def _bound(axis: str) -> bool:
    """Whether we are being traced under a `pmap` over this axis."""
    try:
        lax.axis_index(axis)
    except NameError:
        return False
    return True
