"""Batch norm and group norm, chosen by name, with float32 statistics."""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
from jax import lax

from jaxseg.axis import mapped_axis
from jaxseg.errors import InputError
from jaxseg.fields import Positive, PositiveInt, Range, check_fields, nearest

NormSpec = Literal['batch', 'group'] | Mapping[str, Any]  # a kind, or the fields of `Norm`
TENSORFLOW = {'kind': 'batch', 'momentum': 0.99, 'epsilon': 1e-3}  # as layers there
CHANNELS_PER_GROUP = 8  # at least, where there are as many


class Norm(nn.Module):
    """Batch norm (Ioffe & Szegedy 2015) or group norm (Wu & He 2018) of the last axis.

    The shape and dtype of the input; the statistics are float32. Batch norm takes the statistics of
    the global batch: under `jit` the array is global, under `pmap` they are averaged over the
    mapped axis. Group norm has `number_of_groups`.

    Args:
      kind: 'batch' or 'group'.
      momentum: of the running statistics of batch norm.
      epsilon: added to the variance.
      groups: the most groups of group norm.
      axis_name: mapped axis of the batch; None is that of `jaxseg.axis.mapped_over`, if any.

    Raises:
      InputError: an unknown kind or a value out of range; in training, batch norm of a single value
        a channel, which it would make 0; group norm of a single channel.
    """

    kind: Literal['batch', 'group'] = 'batch'
    momentum: Annotated[float, Range(0, below=1)] = 0.9
    epsilon: Positive = 1e-5
    groups: PositiveInt = 32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        check_fields(self, 'norm')
        if self.kind == 'group':
            return nn.GroupNorm(number_of_groups(x.shape[-1], self.groups), epsilon=self.epsilon,
                                dtype=x.dtype, name='group')(x)
        updating = train and not self.is_initializing()
        axis = (self.axis_name or mapped_axis()) if updating else None
        values = x.size // x.shape[-1] * (lax.axis_size(axis) if axis else 1)
        if updating and values == 1:
            raise InputError(
                f'norm {"/".join(self.path)}: batch norm of one value a channel (batch 1, map 1x1) '
                f"has no statistics; give larger images or batches, or norm='group'")
        return nn.BatchNorm(use_running_average=not train, momentum=self.momentum,
                            epsilon=self.epsilon, dtype=x.dtype, axis_name=axis, name='batch')(x)


def number_of_groups(channels: int, most: int = 32) -> int:
    """The most groups, up to `most`, that divide `channels` and have at least 8 of them each.

    Below 16 channels this is one group: layer norm over the map. Groups of one channel would be
    instance norm, which removes the mean of every channel and with it what a map has in common.

    Raises:
      InputError: a single channel.
    """
    if channels == 1:
        raise InputError("norm: group norm of 1 channel would be instance norm; give 2 channels or "
                         "more, or norm='batch'")
    return max((groups for groups in range(1, most + 1)
                if channels % groups == 0 and channels // groups >= CHANNELS_PER_GROUP), default=1)


def make_norm(spec: NormSpec, name: str) -> Norm:
    """The norm that the field `norm` of a part describes: a kind, or the fields of `Norm`.

    Raises:
      InputError: an unknown field. `Norm` checks the values.
    """
    fields = {'kind': spec} if isinstance(spec, str) else dict(spec)
    known = [field for field in Norm.__dataclass_fields__ if field not in ('parent', 'name')]
    unknown = [field for field in fields if field not in known]
    if unknown:
        raise InputError(f'norm.{unknown[0]}: no such field; {nearest(unknown[0], known)}')
    return Norm(**fields, name=name)


def norm_layer(spec: NormSpec, train: bool, name: str) -> Callable[[jax.Array], jax.Array]:
    """The same norm as a function of its input alone, for blocks to which it is passed."""
    return functools.partial(make_norm(spec, name), train=train)
