"""Rematerialization of blocks."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn


def call_block(block: Callable, x: Any, remat: bool, /, **options: Any) -> Any:
    """`block(x, **options)`; with `remat` computed again in the backward pass.

    Then only the input of the block is stored in the forward pass (Chen et al. 2016,
    arXiv:1604.06174). Names and values of variables do not depend on it.

    Args:
      block: a module, or a bound method of a module.
      x: an array, or several.
      options: what is not an array, or needs no gradient.
    """
    if not remat:
        return block(x, **options)
    if isinstance(block, nn.Module):
        return nn.remat(lambda module, x: module(x, **options))(block, x)
    return nn.remat(lambda module, x: block.__func__(module, x, **options))(block.__self__, x)
