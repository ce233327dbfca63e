"""Biases that make a gated recurrence remember from the first step on."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

# Positions that a state is to last at the start: about a side of the feature maps that context layers read.
REACH = 32


def chrono_bias_init(signs: Sequence[int]) -> Callable:
    """An initialiser for the biases of several gates: `sign log(u)` with u uniform in 1 ... `REACH` - 1 for every channel.

    Tallec & Ollivier 2018 (arXiv:1804.11188). A gate with bias log(u) keeps u / (1 + u) of the state: its lifetimes spread over
    all distances up to `REACH`. With biases of zero a state halves at every position, and over a few tens of them neither
    the state nor its gradient arrives.

    Args:
      signs: one for every gate in the order of the bias: 1 for a gate that keeps the state, -1 for one that lets the new
        in, 0 for any other, whose bias is zero.
    """

    def init(key: jax.Array, shape: tuple[int], dtype=jnp.float32) -> jax.Array:
        log_u = jnp.log(jax.random.uniform(key, (shape[0] // len(signs),), dtype, 1, REACH - 1))
        return jnp.concatenate([sign * log_u for sign in signs])

    return init
