"""Derivatives without automatic differentiation."""

from collections.abc import Callable

import jax
import numpy as np


def central_differences(loss: Callable, *trees, step: float = 1e-5) -> tuple:
    """The gradient of `loss(*trees)` by central differences of `step`, in float64."""
    leaves, structure = jax.tree.flatten(trees)
    leaves = [np.array(leaf, np.float64) for leaf in leaves]
    gradient = [np.zeros_like(leaf) for leaf in leaves]
    for leaf, slope in zip(leaves, gradient, strict=True):
        for index in np.ndindex(*leaf.shape):
            value = leaf[index]
            leaf[index] = value + step
            above = loss(*structure.unflatten(leaves))
            leaf[index] = value - step
            slope[index] = (above - loss(*structure.unflatten(leaves))) / (2 * step)
            leaf[index] = value
    return structure.unflatten(gradient)
