"""From our variables to the tensors of another library: the reverse of `convert`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxseg.errors import InputError
from jaxseg.pretrained.convert import listed
from jaxseg.pretrained.names import Rule, name_of
from jaxseg.pretrained.tensors import Tensors


def revert(variables: Any, rules: Sequence[Rule]) -> Tensors:
    """The tensors of the names and axes that `convert` turns into these variables, bit for bit.

    Where several rules lead to a variable the first one names it. Axes of length 1 in front, which
    `convert` ignores, stay as they are here, and what it leaves out of a tensor is zero.

    Raises:
      InputError: variables that no rule names, or of which a tensor holds others that are missing.
    """
    flat = flatten_dict(variables, sep='/')
    named = {place: name_of(place, rules) for place in flat}
    nameless = [place for place, found in named.items()
                if found is None or any(other and other not in flat for other in found[1])]
    if nameless:
        raise InputError(f'{listed(nameless, "variables of the model have no name there")}; '
                         f'give the table of names of this architecture')
    return {name: _joined(flat, places) for name, places in dict(named.values()).items()}


def _joined(flat: Mapping[str, Any], places: Sequence[str]) -> np.ndarray:
    arrays = {place: _their_axes(flat[place], place) for place in places if place}
    if len(places) == 1:
        return np.ascontiguousarray(arrays[places[0]])
    blank = np.zeros_like(next(iter(arrays.values())))
    return np.concatenate([arrays.get(place, blank) for place in places])


def _their_axes(value: Any, place: str) -> np.ndarray:
    value = np.asarray(value)
    if place.endswith('/transposed_kernel') and value.ndim == 4:
        return value.transpose(2, 3, 0, 1)
    if place.endswith('/kernel') and value.ndim in (2, 4):
        return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    return value
