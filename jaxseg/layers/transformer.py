"""Pre-norm transformer blocks over a feature map; subclasses define the attention."""

from typing import Literal

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, Positive, PositiveInt
from jaxseg.layers.dense import Dense
from jaxseg.layers.dropout import Dropout
from jaxseg.layers.position import LearnedPosition, relative_bias, rotate_2d, sine_2d

# Offsets in rows or columns beyond it share one relative bias.
REACH = 16


class Transformer(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))` (Vaswani et al. 2017; Xiong et al. 2020).

    (B, H, W, C) -> (B, H, W, features). A subclass defines `attention` and how many blocks make a
    layer (`passes`). Positions: 'none'; 'sine' and 'learned' are added to the input once;
    'relative' is a bias of the scores; 'rope' rotates queries and keys. All work for other sizes
    than trained. `size` is the height and width of the map that learned positions are made for, and
    for these only.

    Raises:
      InputError: `heads` does not divide `features`; learned positions without `size`, or a `size`
        without them; rotary positions in heads whose channels 4 does not divide.
    """

    features: PositiveInt
    heads: PositiveInt = 4
    layers: PositiveInt = 1
    mlp_ratio: Positive = 2.0
    dropout: DropRate = 0.0
    position: Literal['none', 'sine', 'learned', 'relative', 'rope'] = 'sine'
    size: tuple[PositiveInt, PositiveInt] | None = None

    passes = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        self._check()
        if x.shape[-1] != self.features:
            x = Dense(self.features, name='project')(x)
        x = self._add_position(x)
        for index in range(self.layers * self.passes):
            x = x + Dropout(self.dropout)(self._attention(x, index), train=train)
            x = x + Dropout(self.dropout)(self._mlp(x, index), train=train)
        return x

    def attention(self, query: jax.Array, key: jax.Array, value: jax.Array, index: int
                  ) -> jax.Array:
        """Three times (B, H, W, heads, d) -> the same, in block `index`."""
        raise NotImplementedError

    def bias(self, index: int, reach: tuple[int, int], width: int):
        """The relative bias of block `index` on a map of `width`; None with other positions."""
        if self.position != 'relative':
            return None
        shape = self.heads, 2 * reach[0] + 1, 2 * reach[1] + 1
        table = self.param(f'relative{index}', nn.initializers.normal(0.02), shape)
        return relative_bias(table, width)

    def _check(self):
        if self.features % self.heads:
            raise InputError(f'context.heads: {self.heads} does not divide the {self.features} '
                             f'features; change one of them')
        if (self.size is None) == (self.position == 'learned'):
            raise InputError(f"context.size: {self.size} with position {self.position!r}; give "
                             f"(height, width) with 'learned' and nothing with others")

    def _add_position(self, x: jax.Array) -> jax.Array:
        height, width = x.shape[1:3]
        if self.position == 'sine':
            return x + sine_2d(height, width, self.features)[None].astype(x.dtype)
        if self.position == 'learned':
            learned = LearnedPosition(self.features, self.size, name='position')(height, width)
            return (x + learned[None]).astype(x.dtype)
        return x

    def _attention(self, x: jax.Array, index: int) -> jax.Array:
        head = self.features // self.heads
        y = nn.LayerNorm(dtype=x.dtype, name=f'norm{index}_attention')(x)
        y = Dense((3, self.heads, head), name=f'qkv{index}')(y)
        query, key, value = y[..., 0, :, :], y[..., 1, :, :], y[..., 2, :, :]
        if self.position == 'rope':
            query, key = rotate_2d(query), rotate_2d(key)
        y = self.attention(query, key, value, index)
        return Dense(self.features, axes=2, name=f'out{index}')(y)

    def _mlp(self, x: jax.Array, index: int) -> jax.Array:
        hidden = max(1, int(self.mlp_ratio * self.features))
        y = nn.LayerNorm(dtype=x.dtype, name=f'norm{index}_mlp')(x)
        y = nn.gelu(Dense(hidden, name=f'mlp{index}_in')(y))
        return Dense(self.features, name=f'mlp{index}_out')(y)
