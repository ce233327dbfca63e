"""Softmax cross-entropy."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.fields import DropRate, NonNegative
from jaxseg.losses.pixels import nll, pixel_weights, softmax_inputs


def cross_entropy(logits: jax.Array, labels: jax.Array, valid: jax.Array, *,
                  class_weights: Sequence[NonNegative] | None = None,
                  label_smoothing: DropRate = 0.0) -> tuple[jax.Array, jax.Array]:
    """`sum_i w_{y_i} ((1 - e) (-log p_{i, y_i}) + e mean_k (-log p_{i, k}))`, `sum_i w_{y_i}`.

    Sums are over the valid pixels; `e` is the label smoothing of Szegedy et al. 2016. The mean is
    that of PyTorch with class weights or with smoothing. With both, PyTorch weights each smoothed
    class by its own weight, while here a pixel has one weight, that of its label.

    Args:
      logits: (..., classes).
      labels: (...) int32, any value where not valid.
      valid: (...) bool.
      class_weights: one for every class; None is 1 for all.
      label_smoothing: e.

    Raises:
      InputError: labels of a wrong shape, class weights not as many as the classes or all 0.

    >>> import jax.numpy as jnp
    >>> labels, valid = jnp.array([0, 1, 255]), jnp.array([True, True, False])
    >>> total, count = cross_entropy(jnp.zeros((3, 4)), labels, valid)
    >>> round(float(total / count), 4)  # log 4
    1.3863
    """
    logits, one_hot = softmax_inputs('cross_entropy', logits, labels, valid)
    loss = nll(logits, one_hot)
    if label_smoothing:
        uniform = jax.nn.logsumexp(logits, -1) - logits.mean(-1)
        loss = (1 - label_smoothing) * loss + label_smoothing * uniform
    weights = pixel_weights(one_hot, valid, class_weights)
    return (weights * jnp.where(valid, loss, 0)).sum(), weights.sum()
