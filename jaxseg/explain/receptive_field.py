"""The effective receptive field: which pixels influence the prediction at one position."""

import pathlib
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxseg.errors import InputError
from jaxseg.fields import Range, check_value
from jaxseg.files import replacing

MIN_SIDE = 256  # pixels, the shorter side of a heatmap
DECADES = 4  # a pixel 10,000 times weaker than the strongest one is black
Share = Annotated[float, Range(above=0, high=1)]


def effective_receptive_field(logits_of: Callable[[jax.Array], jax.Array], images: jax.Array,
                              position: tuple[int, int] | None = None, *,
                              overlapping: bool = False) -> jax.Array:
    """Root mean square of the gradient of the logits at one position by every pixel.

    After Luo et al. 2016 (arXiv:1701.04128). The mean is over images, channels and classes. Of
    classes that exclude each other the mean over the classes is subtracted from the logits first:
    what changes all logits equally changes no prediction.

    Args:
      logits_of: images (B, H, W, C) -> logits (B, H, W, classes), a trained model with its
        variables bound.
      images: (B, H, W, C) as the model takes them, float32.
      position: (row, column) of the output; None is the centre.
      overlapping: whether a pixel may have several classes, or none.

    Returns:
      (H, W) float32, not negative; 0 where a pixel cannot influence the position.

    Raises:
      InputError: the position is outside of the image.
    """
    row, column = _position(position, images.shape[1:3])

    def at_position(images: jax.Array) -> jax.Array:
        logits = logits_of(images)[:, row, column]
        return logits if overlapping else logits - logits.mean(-1, keepdims=True)

    @jax.jit
    def mean_square(images: jax.Array) -> jax.Array:
        logits, vjp_fn = jax.vjp(at_position, images)

        def mean_square_of_class(one_hot: jax.Array) -> jax.Array:
            gradient, = vjp_fn(jnp.broadcast_to(one_hot[None], logits.shape))
            return jnp.square(gradient).mean((0, 3))

        # One class at a time: all at once would hold as many gradients of the whole network.
        return jax.lax.map(mean_square_of_class, jnp.eye(logits.shape[-1])).mean(0)

    return jnp.sqrt(mean_square(images))


def radius(field: np.ndarray, position: tuple[int, int] | None = None, share: Share = 0.95
           ) -> float:
    """Distance in pixels from the position within which `share` of the field's sum lies.

    Args:
      field: (H, W), what `effective_receptive_field` returns.
      position: (row, column) for which it was computed; None is the centre.
      share: of the sum.

    Raises:
      InputError: a field that is zero everywhere, a position outside of it, a share out of range.
    """
    check_value('share', share, Share)
    field = _field(field)
    row, column = _position(position, field.shape)
    rows, columns = np.indices(field.shape)
    distance = np.hypot(rows - row, columns - column).ravel()
    order = np.argsort(distance)
    cumulative = np.cumsum(field.ravel()[order]) / np.sum(field)
    return float(distance[order[np.searchsorted(cumulative, share - 1e-9)]])


def logarithmic(field: np.ndarray) -> np.ndarray:
    """A field on a logarithmic scale of four decades: 1 at its maximum, 0 where 10,000 times less.

    Raises:
      InputError: a field that is zero everywhere.
    """
    field = _field(field)
    return 1 + np.log10(np.maximum(field / field.max(), 10.0 ** -DECADES)) / DECADES


def save_heatmap(path: pathlib.Path, field: np.ndarray):
    """Writes a field as an image: black, red, yellow, white on a logarithmic scale of four decades.

    Small fields are enlarged by whole pixels.

    Raises:
      InputError: a field that is zero everywhere.
    """
    level = logarithmic(field)
    rgb = np.clip(3 * level[..., None] - np.arange(3)[None, None], 0, 1)
    image = Image.fromarray(np.rint(255 * rgb).astype(np.uint8))
    factor = max(1, -(-MIN_SIDE // min(image.size)))
    size = image.width * factor, image.height * factor
    with replacing(path) as partial:
        image.resize(size, Image.Resampling.NEAREST).save(partial)


def _position(position: tuple[int, int] | None, size: tuple[int, int]) -> tuple[int, int]:
    """The position, or the centre."""
    height, width = size
    row, column = position or (height // 2, width // 2)
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f'position: ({row}, {column}) is outside of the image of {height}x{width};'
                         f' give (0, 0) to ({height - 1}, {width - 1})')
    return row, column


def _field(field: np.ndarray) -> np.ndarray:
    """The field in float64; refused where it is zero everywhere."""
    field = np.asarray(field, np.float64)
    if not field.any():
        raise InputError('field: it is zero everywhere, so no pixel influences the prediction; '
                         'give one of a trained model')
    return field
