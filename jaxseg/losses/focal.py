"""Focal loss."""

import jax
import jax.numpy as jnp


def focal(logits: jax.Array, labels: jax.Array, valid: jax.Array, *, gamma: float = 2.0
          ) -> tuple[jax.Array, jax.Array]:
    """`sum_i (1 - p_{i, y_i})^gamma (-log p_{i, y_i})` and the number of pixels, over valid pixels (Lin et al. 2017).

    With softmax probabilities; gamma 0 is the cross-entropy.

    Args:
      logits: (..., classes).
      labels: (...) int32, any value where not valid.
      valid: (...) bool.
      gamma: how much easy pixels are discounted.

    >>> import jax.numpy as jnp
    >>> total, count = focal(jnp.zeros((1, 2)), jnp.array([1]), jnp.array([True]))
    >>> round(float(total / count), 4)  # 0.25 log 2
    0.1733
    """
    # Zeroed under void: an infinite logit there would give 0 * NaN in the gradient.
    logits = jnp.where(valid[..., None], logits.astype(jnp.float32), 0)
    hot = labels[..., None] == jnp.arange(logits.shape[-1]).reshape((1,) * labels.ndim + (-1,))
    surprise = jax.nn.logsumexp(logits, -1) - jnp.where(hot, logits, 0).sum(-1)
    # Never exactly 0: the gradient of the power would be infinite there for gamma below 1.
    surprise = jnp.maximum(surprise, 0)
    missing = jnp.maximum(-jnp.expm1(-surprise), 1e-12)
    return jnp.where(valid, missing ** gamma * surprise, 0).sum(), valid.sum(dtype=jnp.float32)
