"""Binary cross-entropy of every class."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegative
from jaxseg.losses.pixels import per_class, sigmoid_inputs


def binary_cross_entropy(logits: jax.Array, labels: jax.Array, valid: jax.Array, *,
                         pos_weight: Sequence[NonNegative] | None = None
                         ) -> tuple[jax.Array, jax.Array]:
    """`sum_ik -(v_k y_ik log p_ik + (1 - y_ik) log(1 - p_ik))` and the number of valid entries.

    `p = sigmoid(logits)`; an entry is one class of one pixel. The mean and the meaning of
    `pos_weight` are those of PyTorch's BCEWithLogitsLoss.

    Args:
      logits: (..., classes).
      labels: (..., classes) int32, 0 or 1, any value where not valid.
      valid: (..., classes) bool.
      pos_weight: v, the weight of positive entries, one for every class; None is 1 for all. The
        number of negative over that of positive pixels balances a rare class.

    Raises:
      InputError: labels of a wrong shape, weights not as many as the classes or all 0.

    >>> import jax.numpy as jnp
    >>> labels, valid = jnp.array([[1, 0], [7, 1]]), jnp.array([[True, True], [False, True]])
    >>> total, count = binary_cross_entropy(jnp.zeros((2, 2)), labels, valid, pos_weight=(2.0, 3.0))
    >>> round(float(total / count), 4)  # (2 + 1 + 3) / 3 log 2
    1.3863
    """
    logits, positive = sigmoid_inputs('binary_cross_entropy', logits, labels, valid)
    loss = jax.nn.softplus(jnp.where(positive, -logits, logits))
    if pos_weight is not None:
        loss = jnp.where(positive, per_class('pos_weight', pos_weight, logits.shape) * loss, loss)
    return jnp.where(valid, loss, 0).sum(), valid.sum(dtype=jnp.float32)
