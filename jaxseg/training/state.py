"""What training carries from one step to the next."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct


class TrainState(struct.PyTreeNode):
    """Step number (int32 scalar), parameters, running statistics of the norms, optimizer state."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState

    @property
    def variables(self) -> dict[str, Any]:
        """What `model.apply` takes."""
        return {'params': self.params, 'batch_stats': self.batch_stats}


def make_init(model: nn.Module, optimizer: optax.GradientTransformation, image_shape: tuple[int, int, int]) -> Callable:
    """`init(seed) -> TrainState` for images of shape (H, W, C); equal for equal seeds, on any number of devices."""

    def init(seed: int) -> TrainState:
        key = jax.random.key(seed)
        keys = {'params': jax.random.fold_in(key, 0), 'dropout': jax.random.fold_in(key, 1)}
        variables = model.init(keys, jnp.zeros((1, *image_shape)), train=True)
        params = variables['params']
        return TrainState(jnp.zeros((), jnp.int32), params, variables.get('batch_stats', {}), optimizer.init(params))

    return jax.jit(init)


def count_parameters(params: Mapping) -> int:
    """Number of trainable values."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
