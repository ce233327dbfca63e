"""Soft Dice loss."""

import jax
import jax.numpy as jnp


def dice(logits: jax.Array, labels: jax.Array, valid: jax.Array, *, smooth: float = 1.0
         ) -> tuple[jax.Array, jax.Array]:
    """`1 - mean_c (2 sum_i p_ic y_ic + s) / (sum_i p_ic + sum_i y_ic + s)` of every image (Milletari et al. 2016, V-Net).

    The mean is over the classes that occur in the image's labels; sums are over its valid pixels. Dice does not add up
    over pixels, so one image is the unit: sum over the images, and the number of images with a valid pixel. So the
    result does not depend on how a batch is split.

    Args:
      logits: (B, ..., classes).
      labels: (B, ...) int32, any value where not valid.
      valid: (B, ...) bool.
      smooth: s, in pixels.

    >>> import jax.numpy as jnp
    >>> total, count = dice(jnp.zeros((1, 4, 2)), jnp.array([[0, 0, 1, 1]]), jnp.ones((1, 4), bool), smooth=0.0)
    >>> float(total / count)  # 1 - 2 * 1 / (2 + 2)
    0.5
    """
    batch, classes = logits.shape[0], logits.shape[-1]
    valid = valid.reshape(batch, -1, 1)
    hot = (labels.reshape(batch, -1, 1) == jnp.arange(classes)[None, None]) & valid
    # Zeroed before the softmax too: an infinite logit under void would give 0 * NaN in the gradient.
    logits = jnp.where(valid, logits.reshape(batch, -1, classes).astype(jnp.float32), 0)
    probability = jnp.where(valid, jax.nn.softmax(logits, -1), 0)
    common, truth = (probability * hot).sum(1), hot.sum(1, dtype=jnp.float32)
    score = (2 * common + smooth) / jnp.maximum(probability.sum(1) + truth + smooth, 1e-12)
    present = truth > 0
    known = present.any(1)
    mean = jnp.where(present, 1 - score, 0).sum(1) / jnp.maximum(present.sum(1), 1)
    return jnp.where(known, mean, 0).sum(), known.sum(dtype=jnp.float32)
