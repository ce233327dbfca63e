"""The interface between encoders and decoders: a tuple of stages in order of depth."""

from collections.abc import Sequence

import jax
from flax import struct

from jaxseg.errors import InputError


@struct.dataclass
class Stage:
    """Features (B, H / stride, W / stride, C) of one depth of an encoder.

    Several stages may have one stride: those of a dilated ResNet, or the taps of a vision
    transformer.
    """

    stride: int = struct.field(pytree_node=False)
    features: jax.Array


Stages = tuple[Stage, ...]


def deepest(stages: Sequence[Stage]) -> Stage:
    """The last stage."""
    return stages[-1]


def strides(stages: Sequence[Stage]) -> tuple[int, ...]:
    """The stride of every stage, in order of depth."""
    return tuple(stage.stride for stage in stages)


def at_stride(stages: Sequence[Stage], stride: int) -> Stage | None:
    """The deepest stage at a stride; None where there is none."""
    return next((stage for stage in reversed(stages) if stage.stride == stride), None)


def at_index(stages: Sequence[Stage], index: int, where: str) -> Stage:
    """The stage at a place in the order of depth; -1 is the deepest, -2 the one before.

    Raises:
      InputError: there are fewer stages; `where` is the field named in the message.
    """
    if not -len(stages) <= index < len(stages):
        raise InputError(f'{where}: {index} is not a stage of this encoder, which has '
                         f'{len(stages)}, of strides {", ".join(map(str, strides(stages)))}; '
                         f'give {-len(stages)} to {len(stages) - 1}')
    return stages[index]
