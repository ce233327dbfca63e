"""Recurrent cells with convolutions, over sequences of feature maps."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv


class ConvGRU(nn.Module):
    """Convolutional GRU (Ballas et al. 2015, arXiv:1511.06432).

    `z = sigmoid(W_z * x + U_z * h + b_z)`; `r = sigmoid(W_r * x + U_r * h + b_r)`;
    `n = tanh(W_n * x + U_n * (r h) + b_n)`; `h' = (1 - z) h + z n`, where `*` is a convolution with
    a `kernel` x `kernel` window and zeros around the map.

    `state (B, H, W, features) float32, x (B, H, W, C) -> state, output (B, H, W, features)` in the
    dtype of x. For a clip (B, T, H, W, C): `nn.scan(ConvGRU, variable_broadcast='params',
    split_rngs={'params': False}, in_axes=1, out_axes=1)`.
    """

    features: PositiveInt
    kernel: PositiveInt = 3

    @nn.compact
    def __call__(self, state: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        both = 2 * self.features
        bias = self.param('bias', nn.initializers.zeros, (3 * self.features,))

        def convolved(x: jax.Array, features: int, name: str) -> jax.Array:
            return Conv(features, self.kernel, name=name)(x).astype(jnp.float32)

        from_x = convolved(x, 3 * self.features, 'input') + bias[None, None, None]
        from_state = convolved(state.astype(x.dtype), both, 'state')
        update, reset = jnp.split(jax.nn.sigmoid(from_x[..., :both] + from_state), 2, -1)
        from_reset = convolved((reset * state).astype(x.dtype), self.features, 'candidate')
        state = state + update * (jnp.tanh(from_x[..., both:] + from_reset) - state)
        return state, state.astype(x.dtype)

    @nn.nowrap
    def zero_state(self, shape: tuple[int, ...]) -> jax.Array:
        """The state before the first frame, for frames of this shape (B, H, W, C)."""
        return jnp.zeros((*shape[:3], self.features), jnp.float32)


class ConvLSTM(nn.Module):
    """Convolutional LSTM (Shi et al. 2015, arXiv:1506.04214) without its peepholes.

    `i, f, g, o = W * x + U * h + b`; `c' = sigmoid(f) c + sigmoid(i) tanh(g)`;
    `h' = sigmoid(o) tanh(c')`. The forget gate starts open, with a bias of 1 (Jozefowicz et al.
    2015).

    `state (h, c), x (B, H, W, C) -> state, output (B, H, W, features)`, otherwise as `ConvGRU`.
    """

    features: PositiveInt
    kernel: PositiveInt = 3

    @nn.compact
    def __call__(self, state: tuple[jax.Array, jax.Array], x: jax.Array
                 ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        h, c = state
        bias = self.param('bias', self._bias, (4 * self.features,))
        from_x = Conv(4 * self.features, self.kernel, name='input')(x).astype(jnp.float32)
        from_state = Conv(4 * self.features, self.kernel, name='state')(h.astype(x.dtype))
        i, f, g, o = jnp.split(
            from_x + from_state.astype(jnp.float32) + bias[None, None, None], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h.astype(x.dtype)

    @nn.nowrap
    def zero_state(self, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        """The state before the first frame, for frames of this shape (B, H, W, C)."""
        zeros = jnp.zeros((*shape[:3], self.features), jnp.float32)
        return zeros, zeros

    def _bias(self, key: jax.Array, shape: tuple[int], dtype=jnp.float32) -> jax.Array:
        return jnp.zeros(shape, dtype).at[self.features:2 * self.features].set(1)
