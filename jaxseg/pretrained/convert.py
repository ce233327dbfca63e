"""From another library's tensors to our variables: every tensor is used, every variable filled."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.errors import InputError
from jaxseg.pretrained.tensors import read_tensors

SHOWN = 4  # names in a message
RGB = 3
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What PyTorch calls the values of a batch norm, and where they are here.
NORM = {'weight': 'params/{}/batch/scale', 'bias': 'params/{}/batch/bias',
        'running_mean': 'batch_stats/{}/batch/mean', 'running_var': 'batch_stats/{}/batch/var'}


@dataclasses.dataclass(frozen=True)
class Weights:
    """A checkpoint of another library, for a part of the model; a subclass names its tensors.

    A subclass has `part`, the part of the model that it fills; `mean` and `std` of the RGB values
    between 0 and 1 that the weights were trained with; and `rules`, `unused` and `first` as
    `convert` takes them.

    Args:
      path: the file, in one of the formats of `jaxseg.pretrained.tensors`.
    """

    path: str

    def load(self, wanted: Any) -> dict[str, Any]:
        """The variables of the part, for shapes as they are `wanted`.

        Raises:
          InputError: the file cannot be read, or its tensors are not those of this part.
        """
        return convert(self.path, read_tensors(self.path), wanted, self.rules, unused=self.unused,
                       first=self.first)


def norm_rules(pattern: str, place: str) -> list[tuple[str, str]]:
    """The rules of a batch norm for `convert`."""
    return [(rf'{pattern}\.{name}', ours.format(place)) for name, ours in NORM.items()]


def convert(path: str, tensors: Mapping[str, np.ndarray], wanted: Any,
            rules: Sequence[tuple[str, str]], *, unused: Sequence[str] = (), first: str = ''
            ) -> dict[str, Any]:
    """Variables of the names, shapes and types of `wanted`.

    A kernel changes from (out, in, height, width) to (height, width, in, out), or from (out, in) to
    (in, out). The kernel of the first convolution is adapted to another number of input channels
    as segmentation_models.pytorch does: one channel gets the sum over red, green and blue, n get
    these three in turn, times 3 / n.

    Args:
      path: the file, for messages.
      tensors: by the names of the other library.
      wanted: shapes of the variables, `{'params': {...}, 'batch_stats': {...}}`.
      rules: pairs of a pattern that matches a whole name, and its place, such as
        `params/conv1/kernel`, which may refer to groups of the pattern. The first match counts.
      unused: patterns of names that have no counterpart.
      first: the place of the kernel of the first convolution.

    Raises:
      InputError: tensors without a place, variables without a tensor, another shape or type.
    """
    shapes = flatten_dict(wanted, sep='/')
    names, surplus = {}, []
    for name in tensors:
        place = _place(name, rules)
        if place in shapes and place not in names:
            names[place] = name
        elif not any(re.fullmatch(pattern, name) for pattern in unused):
            surplus.append(name)
    missing = [place for place in shapes if place not in names]
    if surplus or missing:
        raise InputError(f'{path}: {_listed(surplus, "tensors have no place in the model")}; '
                         f'{_listed(missing, "variables of the model have no tensor")}; give the '
                         f'model the type and depth of the checkpoint')
    return unflatten_dict({
        place: _value(path, name, tensors[name], place, shapes[place], adapt=place == first)
        for place, name in names.items()}, sep='/')


def _place(name: str, rules: Sequence[tuple[str, str]]) -> str | None:
    for pattern, place in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(place)
    return None


def _listed(names: Sequence[str], problem: str) -> str:
    shown = ', '.join(names[:SHOWN]) + (', ...' if len(names) > SHOWN else '')
    return f'{len(names)} {problem}' + (f' ({shown})' if names else '')


def _value(path: str, name: str, tensor: np.ndarray, place: str, wanted: jax.ShapeDtypeStruct,
           adapt: bool) -> np.ndarray:
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        raise InputError(f'{path}: {name} has the type {tensor.dtype} and {place} needs '
                         f'{wanted.dtype}; give a checkpoint of floating-point numbers')
    if place.endswith('/kernel') and tensor.ndim in (2, 4):
        tensor = tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
    value = np.ascontiguousarray(tensor, wanted.dtype)
    if adapt and value.shape != wanted.shape and value.shape[2] == RGB:
        value = _adapt(value, wanted.shape[2])
    if value.shape != wanted.shape:
        raise InputError(f'{path}: {name} has the shape {value.shape} (axes in our order) and '
                         f'{place} needs {wanted.shape}; give the model the sizes of the '
                         f'checkpoint')
    return value


def _adapt(kernel: np.ndarray, channels: int) -> np.ndarray:
    """(h, w, 3, out) -> (h, w, channels, out)."""
    if channels == 1:
        return kernel.sum(2, keepdims=True)
    return kernel[:, :, np.arange(channels) % RGB] * np.float32(RGB / channels)
