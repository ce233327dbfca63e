"""Optimizers: gradient clipping, an optax rule, weight decay of kernels, the learning rate."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxseg.fields import NonNegative, Positive, Range

Decay = Annotated[float, Range(0, below=1)]  # of a running mean


def sgd(*, learning_rate: Positive, schedule: Callable, momentum: Decay = 0.9,
        nesterov: bool = False, weight_decay: NonNegative = 1e-4,
        max_grad_norm: Positive | None = None) -> optax.GradientTransformation:
    """SGD with momentum; the decay is added to the clipped gradient, as in torch.optim.SGD."""
    return optax.chain(_clip(max_grad_norm), _decay(weight_decay), optax.trace(momentum, nesterov),
                       scale_by_rate(lambda step: learning_rate * schedule(step)))


def adamw(*, learning_rate: Positive, schedule: Callable, b1: Decay = 0.9, b2: Decay = 0.999,
          weight_decay: NonNegative = 0.01, max_grad_norm: Positive | None = None
          ) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    return optax.chain(_clip(max_grad_norm), optax.scale_by_adam(b1, b2), _decay(weight_decay),
                       scale_by_rate(lambda step: learning_rate * schedule(step)))


def lion(*, learning_rate: Positive, schedule: Callable, b1: Decay = 0.9, b2: Decay = 0.99,
         weight_decay: NonNegative = 0.1, max_grad_norm: Positive | None = None
         ) -> optax.GradientTransformation:
    """Sign of an interpolated momentum (Chen et al. 2023): 1/3 to 1/10 of AdamW's learning rate."""
    return optax.chain(_clip(max_grad_norm), optax.scale_by_lion(b1, b2), _decay(weight_decay),
                       scale_by_rate(lambda step: learning_rate * schedule(step)))


class RateState(NamedTuple):
    """Number of updates done, and the learning rate of the last one (at first: of the first)."""

    count: jax.Array
    rate: jax.Array


def scale_by_rate(rate: Callable[[jax.Array], jax.Array]) -> optax.GradientTransformation:
    """Multiplies updates by `-rate(step)`; the state keeps the rate, for `applied_rate`."""

    def init(params: Any) -> RateState:
        count = jnp.zeros((), jnp.int32)
        return RateState(count, jnp.asarray(rate(count), jnp.float32))

    def update(updates: Any, state: RateState, params: Any = None) -> tuple[Any, RateState]:
        applied = jnp.asarray(rate(state.count), jnp.float32)
        updates = jax.tree.map(lambda update: -applied.astype(update.dtype) * update, updates)
        return updates, RateState(optax.safe_increment(state.count), applied)

    return optax.GradientTransformation(init, update)


def applied_rate(opt_state: Any) -> jax.Array | None:
    """The learning rate of the last update; None for an optimizer without `scale_by_rate`."""
    states = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, RateState))
    return next((state.rate for state in states if isinstance(state, RateState)), None)


def is_kernel(params: Any) -> Any:
    """True for kernels, by name: weight decay applies to them, not to biases or norm scales."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path).endswith('kernel'), params)


def _name(path: tuple) -> str:
    """The last name on the path to a leaf; a parameter may be a tuple of arrays."""
    names = [str(getattr(key, 'key', getattr(key, 'name', ''))) for key in path]
    return next((name for name in reversed(names) if name), '')


def _decay(weight_decay: float) -> optax.GradientTransformation:
    return optax.add_decayed_weights(weight_decay, mask=is_kernel)


def _clip(max_grad_norm: float | None) -> optax.GradientTransformation:
    return optax.identity() if max_grad_norm is None else optax.clip_by_global_norm(max_grad_norm)
