"""Soft Dice loss of softmax probabilities."""

import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegative
from jaxseg.losses.pixels import soft_dice, softmax_inputs


def dice(logits: jax.Array, labels: jax.Array, valid: jax.Array, *, smooth: NonNegative = 1.0
         ) -> tuple[jax.Array, jax.Array]:
    """`1 - mean_c (2 sum_i p_ic y_ic + s) / (sum_i p_ic + sum_i y_ic + s)` of every image.

    After Milletari et al. 2016 (V-Net). The mean is over the classes that occur in the image's
    labels, the sums over its valid pixels. Dice is no sum over pixels, so the unit is one image:
    the sum over the images, and the number of images with a valid pixel. The result does not
    depend on how images are batched.

    Args:
      logits: (B, ..., classes).
      labels: (B, ...) int32, any value where not valid.
      valid: (B, ...) bool.
      smooth: s, in pixels.

    Raises:
      InputError: labels of a wrong shape.

    >>> import jax.numpy as jnp
    >>> labels, valid = jnp.array([[0, 0, 1, 1]]), jnp.ones((1, 4), bool)
    >>> total, count = dice(jnp.zeros((1, 4, 2)), labels, valid, smooth=0.0)
    >>> float(total / count)  # 1 - 2 * 1 / (2 + 2)
    0.5
    """
    logits, one_hot = softmax_inputs('dice', logits, labels, valid)
    batch, classes = logits.shape[0], logits.shape[-1]
    probabilities = jnp.where(valid[..., None], jax.nn.softmax(logits, -1), 0)
    one_hot = one_hot.reshape(batch, -1, classes)
    losses = soft_dice(probabilities.reshape(one_hot.shape), one_hot, smooth)
    occurs = one_hot.any(1)
    image_losses = jnp.where(occurs, losses, 0).sum(1) / jnp.maximum(occurs.sum(1), 1)
    return image_losses.sum(), occurs.any(1).sum(dtype=jnp.float32)
