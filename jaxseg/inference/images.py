"""What images an inference method takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxseg.errors import InputError

DTYPES = {'uint8': 'uint8 (0-255)', 'uint16': 'uint16', 'float32': 'float32'}


def check_image(image: Any, channels: int, dtypes: Sequence[str]) -> np.ndarray:
    """The image as an array (H, W, channels) of one of `dtypes`; one channel may come as (H, W).

    Raises:
      InputError: another shape or dtype, no pixels, or values that are not finite.
    """
    image = np.asarray(image)
    if image.ndim == 2 and channels == 1:
        image = image[..., None]
    problem = f'image of shape {image.shape} and {image.dtype}'
    if image.ndim != 3 or image.shape[-1] != channels or not image.size:
        raise InputError(f'{problem}: this model takes (height, width, {channels}); '
                         f'np.dstack makes RGB of three grey images, '
                         f'image[..., :3] drops the transparency of RGBA')
    if image.dtype.name not in dtypes:
        taken = ' or '.join(DTYPES[dtype] for dtype in dtypes)
        remedy = ('convert values of 0-255 with image.astype(np.uint8), '
                  'values of 0-1 with (255 * image).round().astype(np.uint8)'
                  if 'uint8' in dtypes else
                  f'give values of the same range with image.astype(np.{dtypes[0]})')
        raise InputError(f'{problem}: this model takes {taken}, as its training data; {remedy}')
    if image.dtype.kind == 'f' and not np.isfinite(image).all():
        raise InputError(f'{problem}: holds NaN or infinite values; replace them')
    return image
