"""The train step and the eval step: written once, pure, spread over devices by `parallel`."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxseg.training.state import TrainState

Batch = dict[str, jax.Array]


def make_train_step(*, model: nn.Module, losses: Any, optimizer: optax.GradientTransformation, schedule: Callable,
                    normalize: Callable, seed: int) -> Callable:
    """`step(state, batch, axis=None) -> (state, metrics)`.

    A batch holds `image` (B, H, W, C) as the data room ships it, `label` (B, H, W) int32 and `valid` (B, H, W) bool.
    `metrics` are float32 scalars: `loss` (the weighted sum), each loss by its name, `gradient_norm`, `learning_rate`.

    The losses are (sum, count) pairs, so the mean over a batch that is split over devices is exact: under `pmap` the
    counts are summed over `axis` before the division, and the gradients after it. Under `jit` the arrays are global
    and `axis` is None.
    """

    def forward(params: Any, state: TrainState, batch: Batch, key: jax.Array, axis: str | None):
        images = normalize(batch['image'])
        logits, updates = model.apply(
            {'params': params, 'batch_stats': state.batch_stats}, images, train=True,
            mutable=['batch_stats', 'auxiliary'], rngs={'dropout': key})
        parts = _over(axis, losses(logits, batch['label'], batch['valid']))
        total = losses.total(parts)
        for auxiliary in jax.tree.leaves(updates.get('auxiliary', {})):
            auxiliary_parts = _over(axis, losses(auxiliary, batch['label'], batch['valid']))
            total = total + model.auxiliary_weight * losses.total(auxiliary_parts)
        return total, (parts, updates.get('batch_stats', {}))

    def step(state: TrainState, batch: Batch, axis: str | None = None):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        if axis is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis))
        (total, (parts, batch_stats)), gradients = jax.value_and_grad(forward, has_aux=True)(
            state.params, state, batch, key, axis)
        if axis is not None:
            total, gradients = jax.lax.psum((total, gradients), axis)
            parts = {name: (jax.lax.psum(value, axis), count) for name, (value, count) in parts.items()}
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        metrics = {'loss': total, **losses.means(parts), 'gradient_norm': optax.tree.norm(gradients),
                   'learning_rate': jnp.asarray(schedule(state.step), jnp.float32)}
        return TrainState(state.step + 1, optax.apply_updates(state.params, updates), batch_stats, opt_state), metrics

    return step


def make_eval_step(*, model: nn.Module, count: Callable, normalize: Callable) -> Callable:
    """`step(variables, batch) -> count(labels, predictions, valid)`, with the predictions of the running statistics."""

    def step(variables: Any, batch: Batch) -> jax.Array:
        logits = model.apply(variables, normalize(batch['image']), train=False)
        return count(batch['label'], jnp.argmax(logits, -1), batch['valid'])

    return step


def _over(axis: str | None, parts: dict) -> dict:
    """The same sums, over the counts of all devices."""
    if axis is None:
        return parts
    return {name: (value, jax.lax.psum(count, axis)) for name, (value, count) in parts.items()}
