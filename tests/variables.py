"""Variables for a module without compiling its initialisation: random, biases and running statistics too."""

import jax
import numpy as np


def random_variables(module, *args, **options) -> dict:
    """The collections that `module.init(key, *args, **options)` would make, with other values; sown values are left out.

    No leaf is zero or one, so that a forgotten bias or statistic shows.
    """
    keys = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
    shapes = jax.eval_shape(lambda args: module.init(keys, *args, **options), args)
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if leaf.ndim > 1:
            return (rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))).astype(leaf.dtype)
        # Scales and variances are near 1, biases and means near 0.
        centre = 1.0 if path[-1].key in ('scale', 'var') else 0.0
        return (centre + rng.uniform(-0.3, 0.3, leaf.shape)).astype(leaf.dtype)

    kept = {name: tree for name, tree in shapes.items() if name in ('params', 'batch_stats')}
    return jax.tree_util.tree_map_with_path(fill, kept)
