"""Soft Dice loss of every class's sigmoid probabilities."""

import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegative
from jaxseg.losses.pixels import sigmoid_inputs, soft_dice


def binary_dice(logits: jax.Array, labels: jax.Array, valid: jax.Array, *,
                smooth: NonNegative = 1.0) -> tuple[jax.Array, jax.Array]:
    """`1 - (2 sum_i p_i y_i + s) / (sum_i p_i + sum_i y_i + s)` of every class of every image.

    After Milletari et al. 2016 (V-Net) with `p = sigmoid(logits)`; the sums are over the valid
    pixels. The unit is one class of one image in which it occurs: the sum over these, and their
    number. A class without a positive pixel has no overlap to improve and is left out; add
    `binary_cross_entropy`, which counts its false positives.

    Args:
      logits: (B, ..., classes).
      labels: (B, ..., classes) int32, 0 or 1, any value where not valid.
      valid: (B, ..., classes) bool.
      smooth: s, in pixels.

    Raises:
      InputError: labels of a wrong shape.

    >>> import jax.numpy as jnp
    >>> labels, valid = jnp.array([[[1, 0], [1, 0], [0, 0]]]), jnp.ones((1, 3, 2), bool)
    >>> total, count = binary_dice(jnp.zeros((1, 3, 2)), labels, valid, smooth=0.5)
    >>> float(total), float(count)  # class 0 alone: 1 - (2 * 1 + 0.5) / (1.5 + 2 + 0.5)
    (0.375, 1.0)
    """
    logits, positive = sigmoid_inputs('binary_dice', logits, labels, valid)
    batch, classes = logits.shape[0], logits.shape[-1]
    probabilities = jnp.where(valid, jax.nn.sigmoid(logits), 0).reshape(batch, -1, classes)
    positive = positive.reshape(probabilities.shape)
    occurs = positive.any(1)
    losses = soft_dice(probabilities, positive, smooth)
    return jnp.where(occurs, losses, 0).sum(), occurs.sum(dtype=jnp.float32)
