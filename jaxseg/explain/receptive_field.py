"""The effective receptive field: which pixels really move the prediction at one position."""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxseg.errors import InputError

SMALLEST = 256  # pixels, the shorter side of a heatmap
DECADES = 4  # what is 10,000 times weaker than the strongest pixel is black


def effective_receptive_field(logits_of: Callable[[jax.Array], jax.Array], images: jax.Array,
                              position: tuple[int, int] | None = None) -> jax.Array:
    """Root mean square of the gradient of the logits at one position by every pixel (Luo et al. 2016, arXiv:1701.04128).

    The mean is over pictures, channels and classes. Of every class's logit the mean over the classes is taken off first:
    what moves all logits alike moves no prediction.

    Args:
      logits_of: images (B, H, W, C) -> logits (B, H, W, classes), a trained model with its variables bound.
      images: pictures as the model takes them, float32.
      position: (row, column) of the output; the middle if not given.

    Returns:
      (H, W) float32, not negative; 0 where a pixel cannot reach the position.

    Raises:
      InputError: the position is outside of the picture.
    """
    height, width = images.shape[1:3]
    row, column = position or (height // 2, width // 2)
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f'position: ({row}, {column}) is outside of the picture of {height}x{width}; give '
                         f'(0, 0) to ({height - 1}, {width - 1})')

    def at_position(images: jax.Array) -> jax.Array:
        logits = logits_of(images)[:, row, column]
        return logits - logits.mean(-1, keepdims=True)

    @jax.jit
    def mean_square(images: jax.Array) -> jax.Array:
        logits, pull = jax.vjp(at_position, images)

        def of_class(hot: jax.Array) -> jax.Array:
            gradient, = pull(jnp.broadcast_to(hot[None], logits.shape))
            return jnp.square(gradient).mean((0, 3))

        # Class after class: all at once would hold as many gradients of the whole network.
        return jax.lax.map(of_class, jnp.eye(logits.shape[-1])).mean(0)

    return jnp.sqrt(mean_square(images))


def radius(field: np.ndarray, position: tuple[int, int] | None = None, share: float = 0.95) -> float:
    """Pixels from the position within which `share` of the field's sum lies: how far the model looks.

    Raises:
      InputError: a field that is zero everywhere.
    """
    field = np.asarray(field, np.float64)
    row, column = position or (field.shape[0] // 2, field.shape[1] // 2)
    if not field.any():
        raise InputError('the field is zero everywhere: no pixel moves the prediction; is the model trained?')
    rows, columns = np.indices(field.shape)
    distance = np.hypot(rows - row, columns - column).ravel()
    order = np.argsort(distance)
    held = np.cumsum(field.ravel()[order]) / np.sum(field)
    return float(distance[order[np.searchsorted(held, share - 1e-9)]])


def save_heatmap(path: pathlib.Path, field: np.ndarray):
    """Writes a field as a picture: black, red, yellow, white over four decades; small ones enlarged by whole pixels.

    Raises:
      InputError: a field that is zero everywhere.
    """
    field = np.asarray(field, np.float64)
    if not field.any():
        raise InputError(f'{path}: the field is zero everywhere: no pixel moves the prediction; is the model trained?')
    level = 1 + np.log10(np.maximum(field / field.max(), 10.0 ** -DECADES)) / DECADES
    rgb = np.clip(3 * level[..., None] - np.arange(3)[None, None], 0, 1)
    picture = Image.fromarray(np.rint(255 * rgb).astype(np.uint8))
    factor = max(1, -(-SMALLEST // min(picture.size)))
    picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST).save(path)
