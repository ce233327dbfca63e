"""A weighted sum of named losses."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import NonNegative, check_value

Parts = Mapping[str, tuple[jax.Array, jax.Array]]

# Columns of metrics.csv that are not losses.
RESERVED = ('loss', 'gradient_norm', 'learning_rate', 'step', 'images_per_second', 'data_wait')
RESERVED_PREFIXES = ('val_', 'auxiliary')


@dataclasses.dataclass(frozen=True, eq=False)
class WeightedSum:
    """Named losses with weights: `(logits, labels, valid) -> {name: (sum, count)}`.

    Sums and counts stay separate until all batches and devices are added up; `total` and `means`
    divide once, at the end. A weight of 0 reports a loss without training on it.

    Attributes:
      terms: `{name: (weight, loss)}`.

    Raises:
      InputError: no terms, a reserved name, a weight that is negative or no finite number, or
        weights that are all 0; when called, a loss that does not return two scalars.
    """

    terms: Mapping[str, tuple[float, Callable]]

    def __post_init__(self):
        for name, (weight, _) in self.terms.items():
            if name in RESERVED or name.startswith(RESERVED_PREFIXES):
                raise InputError(
                    f'losses.{name}: this name is reserved for the metrics of a run; rename the '
                    f'loss (reserved: {", ".join(RESERVED)}, and what begins with '
                    f'{" or ".join(RESERVED_PREFIXES)})')
            check_value(f'losses.{name}.weight', weight, NonNegative)
        if not any(weight for weight, _ in self.terms.values()):
            raise InputError(
                f'losses: no term with a weight above 0 ({", ".join(self.terms) or "no terms"}), '
                f'so nothing would be learned; give at least one')

    def __call__(self, logits: jax.Array, labels: jax.Array, valid: jax.Array) -> Parts:
        parts = {name: loss(logits, labels, valid) for name, (_, loss) in self.terms.items()}
        for name, part in parts.items():
            if not isinstance(part, tuple) or [jnp.shape(x) for x in part] != [(), ()]:
                shapes = jax.tree.map(jnp.shape, part)
                raise InputError(f'losses.{name}: the loss returned {shapes}; expected two '
                                 f'scalars, (sum, count)')
        return parts

    def total(self, parts: Parts) -> jax.Array:
        """`sum_k weight_k sum_k / count_k`; a loss with nothing to count is 0."""
        means = self.means(parts)
        return sum(weight * means[name] for name, (weight, _) in self.terms.items() if weight)

    def means(self, parts: Parts) -> dict[str, jax.Array]:
        """The mean of every loss, 0 where nothing is counted."""
        return {name: jnp.where(count > 0, value / jnp.where(count > 0, count, 1), 0)
                for name, (value, count) in parts.items()}
