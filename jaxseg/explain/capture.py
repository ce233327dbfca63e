"""The features inside a Linen model: which layers have maps, and gradients by one of them."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import nearest

Apply = Callable[[jax.Array], Mapping[str, Any]]


def layer_maps(apply: Apply, images: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Name and shape (B, h, w, C) of the output of every layer that gives a map; nothing is run.

    Names are paths of modules, such as `encoder/block0`. Of an encoder's stages it is the deepest.

    Args:
      apply: images (B, H, W, C) -> outputs, which calls Linen modules.
      images: an array, or its shape and dtype.
    """
    found: dict[str, jax.ShapeDtypeStruct] = {}

    def note(function, args, kwargs, context):
        output = function(*args, **kwargs)
        name, features = _name(context), _map_of(output)
        if features is not None and name:
            found.setdefault(name, jax.ShapeDtypeStruct(features.shape, features.dtype))
        return output

    with nn.intercept_methods(note):
        jax.eval_shape(apply, images)
    return found


def shifted(apply: Apply, layer: str) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, Any]]:
    """`(images, delta) -> (features, outputs)`: the outputs where delta is added to a layer's map.

    The derivative by delta at zero is that by the features of the layer.

    Args:
      apply: images -> outputs.
      layer: one of `layer_maps`, at its first call.
    """
    def run(images: jax.Array, delta: jax.Array) -> tuple[jax.Array, Any]:
        features: list[jax.Array] = []

        def shift(function, args, kwargs, context):
            output = function(*args, **kwargs)
            if features or _name(context) != layer:
                return output
            features.append(_map_of(output))
            return _with_map(output, features[0] + delta)

        with nn.intercept_methods(shift):
            outputs = apply(images)
        return features[0], outputs

    return run


def check_layer(layer: str, known: Mapping[str, Any], argument: str):
    """Raises InputError unless `layer` is one of the known ones."""
    if layer not in known:
        raise InputError(f'{argument}={layer}: the model has no map of this name; '
                         f'{nearest(layer, known)}')


def _name(context: Any) -> str:
    """The path of a module that is called, empty for its other methods."""
    return '/'.join(context.module.path) if context.method_name == '__call__' else ''


def _map_of(output: Any) -> jax.Array | None:
    """The map in what a layer returns: an array, or the features of the deepest stage."""
    if isinstance(output, tuple) and output:
        output = getattr(output[-1], 'features', None)
    is_map = isinstance(output, jax.Array) and output.ndim == 4
    return output if is_map and jnp.issubdtype(output.dtype, jnp.floating) else None


def _with_map(output: Any, features: jax.Array) -> Any:
    if isinstance(output, tuple):
        return (*output[:-1], output[-1].replace(features=features))
    return features
