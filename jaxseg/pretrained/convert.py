"""From another library's tensors to our variables: every tensor is used, every variable filled."""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.errors import InputError
from jaxseg.layers.norm import make_norm
from jaxseg.pretrained.names import Rule, matches, places_of
from jaxseg.pretrained.stated import stated_size
from jaxseg.pretrained.tensors import checkpoint_files, read_tensors

SHOWN = 4  # names in a message
RGB = 3
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of a whole model: what depends on the classes, and what only training uses.
FRESH = ('head', 'auxiliary')
MISSING = object()
CLASSIFIER = re.compile(r'params/(head|auxiliary/heads_\d+)/(kernel|bias)')


@dataclasses.dataclass(frozen=True)
class Weights:
    """A checkpoint of another library, for a part of the model; a subclass names its tensors.

    Args:
      path: the file, in one of the formats of `jaxseg.pretrained.tensors`, or its address on the
        Hugging Face Hub, `hf://OWNER/NAME@REVISION/FILE`.
    """

    path: str

    # The part of the model that it fills; None is the whole model.
    part: ClassVar[str | None] = 'encoder'
    # Of the RGB values between 0 and 1 that the weights were trained with.
    mean: ClassVar[tuple[float, ...]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, ...]] = IMAGENET_STD
    # Of the weights, an SPDX identifier, where the library states one for all of its checkpoints.
    license: ClassVar[str | None] = None
    # Side of the images that they were trained with: of all, or by `variant` of the part.
    side: ClassVar[int | Mapping[str, int] | None] = None
    # Fields of the part, or of the whole model, that the weights need and their shapes do not
    # show: values, or values by `variant` of what has the field. A part without such a field is
    # another one, which needs no such value.
    requires: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    # As `convert` takes them.
    rules: ClassVar[Sequence[Rule]] = ()
    unused: ClassVar[Sequence[str]] = ()
    first: ClassVar[str | Sequence[str]] = ()

    @property
    def files(self) -> tuple[pathlib.Path, ...]:
        """The files of the checkpoint."""
        return checkpoint_files(self.path)

    def size(self, model: Any) -> tuple[int, int] | None:
        """Height and width of the images that the weights were trained with; None is unknown."""
        side = self.side
        if isinstance(side, Mapping):
            side = side.get(getattr(getattr(model, self.part), 'variant', None))
        return stated_size(self.path) or (side and (side, side))

    def check(self, model: Any):
        """Raises InputError where a field of the model would make the weights compute another."""
        part = '' if self.part is None else f'{self.part}.'
        for path, needed in self.requires.items():
            owner, value = None, model
            for name in f'{part}{path}'.split('.'):
                owner, value = value, _field(value, name)
            if isinstance(needed, Mapping):
                needed = needed.get(getattr(owner, 'variant', None), MISSING)
            if MISSING not in (value, needed) and value != needed:
                raise InputError(f'model.{part}{path}: {value!r}, but the weights of '
                                 f'{type(self).__name__} compute something else with it; '
                                 f'set --config.model.{part}{path}={needed!r}')

    def load(self, wanted: Any) -> dict[str, Any]:
        """The variables of the part, for shapes as they are `wanted`.

        Raises:
          InputError: the file cannot be read, or its tensors are not those of this part.
        """
        return convert(self.path, read_tensors(self.path), wanted, self.rules, unused=self.unused,
                       first=self.first)


def _field(part: Any, name: str) -> Any:
    """A field of a part, `MISSING` where it has none; a norm with all of its own fields."""
    value = getattr(part, name, MISSING)
    return make_norm(value, name) if name == 'norm' and isinstance(value, (str, Mapping)) else value


@dataclasses.dataclass(frozen=True)
class ModelWeights(Weights):
    """A checkpoint of a whole model of another library; a subclass names its tensors.

    Auxiliary decoders are loaded where both the checkpoint and the model have them.

    Args:
      path: the file, in one of the formats of `jaxseg.pretrained.tensors`.
      last_layer: 'load', or 'fresh' for other classes than those of the checkpoint: the head and
        the auxiliary decoders start from random values, and their tensors are ignored.
    """

    last_layer: Literal['load', 'fresh'] = 'load'

    part = None

    def load(self, wanted: Any) -> dict[str, Any]:
        """The variables that the checkpoint fills, for shapes as they are `wanted`.

        Raises:
          InputError: the file cannot be read, or its tensors are not those of this model.
        """
        tensors, shapes = read_tensors(self.path), flatten_dict(wanted, sep='/')
        if self.last_layer == 'fresh':
            shapes = {place: shape for place, shape in shapes.items() if not _is_fresh(place)}
            tensors = {name: tensor for name, tensor in tensors.items()
                       if not any(map(_is_fresh, places_of(name, self.rules)))}
        for name, tensor in tensors.items():
            self._check_classes(name, tensor, shapes)
        return convert(self.path, tensors, unflatten_dict(shapes, sep='/'), self.rules,
                       unused=self.unused, first=self.first)

    def _check_classes(self, name: str, tensor: np.ndarray, shapes: Mapping[str, Any]):
        for place in filter(CLASSIFIER.fullmatch, places_of(name, self.rules)):
            classes = shapes[place].shape[-1] if place in shapes else None
            if classes is not None and tensor.ndim and len(tensor) != classes:
                raise InputError(
                    f"{self.path}: {name} is for {len(tensor)} classes and the model has "
                    f"{classes}; set pretrained.last_layer='fresh' to start it from random values")


def _is_fresh(place: str) -> bool:
    return part_of(place) in FRESH


def part_of(place: str) -> str:
    """The part of a whole model that a place is in."""
    return place.partition('/')[2].partition('/')[0]


def convert(path: str, tensors: Mapping[str, np.ndarray], wanted: Any, rules: Sequence[Rule], *,
            unused: Sequence[str] = (), first: str | Sequence[str] = ()) -> dict[str, Any]:
    """Variables of the names, shapes and types of `wanted`.

    A kernel changes from (out, in, height, width) to (height, width, in, out), or from (out, in) to
    (in, out); a `transposed_kernel`, of `jaxseg.layers.conv.ConvTranspose`, from (in, out, height,
    width) to (height, width, in, out). Axes of length 1 in front do not matter: a 1x1 convolution
    may be a linear layer and the reverse. The kernel of the first convolution is adapted to another
    number of input channels as segmentation_models.pytorch does: one channel gets the sum over red,
    green and blue, n get these three in turn, times 3 / n.

    Args:
      path: the file, for messages.
      tensors: by the names of the other library.
      wanted: shapes of the variables, `{'params': {...}, 'batch_stats': {...}}`.
      rules: pairs of names and places (`jaxseg.pretrained.names`). The first that leads to
        variables of the model counts.
      unused: templates of names that have no counterpart; `*` is any text.
      first: the place of the kernel of the first convolution, or several that it may have.

    Raises:
      InputError: tensors without a place, variables without a tensor, another shape or type.
    """
    shapes, first = flatten_dict(wanted, sep='/'), (first,) if isinstance(first, str) else first
    found, surplus = {}, []
    for name, tensor in tensors.items():
        places = places_of(name, rules, shapes)
        if places and not any(place in found for place in places):
            parts = zip(places, _split(path, name, tensor, len(places)), strict=True)
            found |= {place: part for place, part in parts if place}
        elif not matches(name, unused):
            surplus.append(name)
    missing = [place for place in shapes if place not in found]
    check_complete(path, surplus, missing, 'give the model the type and depth of the checkpoint')
    return unflatten_dict({
        place: _value(path, name, tensor, place, shapes[place], adapt=place in first)
        for place, (name, tensor) in found.items()}, sep='/')


def _split(path: str, name: str, tensor: np.ndarray, parts: int) -> list[tuple[str, np.ndarray]]:
    if parts == 1:
        return [(name, tensor)]
    if tensor.ndim == 0 or len(tensor) % parts:
        raise InputError(f'{path}: {name} of shape {tensor.shape} does not divide into {parts} '
                         f'parts; give a checkpoint of the model')
    return [(name, part) for part in np.split(tensor, parts)]


def check_complete(path: str, surplus: Sequence[str], missing: Sequence[str], remedy: str):
    """Raises InputError if tensors have no place, or variables no tensor."""
    if surplus or missing:
        raise InputError(f'{path}: {listed(surplus, "tensors have no place in the model")}; '
                         f'{listed(missing, "variables of the model have no tensor")}; {remedy}')


def listed(names: Sequence[str], problem: str) -> str:
    """How many names have a problem, and the first of them."""
    shown = ', '.join(names[:SHOWN]) + (', ...' if len(names) > SHOWN else '')
    return f'{len(names)} {problem}' + (f' ({shown})' if names else '')


def _value(path: str, name: str, tensor: np.ndarray, place: str, wanted: jax.ShapeDtypeStruct,
           adapt: bool) -> np.ndarray:
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        raise InputError(f'{path}: {name} has the type {tensor.dtype} and {place} needs '
                         f'{wanted.dtype}; give a checkpoint of floating-point numbers')
    value = np.ascontiguousarray(_our_axes(tensor, place), wanted.dtype)
    if adapt and value.shape != wanted.shape and value.shape[2] == RGB:
        value = _adapt(value, wanted.shape[2])
    if _without_leading_ones(value.shape) == _without_leading_ones(wanted.shape):
        value = value.reshape(wanted.shape)
    if value.shape != wanted.shape:
        raise InputError(f'{path}: {name} has the shape {value.shape} (axes in our order) and '
                         f'{place} needs {wanted.shape}; give the model the sizes of the '
                         f'checkpoint')
    return value


def _our_axes(tensor: np.ndarray, place: str) -> np.ndarray:
    if place.endswith('/transposed_kernel') and tensor.ndim == 4:
        return tensor.transpose(2, 3, 0, 1)
    if place.endswith('/kernel') and tensor.ndim in (2, 4):
        return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
    return tensor


def _without_leading_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(itertools.dropwhile(lambda side: side == 1, shape))


def _adapt(kernel: np.ndarray, channels: int) -> np.ndarray:
    """(h, w, 3, out) -> (h, w, channels, out)."""
    if channels == 1:
        return kernel.sum(2, keepdims=True)
    return kernel[:, :, np.arange(channels) % RGB] * np.float32(RGB / channels)
