"""Multi-head dot-product self-attention over all positions of the feature map."""

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.layers.attention import attend
from jaxseg.layers.position import sine_2d


class SelfAttention(nn.Module):
    """Pre-norm transformer blocks (Vaswani et al. 2017; Xiong et al. 2020): (B, H, W, C) -> (B, H, W, features).

    Every position attends to every other. Two-dimensional sines are added to the input once, unless `position` is
    False; then the layer commutes with every permutation of the positions. Memory is linear in H * W, time quadratic.

    Raises:
      InputError: `features` does not divide by `heads`.
    """

    features: int
    heads: int = 4
    layers: int = 1
    mlp_ratio: float = 2.0
    dropout: float = 0.0
    position: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.features % self.heads:
            raise InputError(f'context self_attention.SelfAttention: features {self.features} does not divide by '
                             f'heads {self.heads}')
        b, h, w, c = x.shape
        if c != self.features:
            x = nn.Dense(self.features, dtype=x.dtype, name='project')(x)
        if self.position:
            x = x + sine_2d(h, w, self.features)[None].astype(x.dtype)
        x = x.reshape(b, h * w, self.features)
        for index in range(self.layers):
            x = x + self._drop(self._attention(x, index), train)
            x = x + self._drop(self._mlp(x, index), train)
        return x.reshape(b, h, w, self.features)

    def _attention(self, x: jax.Array, index: int) -> jax.Array:
        y = nn.LayerNorm(dtype=x.dtype, name=f'norm{index}_attention')(x)
        y = nn.DenseGeneral((3, self.heads, self.features // self.heads), dtype=x.dtype, name=f'qkv{index}')(y)
        y = attend(y[:, :, 0], y[:, :, 1], y[:, :, 2])
        return nn.DenseGeneral(self.features, axis=(-2, -1), dtype=x.dtype, name=f'out{index}')(y)

    def _mlp(self, x: jax.Array, index: int) -> jax.Array:
        y = nn.LayerNorm(dtype=x.dtype, name=f'norm{index}_mlp')(x)
        y = nn.gelu(nn.Dense(int(self.mlp_ratio * self.features), dtype=x.dtype, name=f'mlp{index}_in')(y))
        return nn.Dense(self.features, dtype=x.dtype, name=f'mlp{index}_out')(y)

    def _drop(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dropout(self.dropout, deterministic=not train)(x) if self.dropout else x
