"""Shared by the losses: checked shapes, logits and labels without void, weights of classes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.errors import InputError


def softmax_inputs(loss: str, logits: jax.Array, indices: jax.Array, valid: jax.Array
                   ) -> tuple[jax.Array, jax.Array]:
    """The logits in float32, 0 where not valid, and the one-hot labels, False where not valid.

    Both are (..., classes); indices and valid are (...).

    Raises:
      InputError: the labels are not one class index per pixel; `loss` is the name in the message.
    """
    if indices.shape != logits.shape[:-1]:
        raise InputError(
            f'losses: {loss} is a softmax loss and takes one class index per pixel, so labels '
            f'{logits.shape[:-1]} for logits {logits.shape}, got {indices.shape}; '
            f'for task multilabel.Multilabel use a binary loss (binary_cross_entropy, binary_dice)')
    classes = jnp.arange(logits.shape[-1]).reshape((1,) * indices.ndim + (-1,))
    return _zero_void(logits, valid[..., None]), (indices[..., None] == classes) & valid[..., None]


def sigmoid_inputs(loss: str, logits: jax.Array, masks: jax.Array, valid: jax.Array
                   ) -> tuple[jax.Array, jax.Array]:
    """The logits in float32, 0 where not valid, and bool labels, False where not valid.

    All are (..., classes).

    Raises:
      InputError: the labels are not 0 or 1 for every class; `loss` is the name in the message.
    """
    if masks.shape != logits.shape:
        raise InputError(
            f'losses: {loss} is a sigmoid loss and takes 0 or 1 for every class of a pixel, so '
            f'labels {logits.shape} for logits {logits.shape}, got {masks.shape}; '
            f'for task semantic.Semantic use a softmax loss (cross_entropy, dice, lovasz)')
    return _zero_void(logits, valid), masks.astype(bool) & valid


def nll(logits: jax.Array, one_hot: jax.Array) -> jax.Array:
    """`-log p_{i, y_i}` (...), the negative log-likelihood of the labels under a softmax."""
    # A masked sum: the gradient of a gather would be a scatter, which is slow everywhere.
    return jax.nn.logsumexp(logits, -1) - jnp.where(one_hot, logits, 0).sum(-1)


def pixel_weights(one_hot: jax.Array, valid: jax.Array, class_weights: Sequence[float] | None
                  ) -> jax.Array:
    """The weight of every pixel (...), float32: that of its class, 0 where not valid."""
    if class_weights is None:
        return valid.astype(jnp.float32)
    weights = per_class('class_weights', class_weights, one_hot.shape)
    return jnp.where(one_hot, weights, 0).sum(-1)


def per_class(key: str, values: Sequence[float], shape: tuple[int, ...]) -> jax.Array:
    """One number for every class as an array that broadcasts with logits of this shape.

    Raises:
      InputError: the numbers are not as many as the classes, or all are 0.
    """
    if len(values) != shape[-1]:
        raise InputError(f'{key}: {len(values)} values for {shape[-1]} classes; give one for each')
    if not any(values):
        raise InputError(f'{key}: all {len(values)} values are 0, so nothing would be learned; '
                         f'give at least one above 0')
    return jnp.asarray(values, jnp.float32).reshape((1,) * (len(shape) - 1) + (-1,))


def soft_dice(probabilities: jax.Array, one_hot: jax.Array, smooth: float) -> jax.Array:
    """`1 - (2 sum_i p_i y_i + s) / (sum_i p_i + sum_i y_i + s)`: (B, N, classes) -> (B, classes).

    Probabilities must be 0 where not valid.
    """
    overlap = jnp.where(one_hot, probabilities, 0).sum(1)
    size = probabilities.sum(1) + one_hot.sum(1, dtype=jnp.float32)
    # Without smoothing and without a valid pixel this divides by 0.
    return 1 - (2 * overlap + smooth) / jnp.maximum(size + smooth, 1e-12)


def _zero_void(logits: jax.Array, valid: jax.Array) -> jax.Array:
    # Before any function of them: an infinite logit under void gives 0 * NaN in the gradient.
    return jnp.where(valid, logits.astype(jnp.float32), 0)
