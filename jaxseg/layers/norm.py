"""Normalisation by name: batch or group, statistics in float32."""

from collections.abc import Mapping
from typing import Annotated, Literal

import flax.linen as nn
import jax
from jax import lax

from jaxseg.errors import InputError
from jaxseg.fields import Positive, PositiveInt, Range, check_fields, nearest
from jaxseg.layers.axis import mapped_axis

FEWEST_CHANNELS = 8  # of a group, where there are enough


class Norm(nn.Module):
    """Batch norm (Ioffe & Szegedy 2015) or group norm (Wu & He 2018) over the last axis: same shape, same dtype.

    Batch norm uses the statistics of the global batch: under `jit` the array is global, under `pmap` they are averaged
    over the mapped axis. Group norm makes the largest number of groups up to `groups` that divides the channels and
    leaves at least 8 channels a group; with fewer than 16 channels there is one group, which is layer norm over the map.

    Args:
      kind: 'batch' or 'group'.
      momentum: of the running statistics of batch norm.
      epsilon: added to the variance.
      groups: the most groups of group norm.
      axis_name: axis that batch statistics are averaged over; None is that of `jaxseg.layers.axis.mapped_over`.

    Raises:
      InputError: batch norm over a single value a channel, whose output would be its bias.
    """

    kind: Literal['batch', 'group'] = 'batch'
    momentum: Annotated[float, Range(0, below=1)] = 0.9
    epsilon: Positive = 1e-5
    groups: PositiveInt = 32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.kind == 'group':
            return nn.GroupNorm(number_of_groups(x.shape[-1], self.groups), epsilon=self.epsilon, dtype=x.dtype,
                                name='group')(x)
        axis = self.axis_name or mapped_axis()
        axis = axis if train and not self.is_initializing() else None
        values = x.size // x.shape[-1] * (lax.axis_size(axis) if axis else 1)
        if train and values == 1 and not self.is_initializing():
            raise InputError(f'batch norm {"/".join(self.path)}: one value a channel has no statistics (batch 1, map 1x1); '
                             f"give larger images or batches, or norm='group'")
        return nn.BatchNorm(use_running_average=not train, momentum=self.momentum, epsilon=self.epsilon, dtype=x.dtype,
                            axis_name=axis, name='batch')(x)


def number_of_groups(channels: int, most: int = 32) -> int:
    """The largest divisor of `channels` up to `most` with at least 8 channels a group; 1 where there is none."""
    return max((n for n in range(1, most + 1) if channels % n == 0 and channels // n >= FEWEST_CHANNELS), default=1)


def make_norm(spec: str | Mapping, name: str) -> Norm:
    """The norm that a part's field `norm` describes: a kind, or the fields of `Norm`.

    Raises:
      InputError: an unknown kind or field, or a value out of range.
    """
    fields = {'kind': spec} if isinstance(spec, str) else dict(spec)
    known = [field for field in Norm.__dataclass_fields__ if field not in ('parent', 'name')]
    unknown = [field for field in fields if field not in known]
    if unknown:
        raise InputError(f'norm.{unknown[0]}: no such field; {nearest(unknown[0], known)}')
    check_fields(Norm(**fields, parent=None), 'norm')
    return Norm(**fields, name=name)
