"""The variables of a model, without anything of a training."""

from typing import Any

import flax.linen as nn
import jax

# Collections of a Linen module that hold what one call has sown, not the state of the model.
SOWN = ('auxiliary', 'intermediates')


def init_variables(model: nn.Module, streams: dict[str, jax.Array], images: jax.Array
                   ) -> dict[str, Any]:
    """Initial parameters and other collections of a model, without sown values."""
    variables = model.init(streams, images, train=True)
    return {name: tree for name, tree in variables.items() if name not in SOWN}
