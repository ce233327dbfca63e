"""Multi-head dot-product self-attention over all positions of the feature map."""

import jax

from jaxseg.layers.attention import attend, sow_attention
from jaxseg.layers.transformer import REACH, Transformer


class SelfAttention(Transformer):
    """Each position attends to all (Vaswani et al. 2017, arXiv:1706.03762).

    (B, H, W, C) -> (B, H, W, features). Memory is linear in H * W, time quadratic. With position
    'none' it commutes with every permutation of the positions. Fields, positions and errors:
    `Transformer`.
    """

    def attention(self, query: jax.Array, key: jax.Array, value: jax.Array, index: int
                  ) -> jax.Array:
        batch, height, width, *head = query.shape
        tokens = [array.reshape(batch, height * width, *head) for array in (query, key, value)]
        bias = self.bias(index, (REACH, REACH), width)
        sow_attention(self, *tokens[:2], bias=bias, size=(height, width))
        return attend(*tokens, bias=bias).reshape(query.shape)
