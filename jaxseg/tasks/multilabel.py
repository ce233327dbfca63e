"""Multilabel segmentation: every class has its own mask, and masks may overlap."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import Range
from jaxseg.metrics.binary_counts import BinaryCounts
from jaxseg.tasks.pixelwise import Pixelwise


@dataclasses.dataclass(frozen=True, eq=False)
class Multilabel(Pixelwise):
    """A sigmoid for every class; labels (B, H, W, classes) are 0 or 1.

    With a single class this is binary segmentation.

    Attributes:
      threshold: a class is predicted where its probability is above it.

    Raises:
      InputError: a data set with one class index per pixel.
    """

    threshold: Annotated[float, Range(above=0, below=1)] = 0.5

    def __post_init__(self):
        super().__post_init__()
        if not self.overlapping:
            raise InputError("task: multilabel.Multilabel takes one 0/1 mask per class, but the "
                             "data set has one class index per pixel; give a data set with "
                             "overlapping masks, or set task.type='semantic.Semantic'")

    def probabilities(self, outputs: Mapping) -> jax.Array:
        """(B, H, W, classes) float32, each between 0 and 1."""
        return jax.nn.sigmoid(outputs['logits'].astype(jnp.float32))

    def predictions(self, outputs: Mapping) -> jax.Array:
        """What `decide` makes of the probabilities, without computing them."""
        logit = math.log(self.threshold) - math.log1p(-self.threshold)
        return (outputs['logits'].astype(jnp.float32) > logit).astype(np.uint8)

    def decide(self, probabilities: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
        """(..., classes) -> 1 where a class is predicted and 0 elsewhere, uint8."""
        return (probabilities > self.threshold).astype(np.uint8)

    def scores(self) -> BinaryCounts:
        """Empty counts of every class."""
        return BinaryCounts.empty(self.classes)
