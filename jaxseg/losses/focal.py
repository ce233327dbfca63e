"""Focal loss."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.errors import InputError


def focal(logits: jax.Array, labels: jax.Array, valid: jax.Array, *, gamma: float = 2.0,
          class_weights: Sequence[float] | None = None) -> tuple[jax.Array, jax.Array]:
    """`sum_i w_{y_i} (1 - p_{i, y_i})^gamma (-log p_{i, y_i})` and `sum_i w_{y_i}`, over valid pixels (Lin et al. 2017).

    With softmax probabilities; gamma 0 is the cross-entropy, and w its class weights (the paper's alpha).

    Args:
      logits: (..., classes).
      labels: (...) int32, any value where not valid.
      valid: (...) bool.
      gamma: how much easy pixels are discounted, at least 0.
      class_weights: one for every class, 1 by default.

    Raises:
      InputError: the class weights are not as many as the classes, or gamma is negative.

    >>> import jax.numpy as jnp
    >>> total, count = focal(jnp.zeros((1, 2)), jnp.array([1]), jnp.array([True]))
    >>> round(float(total / count), 4)  # 0.25 log 2
    0.1733
    """
    classes = logits.shape[-1]
    if gamma < 0:
        raise InputError(f'gamma: {gamma} is negative; give 0 (cross-entropy) or more')
    if class_weights is not None and len(class_weights) != classes:
        raise InputError(f'class_weights: {len(class_weights)} weights for {classes} classes; give one for each')
    # Zeroed under void: an infinite logit there would give 0 * NaN in the gradient.
    logits = jnp.where(valid[..., None], logits.astype(jnp.float32), 0)
    hot = labels[..., None] == jnp.arange(classes).reshape((1,) * labels.ndim + (-1,))
    surprise = jax.nn.logsumexp(logits, -1) - jnp.where(hot, logits, 0).sum(-1)
    # Never exactly 0: the gradient of the power would be infinite there for gamma below 1.
    surprise = jnp.maximum(surprise, 0)
    missing = jnp.maximum(-jnp.expm1(-surprise), 1e-12)
    weights = jnp.ones(classes) if class_weights is None else jnp.asarray(class_weights, jnp.float32)
    weight = jnp.where(hot & valid[..., None], weights.reshape((1,) * labels.ndim + (-1,)), 0).sum(-1)
    return jnp.where(valid, weight * missing ** gamma * surprise, 0).sum(), weight.sum()
