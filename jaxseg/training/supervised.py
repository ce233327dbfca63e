"""Supervised training: the gradient of a task's losses, one update of an optimizer."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.training.accumulation import split_batch, sum_over
from jaxseg.training.freezing import merge_frozen, outside_of_training, split_frozen
from jaxseg.training.optimizer import applied_rate, evaluated_params
from jaxseg.training.random import random_streams
from jaxseg.training.variables import init_variables

Batch = dict[str, jax.Array]


class TrainState(struct.PyTreeNode):
    """Parameters, other collections of the model (running statistics), state of the optimizer."""

    params: Any
    collections: dict[str, Any]
    opt_state: optax.OptState


@dataclasses.dataclass(frozen=True)
class Supervised:
    """The default algorithm: one gradient step on a labelled batch.

    An algorithm has pure functions. The state may be any pytree; the training loop only hands
    it on, and checkpoints contain all of it.

    - `init(key, batch) -> state`;
    - `step(state, batch, key) -> (state, metrics)`, metrics being float32 scalars; `loss`, where
      there is one, must be finite, and `learning_rate` is shown;
    - `variables(state)`: what the model is evaluated with;
    - where it is defined, `compared(state) -> {name: variables}`: what validation scores beside;
    - for `averaging.SWA` of models with batch norm, `with_statistics(variables, batch, key)`.

    A batch holds `image` (B, H, W, C) as read, `label` and `valid`. Losses are (sum, count) pairs.
    Under `jit` the arrays are global; under `pmap`, where `axis_name` is set, counts are summed
    over the devices before the division and gradients after it, so that both take the same steps.

    With `accumulate`, the batch goes through the model in microbatches one after the other, whose
    gradients are added up: the memory of a microbatch, the gradient of the batch, since the counts
    of the whole batch are taken before any division. As everywhere where gradients are accumulated,
    batch norm sees a microbatch at a time: it normalises with its statistics, and the running ones
    take `accumulate` updates a step. Group norm knows no batch. Every microbatch draws its own
    dropout.

    What `freeze` matches stays as it is, bit for bit: it has no gradient and no state of the
    optimizer, and a module that is frozen as a whole works as in evaluation, with its stored
    running statistics and without dropout. Names are those of `jaxseg export-weights`.

    Args:
      model, task, preprocess, optimizer, axis_name: given by the run.
      streams: names of the random streams that the model draws from (`make_rng`).
      accumulate: number of microbatches in a batch.
      freeze: regular expressions of whole names of parameters, such as 'encoder/.*'.
    """

    model: nn.Module
    task: Any
    preprocess: Callable
    optimizer: optax.GradientTransformation
    axis_name: str | None = None
    streams: tuple[str, ...] = ('dropout', 'drop_path')
    accumulate: PositiveInt = 1
    freeze: tuple[str, ...] = ()

    def init(self, key: jax.Array, batch: Batch) -> TrainState:
        """Initial state for images of the size of the batch's."""
        image = self.preprocess(batch, None)['image']
        streams = random_streams(key, ('params', *self.streams))
        collections = init_variables(self.model, streams, jnp.zeros_like(image[:1]))
        params = collections.pop('params')
        trainable, _ = split_frozen(params, self.freeze)
        return TrainState(params, collections, self.optimizer.init(trainable))

    def step(self, state: TrainState, batch: Batch, key: jax.Array
             ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update; metrics: `loss`, each loss by name, `gradient_norm` and `learning_rate`."""
        streams = random_streams(key, ('preprocess', *self.streams))
        batch = self.preprocess(batch, streams.pop('preprocess'))
        gradients, (parts, collections) = self._gradients(state, batch, streams)
        values, gradients = self._sum_over_devices(
            ({name: value for name, (value, _) in parts.items()}, gradients))
        parts = {name: (values[name], count) for name, (_, count) in parts.items()}
        trainable, frozen = split_frozen(state.params, self.freeze)
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, trainable)
        metrics = {'loss': self.task.total(parts), **self.task.metrics(parts),
                   'gradient_norm': optax.tree.norm(gradients)}
        rate = applied_rate(opt_state)
        if rate is not None:
            metrics['learning_rate'] = rate
        params = merge_frozen(optax.apply_updates(trainable, updates), frozen)
        return TrainState(params, collections, opt_state), metrics

    def variables(self, state: TrainState) -> dict[str, Any]:
        """What `model.apply` takes in evaluation."""
        trainable, frozen = split_frozen(state.params, self.freeze)
        params = merge_frozen(evaluated_params(state.opt_state, trainable), frozen)
        return {'params': params, **state.collections}

    def with_statistics(self, variables: dict[str, Any], batch: Batch, key: jax.Array
                        ) -> dict[str, Any]:
        """Variables whose running statistics have taken the update of a batch.

        It goes through the model as in `step`, with the parameters that are given.
        """
        streams = random_streams(key, ('preprocess', *self.streams))
        batch = self.preprocess(batch, streams.pop('preprocess'))
        collections = dict(variables)
        params = collections.pop('params')
        trainable, frozen = split_frozen(params, self.freeze)

        def update(collections: dict, values: tuple[jax.Array, Batch]) -> tuple[dict, tuple]:
            index, microbatch = values
            keys = _of_microbatch(streams, index)
            return self._apply(trainable, frozen, collections, microbatch, keys)[1], ()

        collections, _ = sum_over(update, collections, (
            jnp.arange(self.accumulate), split_batch(batch, self.accumulate)))
        return {'params': params, **collections}

    def _gradients(self, state: TrainState, batch: Batch, streams: dict[str, jax.Array]):
        """Gradients of this device's share, `(sum, count)` of every loss, other collections."""
        trainable, frozen = split_frozen(state.params, self.freeze)
        gradient = functools.partial(jax.grad(self._loss, has_aux=True), trainable, frozen)
        if self.accumulate == 1:
            return gradient(state.collections, batch, streams)
        # Before any sum: the mean of microbatches with unequal shares of void is not that of all.
        counts = self._sum_over_devices(self._counts(batch))

        def add(collections: Any, values: tuple[jax.Array, Batch]) -> tuple[Any, tuple]:
            index, microbatch = values
            keys = _of_microbatch(streams, index)
            gradients, (parts, collections) = gradient(collections, microbatch, keys, counts)
            return collections, (gradients, {name: value for name, (value, _) in parts.items()})

        collections, (gradients, sums) = sum_over(add, state.collections, (
            jnp.arange(self.accumulate), split_batch(batch, self.accumulate)))
        return gradients, (_with_counts(sums, counts), collections)

    def _loss(self, trainable: Any, frozen: Any, collections: dict, batch: Batch,
              streams: dict[str, jax.Array], counts: dict[str, jax.Array] | None = None):
        """The total of the losses, with these counts or, by default, those of the batch."""
        outputs, collections = self._apply(trainable, frozen, collections, batch, streams)
        parts = self.task.losses(outputs, batch)
        sums = {name: value for name, (value, _) in parts.items()}
        if counts is None:
            counts = self._sum_over_devices({name: count for name, (_, count) in parts.items()})
        parts = _with_counts(sums, counts)
        return self.task.total(parts), (parts, collections)

    def _apply(self, trainable: Any, frozen: Any, collections: dict, batch: Batch,
               streams: dict[str, jax.Array]) -> tuple[dict, dict]:
        """Outputs in training and the collections after it."""
        with outside_of_training(trainable, frozen):
            outputs, updates = self.model.apply(
                {'params': merge_frozen(trainable, frozen), **collections}, batch['image'],
                train=True, mutable=[*collections, 'auxiliary'], rngs=streams)
        return outputs, {name: updates.get(name, tree) for name, tree in collections.items()}

    def _counts(self, batch: Batch) -> dict[str, jax.Array]:
        if not hasattr(self.task, 'counts'):
            raise InputError(f'algorithm.accumulate: {type(self.task).__name__} has no method '
                             f'`counts`, without which the sum over microbatches would not be '
                             f'exact; write it (jaxseg/tasks/__init__.py), or give 1')
        return self.task.counts(batch)

    def _sum_over_devices(self, tree: Any) -> Any:
        """Under `pmap` every device has its share; under `jit` arrays are those of all devices."""
        return tree if self.axis_name is None else jax.lax.psum(tree, self.axis_name)


def _of_microbatch(streams: dict[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
    return {name: jax.random.fold_in(key, index) for name, key in streams.items()}


def _with_counts(sums: dict[str, jax.Array], counts: dict[str, jax.Array]) -> dict[str, tuple]:
    """Auxiliary outputs have the counts of the main one unless they have their own."""
    return {name: (value, counts[name if name in counts else name.split('/', 1)[-1]])
            for name, value in sums.items()}
