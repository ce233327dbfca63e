"""The state that training begins with."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxseg.commands.assemble import ModelRecord, Parts, make_algorithm
from jaxseg.commands.run_config import RunConfig
from jaxseg.training.initialized import Initialized
from jaxseg.training.layout import init_key


class InitialState:
    """The initial state, with the weights of another library where the config names them.

    Args:
      weights: those, or None.
    """

    def __init__(self, config: RunConfig, parts: Parts, weights: Any | None):
        self._config, self._parts, self._weights = config, parts, weights

    def shapes(self, batch: dict[str, np.ndarray]) -> Any:
        """Those of the state, without values."""
        return jax.eval_shape(lambda given: self._init(init_key(0), given), (batch, {}))

    def __call__(self, batch: dict[str, np.ndarray], shapes: Any, record: ModelRecord) -> Any:
        """The state, on the devices.

        Args:
          batch, shapes: the first batch, and the shapes of the state for it.
          record: of the model.

        Raises:
          InputError: the weights cannot be read, or are not those of the part.
        """
        parts, values = self._parts, {}
        if self._weights is not None:
            values = self._values(parts.variables(record.input_shape))
            print(f'{self._weights.part or "model"}: weights of {record.pretrained}', flush=True)
        return parts.layout.compile_init(self._init, self._config.seed, shapes)((batch, values))

    @functools.cached_property
    def _init(self) -> Callable[[jax.Array, tuple[Any, Any]], Any]:
        """`init` of the algorithm outside of `pmap`; the shapes and the values share one trace."""
        def init(key: jax.Array, given: tuple[Any, Any]) -> Any:
            batch, values = given
            model = Initialized(self._parts.model, values)
            return make_algorithm(self._config, self._parts, model=model).init(key, batch)

        return jax.jit(init, inline=True)

    def _values(self, shapes: Any) -> dict[str, Any]:
        """The variables that the weights fill, of the model with these shapes."""
        part = self._weights.part
        if part is None:
            return self._weights.load(shapes)
        loaded = self._weights.load({collection: tree[part] for collection, tree in shapes.items()
                                     if part in tree})
        return {collection: {part: tree} for collection, tree in loaded.items()}
