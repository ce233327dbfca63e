"""Shared by the tasks that predict every pixel by itself: weighted losses of logits."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import NonNegative, check_fields
from jaxseg.losses.weighted import Parts, WeightedSum


@dataclasses.dataclass(frozen=True, eq=False)
class Pixelwise:
    """Losses of `outputs['logits']` and, with a weight, of every array in `outputs['auxiliary']`.

    Attributes:
      classes: names of the classes; one channel of the logits each.
      terms: the losses.
      overlapping: whether the data set has one 0/1 mask per class, which may overlap.
      auxiliary_weight: the weight of the losses of each auxiliary output, or one for every output
        in their order, such as [0.5, 0.25] for stages of half and a quarter of the resolution (deep
        supervision, Lee et al. 2015).
    """

    classes: tuple[str, ...]
    terms: WeightedSum
    overlapping: bool
    auxiliary_weight: NonNegative | Sequence[NonNegative] = 0.4

    def __post_init__(self):
        check_fields(self, 'task')

    @property
    def channels(self) -> int:
        """Number of channels of the logits."""
        return len(self.classes)

    def losses(self, outputs: Mapping, batch: Mapping[str, jax.Array]) -> Parts:
        """`{name: (sum, count)}`; those of the auxiliary output i are named `auxiliary{i}/{name}`.

        Args:
          outputs: `logits` (B, H, W, classes) and possibly `auxiliary`, a tuple of such.
          batch: `label` int32 and `valid` bool, (B, H, W) or (B, H, W, classes) as the losses take
            them.

        Raises:
          InputError: the weights are not as many as the auxiliary outputs.
        """
        label, valid = batch['label'], batch['valid']
        parts = dict(self.terms(outputs['logits'], label, valid))
        weights, found = self.auxiliary_weight, outputs.get('auxiliary', ())
        if isinstance(weights, Sequence) and len(weights) != len(found) and 'auxiliary' in outputs:
            raise InputError(f'task.auxiliary_weight: {list(weights)} for {len(found)} auxiliary '
                             f'outputs of the model; give one for each, or one number for all')
        for i, logits in enumerate(found):
            auxiliary = self.terms(logits, label, valid)
            parts |= {f'auxiliary{i}/{name}': part for name, part in auxiliary.items()}
        return parts

    def counts(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The counts that `losses` would give, `{name: count}`, from labels and valid alone.

        Auxiliary outputs have the counts of the main one. To accumulate gradients exactly, add up
        the counts of all microbatches first; `total` of each microbatch's sums with these counts
        then adds up to the total of the whole batch, and so does its gradient.
        """
        label, valid = batch['label'], batch['valid']
        logits = jnp.zeros((*label.shape[:3], self.channels))
        return {name: count for name, (_, count) in self.terms(logits, label, valid).items()}

    def total(self, parts: Parts) -> jax.Array:
        """`sum_k w_k (S_k + sum_i a_i S_k^aux_i) / N_k`, 0 for a term with N_k 0.

        a_i is the weight of the auxiliary output i.
        """
        combined = {name: parts[name] for name in self.terms.terms}
        for key, (value, _) in parts.items():
            output, _, name = key.partition('/')
            if output.startswith('auxiliary'):  # which no term's own name does
                total, count = combined[name]
                weight = self.auxiliary_weight
                if isinstance(weight, Sequence):
                    weight = weight[int(output.removeprefix('auxiliary'))]
                combined[name] = total + weight * value, count
        return self.terms.total(combined)

    def metrics(self, parts: Parts) -> dict[str, jax.Array]:
        """The mean of every loss of the main output."""
        return self.terms.means({name: parts[name] for name in self.terms.terms})
