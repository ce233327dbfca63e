"""Random arrays, a layer applied, and variables of a module without compiling `init`."""

import functools

import jax
import numpy as np
from jax import export


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers, float32, the same in every call."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(layer, variables: dict, x) -> np.ndarray:
    """The output of a context layer for x outside of training."""
    return np.asarray(_apply(layer, variables, x))


@functools.partial(jax.jit, static_argnums=0)
def _apply(layer, variables, x):
    return layer.apply(variables, x, train=False)


def random_variables(module, *args, **options) -> dict:
    """Random values in place of `module.init(key, *args, **options)`, without sown values.

    No leaf is zero or one, so that a forgotten bias or statistic shows.
    """
    keys = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
    shapes = jax.eval_shape(lambda args: module.init(keys, *args, **options), args)
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if leaf.ndim > 1:
            fan_in = np.prod(leaf.shape[:-1])
            return (rng.normal(size=leaf.shape) / np.sqrt(fan_in)).astype(leaf.dtype)
        # Scales and variances are near 1, biases and means near 0.
        centre = 1.0 if path[-1].key in ('scale', 'var') else 0.0
        return (centre + rng.uniform(-0.3, 0.3, leaf.shape)).astype(leaf.dtype)

    kept = {name: tree for name, tree in shapes.items() if name in ('params', 'batch_stats')}
    return jax.tree_util.tree_map_with_path(fill, kept)


def at_any_size(function, *shape):
    """`function` of a map (B, H, W, C), traced once for all heights and widths."""
    sides = export.symbolic_shape(f'{shape[0]}, h, w, {shape[3]}')
    return export.export(jax.jit(function))(jax.ShapeDtypeStruct(sides, np.float32)).call
