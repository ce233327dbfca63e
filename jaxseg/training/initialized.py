"""A model that starts from given values, for any algorithm."""

from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict


class Initialized:
    """A Linen module whose `init` returns given values in place of random ones.

    Algorithms call `model.init` and need not know where the values come from: a teacher that begins
    as a copy of its student has them, too.

    Args:
      model: the module; every attribute but `init` is its own.
      values: nested dicts, a part of the variables of the model.
    """

    def __init__(self, model: Any, values: Mapping[str, Any]):
        self._model, self._values = model, values

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def init(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """As `init` of the model."""
        variables = flatten_dict(self._model.init(*arguments, **options), keep_empty_nodes=True)
        return unflatten_dict({**variables, **flatten_dict(self._values)})
