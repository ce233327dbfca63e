"""The state that training begins with."""

from typing import Any

import jax

from jaxseg.training.initialized import Initialized


def initial_state(plan: Any) -> Any:
    """The initial state, with the weights of another library where the config names them.

    Args:
      plan: of the run, as `jaxseg.commands.training` makes it.

    Raises:
      InputError: they cannot be read, or are not those of the part.
    """
    weights, parts, values = plan.weights, plan.parts, {}
    if weights is not None:
        shapes = parts.variables(plan.record.input_shape)
        values = _weights_of(weights, shapes)
        print(f'{weights.part or "model"}: weights of {plan.record.pretrained}', flush=True)

    def init(key: jax.Array, given: tuple[Any, Any]) -> Any:
        batch, values = given
        return plan.make_algorithm(model=Initialized(parts.model, values)).init(key, batch)

    return parts.layout.compile_init(init, plan.config.seed, plan.state)((plan.batch, values))


def _weights_of(weights: Any, shapes: Any) -> dict[str, Any]:
    """The variables that another library's weights fill, of the model with these shapes."""
    part = weights.part
    if part is None:
        return weights.load(shapes)
    loaded = weights.load({collection: tree[part] for collection, tree in shapes.items()
                           if part in tree})
    return {collection: {part: tree} for collection, tree in loaded.items()}
