"""A task: what the outputs of a model mean. This one has fewer channels than classes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.metrics.confusion import Confusion


@dataclasses.dataclass(frozen=True, eq=False)
class Ordinal:
    """Classes with an order, such as grades of damage: channel k says whether the class is above k.

    With increasing cuts, `P(class > k) = sigmoid(logits_k - cut_k)` of one logit per pixel is the
    proportional odds model (McCullagh 1980). So the model has one channel.

    Args:
      classes: names of the classes, in order; given by the run.
      terms: the losses of the config, on (logits, labels, valid); given by the run.
    """

    classes: tuple[str, ...]
    terms: Any

    @property
    def channels(self) -> int:
        """Channels that the head gives."""
        return 1

    def losses(self, outputs: Mapping, batch: Mapping[str, jax.Array]) -> dict:
        """The losses of the config, on the log-probabilities of the classes."""
        logits = jnp.log(jnp.maximum(self.probabilities(outputs), 1e-6))
        return self.terms(logits, batch['label'], batch['valid'])

    def counts(self, batch: Mapping[str, jax.Array]) -> dict:
        """The counts of `losses`, without a model."""
        return {name: count for name, (_, count) in self.losses(
            {'logits': jnp.zeros((*batch['label'].shape, 1))}, batch).items()}

    def total(self, parts: Mapping) -> jax.Array:
        """What is minimised."""
        return self.terms.total(parts)

    def metrics(self, parts: Mapping) -> dict[str, jax.Array]:
        """What metrics.csv shows of the losses."""
        return self.terms.means(parts)

    def probabilities(self, outputs: Mapping) -> jax.Array:
        """(B, H, W, classes) float32."""
        cuts = jnp.arange(len(self.classes) - 1) - (len(self.classes) - 2) / 2
        above = jax.nn.sigmoid(outputs['logits'] - cuts[None, None, None])
        edge = ((0, 0), (0, 0), (0, 0))
        above = jnp.pad(above, (*edge, (1, 0)), constant_values=1)
        return above - jnp.pad(above, (*edge, (0, 1)))[..., 1:]

    def predictions(self, outputs: Mapping) -> jax.Array:
        """Class indices."""
        return self.decide(self.probabilities(outputs))

    def decide(self, probabilities: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
        """The median class, which has the least expected distance to the truth."""
        return (probabilities.cumsum(-1) <= 0.5).sum(-1).astype(np.uint8)

    def scores(self) -> Confusion:
        """An empty metric state; the `miou` of its `summary()` chooses the best checkpoint."""
        return Confusion.empty(self.classes)
