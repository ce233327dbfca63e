"""Padding and interpolation at heights and widths that are known only when a program runs.

`jax.export` traces a model once for all sizes: sides are then expressions of symbols, from which no
tables can be computed in advance. What is here computes them inside the program.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp


def are_numbers(sides: Iterable[Any]) -> bool:
    """Whether no side is an expression of symbols."""
    return all(isinstance(side, (int, float)) for side in sides)


def quotient(side: Any, other: Any) -> Any | None:
    """`side / other` where that is an integer whatever the values of the symbols, else None."""
    found = side // other
    return found if found * other == side else None


def pad_edge(x: jax.Array, size: tuple[Any, Any]) -> jax.Array:
    """Repeats the last row and column: (B, H, W, C) -> (B, *size, C)."""
    for axis, side in zip((1, 2), size, strict=True):
        x = jnp.take(x, jnp.minimum(jnp.arange(side), x.shape[axis] - 1), axis)
    return x


def pad_zeros(x: jax.Array, size: tuple[Any, Any]) -> jax.Array:
    """Adds zeros at the bottom and the right: (B, H, W, ...) -> (B, *size, ...), known or not."""
    if are_numbers((*size, *x.shape[1:3])):
        margins = [(0, new - old) for new, old in zip(size, x.shape[1:3], strict=True)]
        return jnp.pad(x, [(0, 0), *margins, *[(0, 0)] * (x.ndim - 3)])
    inside = [jnp.arange(new) < old for new, old in zip(size, x.shape[1:3], strict=True)]
    inside = (inside[0][:, None] & inside[1][None]).reshape(1, *size, *[1] * (x.ndim - 3))
    return jnp.where(inside, pad_edge(x, size), 0)


def interpolate(x: jax.Array, numerators: jax.Array, denominator: Any, width: Any = 1,
                reach: int = 1) -> jax.Array:
    """Weighted means around the positions `numerators / denominator`: (B, L, C) -> (B, n, C).

    The weights are a triangle of half the width `width` around the position. As quotients of
    integers positions are exact, where float32 would lose the fractions of large maps.

    Args:
      numerators: (n,) int32; those outside of the map are moved to its border.
      reach: old positions on either side, at least `width`.
    """
    last = x.shape[1] - 1
    numerators = jnp.clip(numerators, 0, last * denominator)
    first = numerators // denominator
    fraction = (numerators - first * denominator) / denominator
    total, weights = 0.0, 0.0
    for offset in range(1 - reach, reach + 1):
        index = first + offset
        weight = jnp.maximum(0, 1 - jnp.abs(offset - fraction) / width)
        weight = jnp.where((index >= 0) & (index <= last), weight, 0).astype(jnp.float32)
        taken = jnp.take(x, jnp.clip(index, 0, last), 1).astype(jnp.float32)
        total, weights = total + taken * weight[None, :, None], weights + weight
    return (total / weights[None, :, None]).astype(x.dtype)
