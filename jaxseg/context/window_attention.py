"""Attention within windows, which every second block shifts by half."""

from typing import Literal

import jax

from jaxseg.fields import PositiveInt
from jaxseg.layers import windows
from jaxseg.layers.transformer import Transformer


class WindowAttention(Transformer):
    """Swin's attention (Liu et al. 2021, arXiv:2103.14030), linear in H * W.

    (B, H, W, C) -> (B, H, W, features). A position attends to its window of `window` x `window`
    positions; in the second block of a layer the windows are shifted down and right by half a
    window. Any size: windows that extend over the border are smaller. Fields, positions and errors:
    `Transformer`.
    """

    position: Literal['none', 'sine', 'learned', 'relative', 'rope'] = 'relative'
    window: PositiveInt = 7

    passes = 2

    def attention(self, query: jax.Array, key: jax.Array, value: jax.Array, index: int
                  ) -> jax.Array:
        size = query.shape[1:3]
        window = tuple(min(self.window, side) for side in size)
        # One window over the whole side needs no shift.
        shift = tuple(index % 2 * (side > length) * (length // 2)
                      for side, length in zip(size, window, strict=True))
        parts = [windows.partition(array, window, shift) for array in (query, key, value)]
        relative = self.bias(index, (self.window - 1, self.window - 1), window[1])
        y = windows.attend_within(windows.regions(size, window, shift), relative, *parts)
        return windows.join(y, size, window, shift)
