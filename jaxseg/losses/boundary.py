"""Boundary losses: how far wrong pixels are from the boundary of their class."""

from typing import Annotated

import jax
import jax.numpy as jnp

from jaxseg.fields import Range
from jaxseg.losses.pixels import sigmoid_inputs, softmax_inputs

Pixels = Annotated[int, Range(1, 64)]


def boundary(logits: jax.Array, labels: jax.Array, valid: jax.Array, *, max_distance: Pixels = 16
             ) -> tuple[jax.Array, jax.Array]:
    """`sum_ic D_ic |p_ic - y_ic| / max_distance` and the number of valid pixels.

    The boundary loss of Kervadec et al. 2019 (arXiv:1812.07032), eq. 5, with softmax probabilities:
    D_ic is the Euclidean distance in pixels of pixel i from the boundary of class c in the labels,
    half a pixel less than to the nearest valid pixel on its other side, and cut off at
    `max_distance`. So it is 0 where the prediction is right, and errors weigh more the further they
    are from the boundary. Classes without a boundary in an image are left out. It says little
    where nothing is right yet: add a loss of regions, such as `dice`, with a larger weight.

    Distances are exact, and computed on the device from the labels.

    Args:
      logits: (B, H, W, classes).
      labels: (B, H, W) int32, any value where not valid.
      valid: (B, H, W) bool.

    Raises:
      InputError: labels of a wrong shape.

    >>> import jax.numpy as jnp
    >>> labels, valid = jnp.array([[[0, 0, 1, 1]]]), jnp.ones((1, 1, 4), bool)
    >>> total, count = boundary(jnp.zeros((1, 1, 4, 2)), labels, valid, max_distance=2)
    >>> float(total / count)  # 2 classes * 0.5 * (1.5 + 0.5 + 0.5 + 1.5) / 2 / 4
    0.5
    """
    logits, one_hot = softmax_inputs('boundary', logits, labels, valid)
    nearest = _distances(one_hot, max_distance)
    # Of a class's own pixels, the distance from the nearest pixel of any other class.
    others = jnp.where(one_hot, jnp.inf, nearest).min(-1, keepdims=True)
    distances = jnp.where(one_hot, others, nearest)
    valid = valid[..., None]
    total = _sum(jax.nn.softmax(logits, -1), one_hot, valid, distances, max_distance)
    return total, valid.sum(dtype=jnp.float32)


def binary_boundary(logits: jax.Array, labels: jax.Array, valid: jax.Array, *,
                    max_distance: Pixels = 16) -> tuple[jax.Array, jax.Array]:
    """`boundary` of every class's sigmoid probabilities, and the number of valid entries.

    Args:
      logits: (B, H, W, classes).
      labels: (B, H, W, classes) int32, 0 or 1, any value where not valid.
      valid: (B, H, W, classes) bool.

    Raises:
      InputError: labels of a wrong shape.

    >>> import jax.numpy as jnp
    >>> labels, valid = jnp.array([[[[0], [0], [1], [1]]]]), jnp.ones((1, 1, 4, 1), bool)
    >>> total, count = binary_boundary(jnp.zeros((1, 1, 4, 1)), labels, valid, max_distance=2)
    >>> float(total / count)  # 0.5 * (1.5 + 0.5 + 0.5 + 1.5) / 2 / 4
    0.25
    """
    logits, positive = sigmoid_inputs('binary_boundary', logits, labels, valid)
    outside, inside = (_distances(x, max_distance) for x in (positive, valid & ~positive))
    distances = jnp.where(positive, inside, outside)
    total = _sum(jax.nn.sigmoid(logits), positive, valid, distances, max_distance)
    return total, valid.sum(dtype=jnp.float32)


def _sum(probabilities: jax.Array, truth: jax.Array, valid: jax.Array, distances: jax.Array,
         max_distance: int) -> jax.Array:
    bounded = truth.any((1, 2), keepdims=True) & (valid & ~truth).any((1, 2), keepdims=True)
    errors = jnp.where(truth, 1 - probabilities, probabilities)
    share = jnp.minimum(distances - 0.5, max_distance) / max_distance
    return jnp.where(valid & bounded, share * errors, 0).sum()


def _distances(mask: jax.Array, limit: int) -> jax.Array:
    """Euclidean distance of every pixel from the nearest one of a mask (B, H, W, classes).

    Exact up to `limit`, and more than `limit` + 1/2 beyond it. One axis after the other, as
    Felzenszwalb & Huttenlocher 2012: the squared distance is the least of `(j - j')^2 + (distance
    of (i, j') in its column)^2`.
    """
    far = limit + 1.0
    rows = jnp.arange(mask.shape[1], dtype=jnp.float32).reshape(1, -1, 1, 1)
    above = jax.lax.cummax(jnp.where(mask, rows, -jnp.inf), 1)
    below = jax.lax.cummin(jnp.where(mask, rows, jnp.inf), 1, reverse=True)
    column = jnp.minimum(jnp.minimum(rows - above, below - rows), far) ** 2
    padded = jnp.pad(column, ((0, 0), (0, 0), (limit, limit), (0, 0)), constant_values=far ** 2)
    squared = column
    for shift in range(-limit, limit + 1):
        beside = jax.lax.slice_in_dim(padded, limit + shift, limit + shift + mask.shape[2], axis=2)
        squared = jnp.minimum(squared, beside + shift ** 2)
    return jnp.sqrt(squared)
