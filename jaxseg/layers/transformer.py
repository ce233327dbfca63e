"""Pre-norm transformer blocks over a feature map; who attends to whom is left to the subclass."""

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.layers.position import LearnedPosition, relative_bias, rotate_2d, sine_2d

# Offsets in rows or columns beyond it share one relative bias.
REACH = 16


class Transformer(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))` (Vaswani et al. 2017; pre-norm: Xiong et al. 2020).

    (B, H, W, C) -> (B, H, W, features). A subclass defines `attention`, how many blocks make a layer (`passes`) and
    which `positions` it knows: 'none'; 'sine' and 'learned' are added to the input once; 'relative' is a bias of the
    scores; 'rope' turns queries and keys. Sizes other than trained work with all of them. `size` is the height and width
    of the map that learned positions are made for, and for these only.

    Raises:
      InputError: `features` does not divide by `heads`, an unknown position, learned positions without `size`, a `size`
        that has no use, or rotary positions in heads whose width does not divide by 4.
    """

    features: int
    heads: int = 4
    layers: int = 1
    mlp_ratio: float = 2.0
    dropout: float = 0.0
    position: str = 'sine'
    size: tuple[int, int] | None = None

    passes = 1
    positions = ('none', 'sine', 'learned', 'relative', 'rope')

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        self._check()
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=x.dtype, name='project')(x)
        x = self._place(x)
        for index in range(self.layers * self.passes):
            x = x + self._drop(self._attention(x, index), train)
            x = x + self._drop(self._mlp(x, index), train)
        return x

    def attention(self, query: jax.Array, key: jax.Array, value: jax.Array, index: int) -> jax.Array:
        """Three times (B, H, W, heads, d) -> the same, in block `index`."""
        raise NotImplementedError

    def bias(self, index: int, reach: tuple[int, int], width: int):
        """The relative bias of block `index` where tokens lie in rows of `width`; none with other positions."""
        if self.position != 'relative':
            return None
        shape = self.heads, 2 * reach[0] + 1, 2 * reach[1] + 1
        return relative_bias(self.param(f'relative{index}', nn.initializers.normal(0.02), shape), width)

    def _check(self):
        where = f'context {type(self).__module__.rsplit(".", 1)[-1]}.{type(self).__name__}'
        if self.features % self.heads:
            raise InputError(f'{where}: features {self.features} does not divide by heads {self.heads}')
        if self.position not in self.positions:
            raise InputError(f'{where}: position {self.position!r} is unknown; known: {", ".join(self.positions)}')
        if (self.size is None) == (self.position == 'learned'):
            raise InputError(f"{where}: size is {self.size} with position {self.position!r}; give (height, width) with "
                             f"'learned' and nothing with others")

    def _place(self, x: jax.Array) -> jax.Array:
        height, width = x.shape[1:3]
        if self.position == 'sine':
            return x + sine_2d(height, width, self.features)[None].astype(x.dtype)
        if self.position == 'learned':
            return x + LearnedPosition(self.features, self.size, name='position')(height, width)[None].astype(x.dtype)
        return x

    def _attention(self, x: jax.Array, index: int) -> jax.Array:
        y = nn.LayerNorm(dtype=x.dtype, name=f'norm{index}_attention')(x)
        y = nn.DenseGeneral((3, self.heads, self.features // self.heads), dtype=x.dtype, name=f'qkv{index}')(y)
        query, key, value = y[..., 0, :, :], y[..., 1, :, :], y[..., 2, :, :]
        if self.position == 'rope':
            query, key = rotate_2d(query), rotate_2d(key)
        y = self.attention(query, key, value, index)
        return nn.DenseGeneral(self.features, axis=(-2, -1), dtype=x.dtype, name=f'out{index}')(y)

    def _mlp(self, x: jax.Array, index: int) -> jax.Array:
        y = nn.LayerNorm(dtype=x.dtype, name=f'norm{index}_mlp')(x)
        y = nn.gelu(nn.Dense(int(self.mlp_ratio * self.features), dtype=x.dtype, name=f'mlp{index}_in')(y))
        return nn.Dense(self.features, dtype=x.dtype, name=f'mlp{index}_out')(y)

    def _drop(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dropout(self.dropout, deterministic=not train)(x) if self.dropout else x
