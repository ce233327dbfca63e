"""Seg-Grad-CAM: which places of a feature map speak for a class in a region."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Shifted = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def seg_grad_cam(run: Shifted, images: jax.Array, shape: jax.ShapeDtypeStruct, label: int,
                 region: jax.Array) -> jax.Array:
    """`relu(sum_k a_k A_k)`, after Vinogradova et al. 2020 (arXiv:2002.11434).

    `a_k` is the mean over the map of the gradient, by channel k of the features A, of the logits of
    the class summed over the region.

    Args:
      run: `(images, delta) -> (features, logits)` with delta added to the features; features
        (1, h, w, C), logits (1, H, W, classes).
      images: (1, H, W, channels).
      shape: of the features.
      label: index of the class.
      region: (H, W) bool.

    Returns:
      (h, w) float32, not negative.
    """
    def score(delta: jax.Array) -> tuple[jax.Array, jax.Array]:
        features, logits = run(images, delta)
        chosen = jnp.where(region, logits[0, :, :, label].astype(jnp.float32), 0)
        return chosen.sum(), features

    gradient, features = jax.grad(score, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))
    gradient, features = gradient[0].astype(jnp.float32), features[0].astype(jnp.float32)
    weights = gradient.mean((0, 1), keepdims=True)
    return jax.nn.relu((weights * features).sum(-1))
