"""Lovász-Softmax: the convex surrogate of the Jaccard index."""

import jax
import jax.numpy as jnp

from jaxseg.losses.pixels import softmax_inputs


def lovasz_softmax(logits: jax.Array, labels: jax.Array, valid: jax.Array
                   ) -> tuple[jax.Array, jax.Array]:
    """Lovász extension of `1 - IoU` of every class, on softmax errors (Berman et al. 2018).

    For a class c, the errors `m_i = |[y_i = c] - p_ic|` are sorted in decreasing order and
    multiplied by the increase of the Jaccard loss as one pixel after another becomes wrong. The
    mean is over the classes that occur in the image's labels. The unit is one image, as in the
    paper's per-image variant: the sum over images, and the number of images with a valid pixel.

    Source: arXiv:1705.08790.

    Args:
      logits: (B, ..., classes).
      labels: (B, ...) int32, any value where not valid.
      valid: (B, ...) bool.

    Raises:
      InputError: labels of a wrong shape.

    >>> import jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([[[0.8, 0.2], [0.4, 0.6]]]))
    >>> total, count = lovasz_softmax(logits, jnp.array([[0, 1]]), jnp.ones((1, 2), bool))
    >>> round(float(total / count), 4)  # class 0: 0.4 / 2 + 0.2 / 2; class 1: 0.4 * 1 + 0.2 * 0
    0.35
    """
    logits, one_hot = softmax_inputs('lovasz_softmax', logits, labels, valid)
    batch, classes = logits.shape[0], logits.shape[-1]
    probabilities = jax.nn.softmax(logits, -1).reshape(batch, -1, classes)
    one_hot, valid = one_hot.reshape(probabilities.shape), valid.reshape(batch, -1)
    over_classes = jax.vmap(_lovasz, in_axes=(-1, -1, None))
    losses = jax.vmap(over_classes)(probabilities, one_hot, valid)
    occurs = one_hot.any(1)
    image_losses = jnp.where(occurs, losses, 0).sum(1) / jnp.maximum(occurs.sum(1), 1)
    return image_losses.sum(), occurs.any(1).sum(dtype=jnp.float32)


def _lovasz(probabilities: jax.Array, truth: jax.Array, valid: jax.Array) -> jax.Array:
    """One class of one image; all arguments (pixels,)."""
    errors = jnp.where(valid, jnp.where(truth, 1 - probabilities, probabilities), 0)
    # Void pixels come last (their key is above all others), where the index no longer changes.
    order = jnp.argsort(jnp.where(valid, -jax.lax.stop_gradient(errors), 1.0))
    truth, valid = truth[order].astype(jnp.float32), valid[order].astype(jnp.float32)
    total = truth.sum()
    union, left = total + jnp.cumsum((1 - truth) * valid), total - jnp.cumsum(truth)
    # How much the Jaccard loss `1 - left / union` grows: as a difference it would have no digits
    # left where the union is large.
    growth = jnp.where(truth > 0, 1 / jnp.maximum(union, 1),
                       valid * left / jnp.maximum(union * (union - 1), 1))
    # Not a dot product: accelerators would round its factors to fewer bits.
    return (errors[order] * growth).sum()
