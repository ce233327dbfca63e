"""Linear attention: a kernel in place of the softmax, in time linear in the positions."""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxseg.layers.transformer import Transformer


class LinearAttention(Transformer):
    """`y_i = sum_j phi(q_i) phi(k_j) v_j / sum_j phi(q_i) phi(k_j)` with `phi(x) = elu(x) + 1`.

    (B, H, W, C) -> (B, H, W, features). Katharopoulos et al. 2020 (arXiv:2006.16236). The sums over
    j do not depend on i and are computed once, in float32: time and memory are linear in H * W.
    Fields and errors: `Transformer`; without scores, positions can only be added to the input.
    """

    position: Literal['none', 'sine', 'learned'] = 'sine'

    def attention(self, query: jax.Array, key: jax.Array, value: jax.Array, index: int
                  ) -> jax.Array:
        query, key = _positive(query), _positive(key)
        summary = jnp.einsum('bijhd,bijhe->bhde', key, value.astype(jnp.float32))
        total = jnp.einsum('bijhd,bhd->bijh', query, key.sum((1, 2)))
        # As in the authors' code: where all features have vanished this gives 0, not 0 / 0.
        y = jnp.einsum('bijhd,bhde->bijhe', query, summary) / (total + 1e-6)[..., None]
        return y.astype(value.dtype)


def _positive(x: jax.Array) -> jax.Array:
    """`elu(x) + 1` without the loss of digits of `exp(x) - 1 + 1`."""
    x = x.astype(jnp.float32)
    return jnp.where(x > 0, x + 1, jnp.exp(jnp.minimum(x, 0)))
