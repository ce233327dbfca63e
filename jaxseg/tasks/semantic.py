"""Semantic segmentation: every pixel has exactly one class."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import InputError
from jaxseg.metrics.confusion import Confusion
from jaxseg.tasks.pixelwise import Pixelwise


@dataclasses.dataclass(frozen=True, eq=False)
class Semantic(Pixelwise):
    """Softmax over the classes; labels (B, H, W) are class indices.

    Raises:
      InputError: a single class, or a data set of overlapping masks.
    """

    def __post_init__(self):
        super().__post_init__()
        if self.overlapping:
            raise InputError("task: semantic.Semantic gives every pixel one class, but the masks "
                             "of the data set may overlap; set task.type='multilabel.Multilabel'")
        if len(self.classes) < 2:
            raise InputError(f"task: semantic.Semantic needs at least two classes, got "
                             f"{list(self.classes)}; add a background class to the data set, or "
                             f"set task.type='multilabel.Multilabel'")

    def probabilities(self, outputs: Mapping) -> jax.Array:
        """(B, H, W, classes) float32, which sum to 1."""
        return jax.nn.softmax(outputs['logits'].astype(jnp.float32), -1)

    def predictions(self, outputs: Mapping) -> jax.Array:
        """The class with the largest logit, (B, H, W), as `decide` returns it."""
        return self.decide(outputs['logits'])

    def decide(self, probabilities: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
        """(..., classes) -> the most probable class (...), uint8, or uint16 above 256 classes."""
        return probabilities.argmax(-1).astype(np.uint8 if self.channels <= 256 else np.uint16)

    def scores(self) -> Confusion:
        """An empty confusion matrix."""
        return Confusion.empty(self.classes)
