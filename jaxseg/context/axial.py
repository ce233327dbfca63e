"""Axial attention: along the rows, then along the columns."""

import jax

from jaxseg.layers.attention import attend
from jaxseg.layers.transformer import REACH, Transformer


class Axial(Transformer):
    """Each position attends to its row, in the next block to its column; (B, H, W, features).

    Ho et al. 2019 (arXiv:1912.12180); Wang et al. 2020 (arXiv:2003.07853). A layer is these two
    blocks, after which every position depends on every other, in time and memory H * W * (H + W).
    Fields, positions and errors: `Transformer`.
    """

    passes = 2

    def attention(self, query: jax.Array, key: jax.Array, value: jax.Array, index: int
                  ) -> jax.Array:
        if index % 2 == 0:
            return self._along_rows(query, key, value, self.bias(index, (0, REACH), query.shape[2]))
        columns = [array.swapaxes(1, 2) for array in (query, key, value)]
        # The tokens of a column are those of a map of width 1.
        return self._along_rows(*columns, self.bias(index, (REACH, 0), 1)).swapaxes(1, 2)

    def _along_rows(self, query: jax.Array, key: jax.Array, value: jax.Array, bias) -> jax.Array:
        lines = [array.reshape(-1, *array.shape[2:]) for array in (query, key, value)]
        return attend(*lines, bias=bias).reshape(query.shape)
