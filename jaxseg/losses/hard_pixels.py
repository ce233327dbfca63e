"""Cross-entropy of the pixels that are hardest: top-k and OHEM."""

import math
from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegative, Range
from jaxseg.losses.pixels import nll, pixel_weights, softmax_inputs

Share = Annotated[float, Range(above=0, high=1)]


def topk_cross_entropy(logits: jax.Array, labels: jax.Array, valid: jax.Array, *,
                       fraction: Share = 0.25,
                       class_weights: Sequence[NonNegative] | None = None
                       ) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy of the hardest pixels of every image (Wu et al. 2016, arXiv:1605.06885).

    These are the `ceil(fraction * n)` of its n valid pixels that have the largest cross-entropy;
    equal ones share what is left of that number. The unit is one image, so the result does not
    depend on how images are batched: the sum over the images, and the number of images with a valid
    pixel.

    Args:
      logits: (B, ..., classes).
      labels: (B, ...) int32, any value where not valid.
      valid: (B, ...) bool.
      class_weights: of the mean, one for every class, None is 1 for all; pixels are ranked without.
        Those of a class of weight 0 are left out.

    Raises:
      InputError: labels of a wrong shape, class weights not as many as the classes or all 0.

    >>> import jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([[[0.5, 0.5], [0.75, 0.25], [0.125, 0.875], [0.5, 0.5]]]))
    >>> labels, valid = jnp.zeros((1, 4), int), jnp.ones((1, 4), bool)
    >>> total, count = topk_cross_entropy(logits, labels, valid, fraction=0.5)
    >>> round(float(total / count), 4)  # (log 8 + log 2) / 2
    1.3863
    """
    losses, weights = _of_images('topk_cross_entropy', logits, labels, valid, class_weights)
    return _means(losses, weights, _hardest(losses, weights > 0, fraction))


def ohem_cross_entropy(logits: jax.Array, labels: jax.Array, valid: jax.Array, *,
                       threshold: Annotated[float, Range(above=0, below=1)] = 0.7,
                       min_kept: Share = 1 / 16,
                       class_weights: Sequence[NonNegative] | None = None
                       ) -> tuple[jax.Array, jax.Array]:
    """Online hard example mining: mean cross-entropy of the pixels of which a model is not sure.

    After Shrivastava et al. 2016 (arXiv:1604.03540), for pixels as in the training of BiSeNet and
    HRNet: those whose class has a probability below `threshold`, but in every image at least the
    hardest `ceil(min_kept * n)` of its n valid pixels. These codes choose among the pixels of the
    batch of one device; here the unit is one image, as in `topk_cross_entropy`.

    Args:
      logits: (B, ..., classes).
      labels: (B, ...) int32, any value where not valid.
      valid: (B, ...) bool.
      class_weights: as in `topk_cross_entropy`.

    Raises:
      InputError: labels of a wrong shape, class weights not as many as the classes or all 0.

    >>> import jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([[[0.5, 0.5], [0.75, 0.25], [0.125, 0.875], [0.875, 0.125]]]))
    >>> labels, valid = jnp.zeros((1, 4), int), jnp.ones((1, 4), bool)
    >>> total, count = ohem_cross_entropy(logits, labels, valid)
    >>> round(float(total / count), 4)  # (log 8 + log 2) / 2
    1.3863
    """
    losses, weights = _of_images('ohem_cross_entropy', logits, labels, valid, class_weights)
    usable = weights > 0
    hardest = _hardest(losses, usable, min_kept)
    unsure = (usable & (losses > -math.log(threshold))).astype(jnp.float32)
    enough = unsure.sum(1, keepdims=True) >= hardest.sum(1, keepdims=True)
    return _means(losses, weights, jnp.where(enough, unsure, hardest))


def _of_images(loss: str, logits: jax.Array, labels: jax.Array, valid: jax.Array,
               class_weights: Sequence[float] | None) -> tuple[jax.Array, jax.Array]:
    """Cross-entropies, 0 where void, and weights of the pixels of each image, both (B, N)."""
    logits, one_hot = softmax_inputs(loss, logits, labels, valid)
    losses = jnp.where(valid, nll(logits, one_hot), 0)
    weights = pixel_weights(one_hot, valid, class_weights)
    return losses.reshape(len(losses), -1), weights.reshape(len(losses), -1)


def _hardest(losses: jax.Array, usable: jax.Array, fraction: float) -> jax.Array:
    """How far each pixel is among this share of the usable ones: 1, 0, or a part where equal."""
    losses = jax.lax.stop_gradient(losses)
    # Rounded down a little first, so that a third of three pixels is one.
    number = jnp.ceil(fraction * usable.sum(1, keepdims=True) - 1e-4).astype(jnp.int32)
    ranked = jnp.sort(jnp.where(usable, losses, -jnp.inf), 1, descending=True)
    smallest = jnp.take_along_axis(ranked, jnp.maximum(number - 1, 0), 1)
    above, equal = usable & (losses > smallest), usable & (losses == smallest)
    left = number - above.sum(1, keepdims=True)
    return above + equal * (left / jnp.maximum(equal.sum(1, keepdims=True), 1))


def _means(losses: jax.Array, weights: jax.Array, chosen: jax.Array
           ) -> tuple[jax.Array, jax.Array]:
    """The sum over the images of their weighted means, and the number of images with a pixel."""
    weights, occurs = weights * chosen, (weights > 0).any(1)
    totals = weights.sum(1)
    means = (weights * losses).sum(1) / jnp.where(totals > 0, totals, 1)
    return means.sum(), occurs.sum(dtype=jnp.float32)
