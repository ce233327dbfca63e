"""Lovász-Softmax: the convex surrogate of the Jaccard index."""

import jax
import jax.numpy as jnp


def lovasz_softmax(logits: jax.Array, labels: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lovász extension of `1 - IoU` for every class, on softmax errors (Berman et al. 2018, arXiv:1705.08790).

    For a class c, errors `m_i = |[y_i = c] - p_ic|` are sorted downwards and multiplied with the growth of the Jaccard
    loss as pixel after pixel becomes wrong. The mean is over the classes that occur in the image's labels. One image is
    the unit, as in the paper's per-image variant: sum over images, and the number of images with a valid pixel.

    Args:
      logits: (B, ..., classes).
      labels: (B, ...) int32, any value where not valid.
      valid: (B, ...) bool.

    >>> import jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([[[0.8, 0.2], [0.4, 0.6]]]))
    >>> total, count = lovasz_softmax(logits, jnp.array([[0, 1]]), jnp.ones((1, 2), bool))
    >>> round(float(total / count), 4)  # class 0: 0.4 / 2 + 0.2 / 2; class 1: 0.4 * 1 + 0.2 * 0
    0.35
    """
    batch, classes = logits.shape[0], logits.shape[-1]
    valid = valid.reshape(batch, -1)
    # Zeroed before the softmax too: an infinite logit under void would give 0 * NaN in the gradient.
    logits = jnp.where(valid[..., None], logits.reshape(batch, -1, classes).astype(jnp.float32), 0)
    probability = jax.nn.softmax(logits, -1)
    hot = (labels.reshape(batch, -1, 1) == jnp.arange(classes)[None, None]) & valid[..., None]
    over_classes = jax.vmap(_lovasz, in_axes=(-1, -1, None))
    losses = jax.vmap(over_classes)(probability, hot, valid)
    present = hot.any(1)
    known = present.any(1)
    mean = jnp.where(present, losses, 0).sum(1) / jnp.maximum(present.sum(1), 1)
    return jnp.where(known, mean, 0).sum(), known.sum(dtype=jnp.float32)


def _lovasz(probability: jax.Array, hot: jax.Array, valid: jax.Array) -> jax.Array:
    """One class of one image; all arguments (pixels,)."""
    error = jnp.where(valid, jnp.where(hot, 1 - probability, probability), 0)
    # Void pixels come last (their key is below every error), where they no longer move the index.
    order = jnp.argsort(jnp.where(valid, -jax.lax.stop_gradient(error), 1.0))
    hot, valid = hot[order].astype(jnp.float32), valid[order].astype(jnp.float32)
    total = hot.sum()
    union = total + jnp.cumsum((1 - hot) * valid)
    jaccard = 1 - (total - jnp.cumsum(hot)) / jnp.maximum(union, 1)
    # Not a dot product: accelerators would round its factors to fewer bits.
    return (error[order] * jnp.diff(jaccard, prepend=0)).sum()
