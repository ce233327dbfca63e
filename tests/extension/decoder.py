"""A decoder: stages -> features, from which the head makes logits; the model enlarges these."""

import flax.linen as nn
import jax

from jaxseg.layers.stages import Stages


class SumOfStages(nn.Module):
    """A linear layer on every stage, added up. All stages must have one stride."""

    features: int = 8

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        return nn.relu(sum(nn.Dense(self.features)(stage.features) for stage in stages))
