"""Weights of a run under our own names, as `jaxseg export-weights` writes them."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Literal

from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.errors import InputError
from jaxseg.pretrained.convert import Weights, check_complete, part_of
from jaxseg.pretrained.tensors import read_tensors
from jaxseg.pretrained.write import read_metadata

Part = Literal['encoder', 'context', 'decoder', 'head', 'auxiliary']


@dataclasses.dataclass(frozen=True)
class Exported(Weights):
    """Weights that another run of this library ended with; the images are normalised as there.

    Args:
      path: a file that `jaxseg export-weights` wrote.
      parts: the parts of the model that begin with them, each whole; the others begin with random
        values, as the head must for other classes.
    """

    parts: Sequence[Part] = ('encoder', 'context', 'decoder', 'head', 'auxiliary')

    part = None

    @property
    def mean(self) -> tuple[float, ...]:
        """Of the run's images."""
        return tuple(self._recorded('mean'))

    @property
    def std(self) -> tuple[float, ...]:
        """Of the run's images."""
        return tuple(self._recorded('std'))

    @property
    def license(self) -> str | None:
        """Of the weights that the run began with."""
        return (self._recorded('pretrained') or {'license': None})['license']

    def size(self, model: Any) -> tuple[int, int] | None:
        """Of the images of the weights that the run began with."""
        size = (self._recorded('pretrained') or {}).get('size')
        return size and tuple(size)

    def load(self, wanted: Any) -> dict[str, Any]:
        """The variables of `parts`, for shapes as they are `wanted`.

        Raises:
          InputError: the file cannot be read, or its tensors are not those of these parts.
        """
        shapes, tensors = (
            {place: value for place, value in flat.items() if part_of(place) in self.parts}
            for flat in (flatten_dict(wanted, sep='/'), read_tensors(self.path)))
        surplus = [place for place in tensors if place not in shapes]
        missing = [place for place in shapes if place not in tensors]
        check_complete(self.path, surplus, missing, 'give the model the parts of the run, or name '
                       'those that are the same in pretrained.parts')
        for place, tensor in tensors.items():
            if (tensor.shape, tensor.dtype) != (shapes[place].shape, shapes[place].dtype):
                raise InputError(
                    f'{self.path}: {place} is {tensor.dtype} {tensor.shape} and the model needs '
                    f'{shapes[place].dtype} {shapes[place].shape}; give the model the sizes of the '
                    f'run, or leave {part_of(place)!r} out of pretrained.parts')
        return unflatten_dict(tensors, sep='/')

    def _recorded(self, name: str) -> Any:
        metadata = read_metadata(self.path)
        try:
            return json.loads(metadata[name])
        except (KeyError, ValueError):
            raise InputError(f'{self.path}: it does not state the {name} of its run; give a file '
                             f'that jaxseg export-weights wrote') from None
