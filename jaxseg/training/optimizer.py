"""Optimizers by name: clipping, then optax's rule, with weight decay on kernels only."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from jaxseg.errors import InputError


def sgd(*, learning_rate: float, schedule: Callable, momentum: float = 0.9, nesterov: bool = False,
        weight_decay: float = 1e-4, clip: float | None = None) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum; the decay is added to the gradient, as in most published recipes."""
    rate = _rate(learning_rate, schedule)
    decay = optax.add_decayed_weights(weight_decay, mask=decayed)
    return optax.chain(*_clipping(clip), decay, optax.sgd(rate, momentum=momentum, nesterov=nesterov))


def adamw(*, learning_rate: float, schedule: Callable, b1: float = 0.9, b2: float = 0.999, weight_decay: float = 0.01,
          clip: float | None = None) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    rate = _rate(learning_rate, schedule)
    return optax.chain(*_clipping(clip), optax.adamw(rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=decayed))


def lion(*, learning_rate: float, schedule: Callable, b1: float = 0.9, b2: float = 0.99, weight_decay: float = 0.1,
         clip: float | None = None) -> optax.GradientTransformation:
    """Sign of an interpolated momentum (Chen et al. 2023): a third to a tenth of AdamW's learning rate."""
    rate = _rate(learning_rate, schedule)
    return optax.chain(*_clipping(clip), optax.lion(rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=decayed))


def decayed(params: Any) -> Any:
    """True for what weight decay applies to: kernels, by name. Norm scales, biases and the like are left alone."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key.endswith('kernel'), params)


def _rate(learning_rate: float, schedule: Callable) -> Callable:
    if not learning_rate > 0:
        raise InputError(f'optimizer.learning_rate: {learning_rate} is not positive')
    return lambda step: learning_rate * schedule(step)


def _clipping(clip: float | None) -> list[optax.GradientTransformation]:
    if clip is not None and not clip > 0:
        raise InputError(f'optimizer.clip: {clip} would leave no gradient or turn it round; give the largest norm, or None for '
                         f'no clipping')
    return [] if clip is None else [optax.clip_by_global_norm(clip)]
