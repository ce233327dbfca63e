"""Features of every pixel: its values, its place, and the image around it at several scales."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated

import cv2
import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import Range, check_fields

RADIUS = 3  # of a Gaussian, in standard deviations


@dataclasses.dataclass(frozen=True)
class PixelFeatures:
    """Values, position, and responses of Gaussians: `C + 2 + 4 * C * scales` features of a pixel.

    Of every channel and at every scale, of the smoothed image: the value (a Gaussian mean), the
    length of the gradient, and the larger and the smaller eigenvalue of the Hessian, which are
    large along lines and at blobs (as in Arganda-Carreras et al. 2017, "Trainable Weka
    Segmentation"). Derivatives are central differences, exact for polynomials of degree two. They
    are not normalised by the scale: trees do not depend on it, and k-means standardises. Beyond the
    border the nearest pixel continues.

    Attributes:
      scales: standard deviations of the Gaussians, in pixels.
      position: whether row and column are features, as shares of height and width.
    """

    scales: Sequence[Annotated[float, Range(0.3, 100)]] = (1.0, 2.0, 4.0, 8.0)
    position: bool = True

    def __post_init__(self):
        check_fields(self, 'pixel_features')
        if len(set(self.scales)) < len(self.scales):
            raise InputError(f'pixel_features.scales: {list(self.scales)} has a scale twice; give '
                             f'each once')

    @property
    def reach(self) -> int:
        """Rows above and below a pixel on which its features depend, at most."""
        return max(map(_radius, self.scales), default=-1) + 1

    def __call__(self, image: np.ndarray, rows: slice) -> np.ndarray:
        """The features of some rows, those of the whole image cut out.

        Args:
          image: (H, W, C) float32.
          rows: with start and stop.

        Returns:
          (rows, W, features) float32.
        """
        height, width, channels = image.shape
        first = max(0, rows.start - self.reach)
        part = image[first:rows.stop + self.reach]
        inside = slice(rows.start - first, rows.stop - first)
        planes = [part[inside, :, channel] for channel in range(channels)]
        if self.position:
            row, column = ((np.arange(side, dtype=np.float32) + 0.5) / side
                           for side in (height, width))
            planes += np.broadcast_arrays(row[rows, None], column[None])
        for scale in self.scales:
            for channel in range(channels):
                smooth = _smoothed(np.ascontiguousarray(part[..., channel]), scale)
                planes += [response[inside] for response in (smooth, *derivatives(smooth))]
        return np.stack(planes, -1, dtype=np.float32)


def derivatives(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The length of the gradient, the larger and the smaller eigenvalue of the Hessian.

    Those of the Hessian [[a, b], [b, c]] are (a + c) / 2 +- sqrt(((a - c) / 2)^2 + b^2).

    Args:
      image: (H, W).
    """
    around = np.pad(image, 1, mode='edge')
    up, down, left, right = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2],
                             around[1:-1, 2:])
    gradient = np.hypot((down - up) / 2, (right - left) / 2)
    a, c = down - 2 * image + up, right - 2 * image + left
    b = (around[2:, 2:] - around[2:, :-2] - around[:-2, 2:] + around[:-2, :-2]) / 4
    mean, deviation = (a + c) / 2, np.hypot((a - c) / 2, b)
    return gradient, mean + deviation, mean - deviation


def _radius(scale: float) -> int:
    return math.ceil(RADIUS * scale)


def _smoothed(image: np.ndarray, scale: float) -> np.ndarray:
    side = 2 * _radius(scale) + 1
    return cv2.GaussianBlur(image, (side, side), scale, borderType=cv2.BORDER_REPLICATE)
