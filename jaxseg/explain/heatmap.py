"""Maps over images: brought to the size of the image, colored and blended."""

import cv2
import numpy as np

LARGEST_SHARE = 0.995  # of the values that a signed map shows unclipped


def at_image_size(values: np.ndarray, covered: tuple[float, float], size: tuple[int, int]
                  ) -> np.ndarray:
    """A map (h, w) at the size of its image, (H, W) float32, bilinear between the cells' centres.

    Args:
      covered: rows and columns of the image that the map covers, which are more than the image has
        where the model padded it.
      size: H and W.
    """
    values = np.asarray(values, np.float64)
    for axis, (length, side) in enumerate(zip(covered, size, strict=True)):
        cells = values.shape[axis]
        place = np.clip((np.arange(side) + 0.5) * cells / length - 0.5, 0, cells - 1)
        low = np.floor(place).astype(int)
        share = np.expand_dims(place - low, 1 - axis)
        high = np.minimum(low + 1, cells - 1)
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values.astype(np.float32)


def blend(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A map over its image, (H, W, 3) uint8: from the dark image to bright colors at the maximum.

    Args:
      image: (H, W, 3) uint8.
      values: (H, W), not negative.
    """
    level = np.clip(values / (values.max() or 1), 0, 1)
    colors = cv2.applyColorMap(np.rint(255 * level).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return _mixed(_grey(image) * 0.6, colors[..., ::-1], 0.25 + 0.6 * level)


def blend_signed(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The same for values of both signs: red speaks for, blue against.

    Args:
      image: (H, W, 3) uint8.
      values: (H, W).
    """
    largest = np.quantile(np.abs(values), LARGEST_SHARE) or np.abs(values).max() or 1
    level = np.clip(values / largest, -1, 1)
    colors = np.where(level[..., None] > 0, np.array([255, 40, 40]), np.array([50, 110, 255]))
    return _mixed(_grey(image) * 0.6, colors, np.abs(level) ** 0.5)


def outlined(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The image with the border of a region (H, W) bool in white on black."""
    result, mask = image.copy(), region.astype(np.uint8)
    around = np.ones((3, 3), np.uint8)
    inner = mask & ~cv2.erode(mask, around, borderValue=0)
    result[(cv2.dilate(mask, around) > 0) & ~region] = 0
    result[inner > 0] = 255
    return result


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image.astype(np.float32).mean(-1, keepdims=True), 3, -1)


def _mixed(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = share[..., None]
    return np.rint(below * (1 - share) + above * share).astype(np.uint8)
