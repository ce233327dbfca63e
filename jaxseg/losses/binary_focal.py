"""Sigmoid focal loss of every class."""

import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegative, Probability
from jaxseg.losses.pixels import sigmoid_inputs


def binary_focal(logits: jax.Array, labels: jax.Array, valid: jax.Array, *,
                 gamma: NonNegative = 2.0, alpha: Probability | None = None
                 ) -> tuple[jax.Array, jax.Array]:
    """`sum_ik a_ik (1 - q_ik)^gamma (-log q_ik)` and the number of valid entries (Lin et al. 2017).

    `q = sigmoid(logits)` where the label is 1 and `1 - sigmoid(logits)` where it is 0; an entry is
    one class of one pixel. With gamma 0 and no alpha it is the binary cross-entropy.

    Args:
      logits: (..., classes).
      labels: (..., classes) int32, 0 or 1, any value where not valid.
      valid: (..., classes) bool.
      gamma: how much entries that are already right are discounted.
      alpha: `a` is alpha where the label is 1 and 1 - alpha where it is 0 (0.25 in the paper); None
        is 1 for both.

    Raises:
      InputError: labels of a wrong shape.

    >>> import jax.numpy as jnp
    >>> labels, valid = jnp.array([[1, 0]]), jnp.ones((1, 2), bool)
    >>> total, count = binary_focal(jnp.zeros((1, 2)), labels, valid, alpha=0.25)
    >>> round(float(total / count), 4)  # (0.25 + 0.75) / 2 * 0.25 log 2
    0.0866
    """
    logits, positive = sigmoid_inputs('binary_focal', logits, labels, valid)
    signed = jnp.where(positive, logits, -logits)
    # Never exactly 0: the gradient of the power would be infinite there for gamma below 1.
    one_minus_p = jnp.maximum(jax.nn.sigmoid(-signed), 1e-12)
    loss = one_minus_p ** gamma * jax.nn.softplus(-signed)
    if alpha is not None:
        loss = jnp.where(positive, alpha, 1 - alpha) * loss
    return jnp.where(valid, loss, 0).sum(), valid.sum(dtype=jnp.float32)
