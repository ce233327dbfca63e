"""A loss: (logits, labels, valid) -> (sum, count). The count depends on labels and valid alone."""

import jax
import jax.numpy as jnp


def brier(logits: jax.Array, labels: jax.Array, valid: jax.Array, *, scale: float = 1.0
          ) -> tuple[jax.Array, jax.Array]:
    """`scale sum_i |softmax(logits_i) - onehot(y_i)|^2` over the valid pixels, and their number.

    Options of a config are keyword-only arguments. `labels` may hold any value where not valid, so
    `valid` is applied before the sum, and with `where` and not by a product: 0 * NaN is NaN.
    """
    one_hot = jax.nn.one_hot(labels, logits.shape[-1])
    squares = jnp.square(jax.nn.softmax(logits, -1) - one_hot).sum(-1)
    return scale * jnp.where(valid, squares, 0).sum(), valid.sum(dtype=jnp.float32)
