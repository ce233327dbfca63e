"""The block of vision transformers, over a sequence of tokens."""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax

from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.attention import attend, sow_attention
from jaxseg.layers.dense import Dense, multiply_channels
from jaxseg.layers.dropout import DropPath

KERNEL_INIT = nn.initializers.truncated_normal(0.02)
Biases = Literal['none', 'query_value', 'all']


def layer_norm(dtype: Any, epsilon: float, name: str) -> nn.LayerNorm:
    """Layer norm with float32 statistics and a result of this dtype."""
    return nn.LayerNorm(epsilon=epsilon, dtype=dtype, use_fast_variance=False, name=name)


def dense(x: jax.Array, features: int, name: str, *, bias: bool = True) -> jax.Array:
    """A linear layer in the dtype of `x`, initialised as those of vision transformers."""
    return Dense(features, use_bias=bias, kernel_init=KERNEL_INIT, name=name)(x)


class TransformerBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`: (B, N, C) -> the same.

    Dosovitskiy et al. 2021, arXiv:2010.11929. Called in the scope of the module that has the block;
    names of parameters are `norm1`, `query`, `key`, `value`, `out`, `scale1`, `norm2`, `mlp_in`,
    `mlp_out`, `scale2`.

    Args:
      heads: of the attention; it must divide C.
      hidden: channels between the two layers of the MLP.
      gated: the MLP is SwiGLU (Shazeer 2020, arXiv:2002.05202), with one more layer `mlp_gate`.
      layer_scale: initial value of a factor for every channel of both branches (Touvron et al.
        2021, arXiv:2103.17239); None for no factors.
      drop_path: rate of stochastic depth of both branches.
      biases: which of query, key and value have them.
      epsilon: of the norms.
    """

    heads: PositiveInt
    hidden: PositiveInt
    gated: bool = False
    layer_scale: float | None = None
    drop_path: DropRate = 0.0
    biases: Biases = 'all'
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool,
                 rotation: Callable[[jax.Array], jax.Array] | None = None) -> jax.Array:
        """`rotation` is applied to queries and keys, (B, N, heads, C / heads)."""
        y = self._attention(layer_norm(x.dtype, self.epsilon, 'norm1')(x), rotation)
        x = x + DropPath(self.drop_path)(self._scaled(y, 'scale1'), train=train)
        y = self._mlp(layer_norm(x.dtype, self.epsilon, 'norm2')(x))
        return x + DropPath(self.drop_path)(self._scaled(y, 'scale2'), train=train)

    def _attention(self, x: jax.Array, rotation: Callable | None) -> jax.Array:
        width = x.shape[-1]
        split = (*x.shape[:2], self.heads, width // self.heads)
        some, key_bias = self.biases != 'none', self.biases == 'all'
        query = dense(x, width, 'query', bias=some).reshape(split)
        key = dense(x, width, 'key', bias=key_bias).reshape(split)
        value = dense(x, width, 'value', bias=some).reshape(split)
        if rotation is not None:
            query, key = rotation(query), rotation(key)
        sow_attention(self, query, key)
        return dense(attend(query, key, value).reshape(x.shape), width, 'out')

    def _mlp(self, x: jax.Array) -> jax.Array:
        y = dense(x, self.hidden, 'mlp_in')
        if self.gated:
            y = y * nn.silu(dense(x, self.hidden, 'mlp_gate'))
        else:
            y = nn.gelu(y, approximate=False)
        return dense(y, x.shape[-1], 'mlp_out')

    def _scaled(self, x: jax.Array, name: str) -> jax.Array:
        if self.layer_scale is None:
            return x
        init = nn.initializers.constant(self.layer_scale)
        return multiply_channels(x, self.param(name, init, (x.shape[-1],)))
