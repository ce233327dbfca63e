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

    Attributes:
      class_features: whether the second half of the channels is a class token, the same everywhere.
    """

    stride: int = struct.field(pytree_node=False)
    features: jax.Array
    class_features: bool = struct.field(pytree_node=False, default=False)


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


def pyramid(stages: Sequence[Stage], finest: int, where: str) -> Stages:
    """The deepest stage of every stride from `finest` on, each twice the last, to the last stage's.

    Raises:
      InputError: one is missing; `where` begins the message.
    """
    wanted, last = [finest], deepest(stages).stride
    while wanted[-1] < last:
        wanted.append(2 * wanted[-1])
    found = tuple(at_stride(stages, stride) for stride in wanted)
    if None in found or wanted[-1] != last:
        raise InputError(f'{where}: it needs stages of strides {_listed(wanted)} and the encoder '
                         f'has stages of strides {_listed(strides(stages))}; use an encoder that '
                         f'has them or another decoder')
    return found


def required(stages: Sequence[Stage], stride: int, where: str) -> Stage:
    """The deepest stage at a stride.

    Raises:
      InputError: there is none; `where` begins the message.
    """
    found = at_stride(stages, stride)
    if found is None:
        raise InputError(f'{where}: it needs a stage of stride {stride} and the encoder has stages '
                         f'of strides {_listed(strides(stages))}; use an encoder that has one or '
                         f'another decoder')
    return found


def first_stride(stages: Sequence[Stage], widths: Sequence[int], where: str) -> int:
    """The stride of the last stage, which a decoder halves once for every one of its `widths`.

    Raises:
      InputError: that would go beyond stride 1; `where` is the field named in the message.
    """
    stride = deepest(stages).stride
    if 2 ** len(widths) > stride:
        raise InputError(f'{where}: {len(widths)} widths {widths} go beyond stride 1 from the '
                         f'deepest stage of the encoder, of stride {stride}; give at most '
                         f'{stride.bit_length() - 1}')
    return stride


def _listed(strides: Sequence[int]) -> str:
    return ', '.join(map(str, strides))


def at_index(stages: Sequence[Stage], index: int, where: str) -> Stage:
    """The stage at a place in the order of depth; -1 is the deepest, -2 the one before.

    Raises:
      InputError: there are fewer stages; `where` is the field named in the message.
    """
    if not -len(stages) <= index < len(stages):
        raise InputError(f'{where}: {index} is not a stage of this encoder, which has '
                         f'{len(stages)}, of strides {_listed(strides(stages))}; '
                         f'give {-len(stages)} to {len(stages) - 1}')
    return stages[index]


def dilated(strides: Sequence[int], reached: int, output_stride: int) -> list[tuple[int, int]]:
    """The stride and dilation of every block, where none goes beyond `output_stride`.

    A block that would keeps its resolution, and all blocks after it dilate twice as much.

    Args:
      strides: of the blocks, 1 or 2.
      reached: the stride of the input of the first.
    """
    found, dilation = [], 1
    for stride in strides:
        beyond = reached * stride > output_stride
        found.append((1 if beyond else stride, dilation))
        if beyond:
            dilation *= 2
        else:
            reached *= stride
    return found
