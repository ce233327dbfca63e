"""Initial biases with which a gated recurrence keeps its state from the first step on."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

# Positions that a state should last at the start: about a side of the maps of context layers.
REACH = 32


def chrono_bias_init(signs: Sequence[int]) -> Callable:
    """Biases `sign log(u)` of several gates, u uniform in 1 ... `REACH` - 1 for every channel.

    Tallec & Ollivier 2018 (arXiv:1804.11188). A gate with bias log(u) keeps u / (1 + u) of the
    state, so that lifetimes cover all distances up to `REACH`. With zero biases a state halves at
    every position, and neither the state nor its gradient survives a few tens of them.

    Args:
      signs: one for every gate in the order of the bias: 1 for a gate that keeps the state, -1 for
        one that admits new input, 0 for any other, whose bias is zero.
    """

    def init(key: jax.Array, shape: tuple[int], dtype=jnp.float32) -> jax.Array:
        u = jax.random.uniform(key, (shape[0] // len(signs),), dtype, 1, REACH - 1)
        return jnp.concatenate([sign * jnp.log(u) for sign in signs])

    return init
