"""Softmax focal loss."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegative
from jaxseg.losses.pixels import nll, pixel_weights, softmax_inputs


def focal(logits: jax.Array, labels: jax.Array, valid: jax.Array, *, gamma: NonNegative = 2.0,
          class_weights: Sequence[NonNegative] | None = None) -> tuple[jax.Array, jax.Array]:
    """`sum_i w_{y_i} (1 - p_{i, y_i})^gamma (-log p_{i, y_i})` and `sum_i w_{y_i}`.

    Lin et al. 2017 with softmax probabilities, summed over the valid pixels. With gamma 0 it is the
    cross-entropy; w are its class weights (the paper's alpha).

    Args:
      logits: (..., classes).
      labels: (...) int32, any value where not valid.
      valid: (...) bool.
      gamma: how much pixels that are already right are discounted.
      class_weights: one for every class; None is 1 for all.

    Raises:
      InputError: labels of a wrong shape, class weights not as many as the classes or all 0.

    >>> import jax.numpy as jnp
    >>> total, count = focal(jnp.zeros((1, 2)), jnp.array([1]), jnp.array([True]))
    >>> round(float(total / count), 4)  # 0.25 log 2
    0.1733
    """
    logits, one_hot = softmax_inputs('focal', logits, labels, valid)
    # Rounding may leave it just below 0.
    loss = jnp.maximum(nll(logits, one_hot), 0)
    # Never exactly 0: the gradient of the power would be infinite there for gamma below 1.
    one_minus_p = jnp.maximum(-jnp.expm1(-loss), 1e-12)
    weights = pixel_weights(one_hot, valid, class_weights)
    return (weights * jnp.where(valid, one_minus_p ** gamma * loss, 0)).sum(), weights.sum()
