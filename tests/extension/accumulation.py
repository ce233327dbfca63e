"""An algorithm: the gradient of a large batch from microbatches that fit into memory, exactly."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxseg.training.optimizer import applied_rate
from jaxseg.training.random import random_streams
from jaxseg.training.supervised import Batch, Supervised, TrainState


@dataclasses.dataclass(frozen=True)
class Accumulated(Supervised):
    """Supervised training whose gradient is added up over `microbatches`.

    The mean of the microbatches' means would not be the mean of the batch where their numbers of
    valid pixels differ. So the counts are taken of the whole batch first (`task.counts` needs no
    model), and every microbatch divides its sums by them. Batch norm would use the statistics of a
    microbatch; group norm, which knows no batch, keeps the equality.
    """

    microbatches: int = 2

    def step(self, state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, dict]:
        """One update."""
        batch = self.preprocess(batch, random_streams(key, ('preprocess',))['preprocess'])
        counts = self._sum_over_devices(self.task.counts(batch))
        # Every microbatch takes some of each device's images: (B, ...) -> (B / M, M, ...).
        parts = jax.tree.map(lambda x: x.reshape(-1, self.microbatches, *x.shape[1:]), batch)

        def total(params: Any, index: jax.Array) -> tuple[jax.Array, dict]:
            part = jax.tree.map(lambda x: x[:, index], parts)
            streams = random_streams(jax.random.fold_in(key, index), self.streams)
            outputs, _ = self.model.apply({'params': params}, part['image'], train=True,
                                          rngs=streams, mutable=['auxiliary'])
            sums = {name: (value, counts[name.rpartition('/')[2]])
                    for name, (value, _) in self.task.losses(outputs, part).items()}
            return self.task.total(sums), self.task.metrics(sums)

        def add(sums: Any, index: jax.Array) -> tuple[Any, None]:
            found = jax.value_and_grad(total, has_aux=True)(state.params, index)
            return jax.tree.map(jnp.add, sums, found), None

        shapes = jax.eval_shape(jax.value_and_grad(total, has_aux=True), state.params, 0)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        ((loss, metrics), gradients), _ = jax.lax.scan(add, zeros, jnp.arange(self.microbatches))
        loss, metrics, gradients = self._sum_over_devices((loss, metrics, gradients))
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, state.params)
        state = TrainState(optax.apply_updates(state.params, updates), {}, opt_state)
        return state, {'loss': loss, **metrics, 'gradient_norm': optax.tree.norm(gradients),
                       'learning_rate': applied_rate(opt_state)}

    def _sum_over_devices(self, tree: Any) -> Any:
        """Under `pmap` each device has its own part of the batch; under `jit` arrays are whole."""
        return tree if self.axis_name is None else jax.lax.psum(tree, self.axis_name)
