"""Several losses at once."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

Parts = Mapping[str, tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """Named losses with weights: `(logits, labels, valid) -> {name: (sum, count)}`.

    The sums stay apart until all batches and devices are added up; `total` and `means` divide once, at the end.
    """

    terms: Mapping[str, tuple[float, Callable]]

    def __call__(self, logits: jax.Array, labels: jax.Array, valid: jax.Array) -> Parts:
        return {name: loss(logits, labels, valid) for name, (_, loss) in self.terms.items()}

    def total(self, parts: Parts) -> jax.Array:
        """`sum_k weight_k sum_k / count_k`; a loss without anything to count is 0."""
        return sum(self.terms[name][0] * mean for name, mean in self.means(parts).items())

    def means(self, parts: Parts) -> dict[str, jax.Array]:
        """The mean of every loss."""
        return {name: jnp.where(count > 0, value / jnp.where(count > 0, count, 1), 0)
                for name, (value, count) in parts.items()}
