"""Supervised training: the gradient of a task's losses, one update of an optimizer."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxseg.training.optimizer import applied_rate
from jaxseg.training.random import random_streams

Batch = dict[str, jax.Array]
# Collections of a Linen module that hold what one call has sown, not the state of the model.
SOWN = ('auxiliary', 'intermediates')


def init_variables(model: nn.Module, streams: dict[str, jax.Array], images: jax.Array
                   ) -> dict[str, Any]:
    """Initial parameters and other collections of a model, without sown values."""
    variables = model.init(streams, images, train=True)
    return {name: tree for name, tree in variables.items() if name not in SOWN}


class TrainState(struct.PyTreeNode):
    """Parameters, other collections of the model (running statistics), state of the optimizer."""

    params: Any
    collections: dict[str, Any]
    opt_state: optax.OptState


@dataclasses.dataclass(frozen=True)
class Supervised:
    """The default algorithm: one gradient step on a labelled batch.

    An algorithm has three pure functions. The state may be any pytree; the training loop only hands
    it on, and checkpoints contain all of it.

    - `init(key, batch) -> state`;
    - `step(state, batch, key) -> (state, metrics)`, metrics being float32 scalars; `loss`, where
      there is one, must be finite, and `learning_rate` is shown;
    - `variables(state)`: what the model is evaluated with.

    A batch holds `image` (B, H, W, C) as read, `label` and `valid`. Losses are (sum, count) pairs.
    Under `jit` the arrays are global; under `pmap`, where `axis_name` is set, counts are summed
    over the devices before the division and gradients after it, so that both take the same steps.

    Args:
      model, task, preprocess, optimizer, axis_name: given by the run.
      streams: names of the random streams that the model draws from (`make_rng`).
    """

    model: nn.Module
    task: Any
    preprocess: Callable
    optimizer: optax.GradientTransformation
    axis_name: str | None = None
    streams: tuple[str, ...] = ('dropout', 'drop_path')

    def init(self, key: jax.Array, batch: Batch) -> TrainState:
        """Initial state for images of the size of the batch's."""
        image = self.preprocess(batch, None)['image']
        streams = random_streams(key, ('params', *self.streams))
        collections = init_variables(self.model, streams, jnp.zeros_like(image[:1]))
        params = collections.pop('params')
        return TrainState(params, collections, self.optimizer.init(params))

    def step(self, state: TrainState, batch: Batch, key: jax.Array
             ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update; metrics: `loss`, each loss by name, `gradient_norm` and `learning_rate`."""
        streams = random_streams(key, ('preprocess', *self.streams))
        batch = self.preprocess(batch, streams.pop('preprocess'))
        (loss, (parts, collections)), gradients = jax.value_and_grad(self._loss, has_aux=True)(
            state.params, state.collections, batch, streams)
        if self.axis_name is not None:
            loss, gradients = jax.lax.psum((loss, gradients), self.axis_name)
            parts = {name: (jax.lax.psum(value, self.axis_name), count)
                     for name, (value, count) in parts.items()}
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, state.params)
        metrics = {'loss': loss, **self.task.metrics(parts),
                   'gradient_norm': optax.tree.norm(gradients)}
        rate = applied_rate(opt_state)
        if rate is not None:
            metrics['learning_rate'] = rate
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, collections, opt_state), metrics

    def variables(self, state: TrainState) -> dict[str, Any]:
        """What `model.apply` takes."""
        return {'params': state.params, **state.collections}

    def _loss(self, params: Any, collections: dict, batch: Batch, streams: dict[str, jax.Array]):
        outputs, updates = self.model.apply(
            {'params': params, **collections}, batch['image'], train=True,
            mutable=[*collections, 'auxiliary'], rngs=streams)
        parts = self.task.losses(outputs, batch)
        if self.axis_name is not None:
            parts = {name: (value, jax.lax.psum(count, self.axis_name))
                     for name, (value, count) in parts.items()}
        collections = {name: updates.get(name, tree) for name, tree in collections.items()}
        return self.task.total(parts), (parts, collections)
