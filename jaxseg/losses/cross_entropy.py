"""Softmax cross-entropy."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.errors import InputError


def cross_entropy(logits: jax.Array, labels: jax.Array, valid: jax.Array, *,
                  class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
                  ) -> tuple[jax.Array, jax.Array]:
    """`sum_i w_{y_i} (1 - e) (-log p_{i, y_i}) + w_{y_i} e mean_k (-log p_{i, k})` and `sum_i w_{y_i}`, over valid pixels.

    `e` is the label smoothing of Szegedy et al. 2016. The mean is that of PyTorch with class weights or with smoothing; with
    both, PyTorch weights each smoothed class by its own weight, while here a pixel has one weight, that of its label.

    Args:
      logits: (..., classes).
      labels: (...) int32, any value where not valid.
      valid: (...) bool.
      class_weights: one for every class, 1 by default.
      label_smoothing: e, in [0, 1).

    Raises:
      InputError: the class weights are not as many as the classes, or e is outside [0, 1).

    >>> import jax.numpy as jnp
    >>> total, count = cross_entropy(jnp.zeros((3, 4)), jnp.array([0, 1, 255]), jnp.array([True, True, False]))
    >>> round(float(total / count), 4)  # log 4
    1.3863
    """
    if not 0 <= label_smoothing < 1:
        raise InputError(f'label_smoothing: {label_smoothing} is outside [0, 1); 0.1 is usual')
    # Zeroed under void: an infinite logit there would give 0 * NaN in the gradient.
    logits = jnp.where(valid[..., None], logits.astype(jnp.float32), 0)
    hot = labels[..., None] == jnp.arange(logits.shape[-1]).reshape((1,) * labels.ndim + (-1,))
    norm = jax.nn.logsumexp(logits, -1)
    # A masked sum: the gradient of a gather would be a scatter, which is slow everywhere.
    loss = norm - jnp.where(hot, logits, 0).sum(-1)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss + label_smoothing * (norm - logits.mean(-1))
    weight = pixel_weights(hot, valid, class_weights)
    return jnp.where(valid, weight * loss, 0).sum(), weight.sum()


def pixel_weights(hot: jax.Array, valid: jax.Array, class_weights: Sequence[float] | None) -> jax.Array:
    """The weight of every pixel: that of its class, 0 where not valid. `hot` is the one-hot label (..., classes)."""
    if class_weights is None:
        return valid.astype(jnp.float32)
    if len(class_weights) != hot.shape[-1]:
        raise InputError(f'class_weights: {len(class_weights)} weights for {hot.shape[-1]} classes; give one for each')
    weights = jnp.asarray(class_weights, jnp.float32).reshape((1,) * valid.ndim + (-1,))
    return jnp.where(valid, jnp.where(hot, weights, 0).sum(-1), 0)
