"""Parts of a model that do not learn: neither parameters nor running statistics change."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

from jaxseg.errors import InputError
from jaxseg.training.parameters import matching, named, nested


def split_frozen(params: Any, patterns: Sequence[str]) -> tuple[Any, Any]:
    """Trainable and frozen parameters, each nested dicts without those of the other.

    Args:
      patterns: regular expressions, each of which matches whole names such as
        'encoder/conv1/kernel'.

    Raises:
      InputError: a pattern that matches nothing, or patterns that match everything.
    """
    if not patterns:
        return params, {}
    parameters = named(params)
    frozen = {name for pattern in patterns
              for name in matching('algorithm.freeze', pattern, list(parameters))}
    if len(frozen) == len(parameters):
        raise InputError(f'algorithm.freeze: {list(patterns)} matches all parameters, so nothing '
                         f'would be learned')
    return tuple(nested({name: leaf for name, leaf in parameters.items()
                         if (name in frozen) == chosen}) for chosen in (False, True))


def merge_frozen(trainable: Any, frozen: Any) -> Any:
    """The parameters that `split_frozen` splits."""
    return nested({**named(trainable), **named(frozen)}) if frozen else trainable


def outside_of_training(trainable: Any, frozen: Any) -> contextlib.AbstractContextManager:
    """While a model is applied inside: modules whose parameters are all frozen have `train=False`.

    So batch norm uses its stored statistics, and neither dropout nor drop path act there.
    """
    modules = _modules(frozen) - _modules(trainable)

    def call(method: Callable, arguments: tuple, options: dict, context: Any) -> Any:
        if context.module.path in modules and 'train' in options:
            options = {**options, 'train': False}
        return method(*arguments, **options)

    return nn.intercept_methods(call)


def _modules(params: Any) -> set[tuple[str, ...]]:
    """The paths of all modules with some of these parameters."""
    paths = [tuple(name.split('/')) for name in named(params)]
    return {path[:length] for path in paths for length in range(len(path))}
