"""Integrated gradients: how much every value of an image adds to a score."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Attributions(NamedTuple):
    """Attributions of the shape of the image, and the score of the image and of the baseline."""

    values: jax.Array
    score: jax.Array
    baseline_score: jax.Array


def integrated_gradients(score: Callable[[jax.Array], jax.Array], image: jax.Array,
                         baseline: jax.Array, steps: int = 64) -> Attributions:
    """`(x - x') * integral over a of grad F(x' + a (x - x'))` (Sundararajan et al. 2017).

    arXiv:1703.01365. Completeness: the attributions add up to `F(x) - F(x')`, here up to the error
    of the midpoint rule, which where F is smooth is a quarter with twice the steps.

    Args:
      score: F, an array of the shape of `image` -> a scalar.
      image: x.
      baseline: x', of the same shape.
      steps: gradients that are computed, one at a time.
    """
    difference = image - baseline

    def add(total: jax.Array, share: jax.Array) -> tuple[jax.Array, None]:
        return total + jax.grad(score)(baseline + share * difference), None

    shares = (jnp.arange(steps, dtype=image.dtype) + 0.5) / steps
    total, _ = jax.lax.scan(add, jnp.zeros_like(image), shares)
    return Attributions(difference * total / steps, score(image), score(baseline))
