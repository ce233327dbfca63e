"""The parts of a model as functions, for inference that runs them one after the other."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax


@dataclasses.dataclass(frozen=True)
class Pieces:
    """What `inference.exact.Exact` needs to know of a model.

    Args:
      model: with an encoder.
      preprocess: of the model's input.
    """

    model: nn.Module
    preprocess: Callable

    @property
    def stride(self) -> int:
        """Sizes are padded to a multiple of it, and places that differ by it are treated alike."""
        return self.model.encoder.stride

    @property
    def sweeps(self) -> tuple:
        """Those of every context layer (`jaxseg.layers.sweep`); empty where one has none."""
        return getattr(self.model, 'context_sweeps', None) or ()

    def encode(self, variables: Any, images: jax.Array) -> jax.Array:
        """The features on which the context works."""
        return self.model.apply(variables, self._prepared(images), method='encode')

    def sweep(self, variables: Any, layer: int, index: int, maps: Any, state: Any) -> tuple:
        """The result of a sweep of a context layer for strips of its maps, and the state."""
        return self.model.apply(variables, layer, index, maps, state, method='context_sweep')

    def decode(self, variables: Any, images: jax.Array, context: jax.Array) -> Any:
        """The outputs, with what the context gives for the features of `images`."""
        return self.model.apply(variables, self._prepared(images), train=False, context=context)

    def _prepared(self, images: jax.Array) -> jax.Array:
        return self.preprocess({'image': images}, None)['image']
