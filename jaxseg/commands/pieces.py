"""The parts of a model as functions, for inference that runs them one after the other."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn


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
