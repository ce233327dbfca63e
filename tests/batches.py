"""Small batches for augmentation on the device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

CLASSES = ('sky', 'road', 'car')
GIVEN = {'mean': (0.5, 0.25, 0.75), 'std': (0.2, 0.3, 0.4), 'value_range': (0.0, 255.0)}
COLOR = {'mean': GIVEN['mean'], 'value_range': GIVEN['value_range']}
RANGE = {'value_range': GIVEN['value_range']}


def keys(count, seed=0):
    return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(count))


def samples(count=4, height=12, width=12, classes=None, seed=0):
    """Pixels of random values, labels and void; with `classes` masks that overlap."""
    rng = np.random.default_rng(seed)
    shape = (count, height, width) + ((classes,) if classes else ())
    valid = rng.random(shape) < 0.7
    labels = rng.integers(0, 2 if classes else len(CLASSES), shape).astype(np.int32) * valid
    return rng.integers(0, 256, (count, height, width, 3)).astype(np.float32), labels, valid
