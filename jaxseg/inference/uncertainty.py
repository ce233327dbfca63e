"""How sure a model is of every pixel, with mask and probabilities from one pass."""

from typing import Any, NamedTuple

import numpy as np


class Found(NamedTuple):
    """What is found in an image.

    Attributes:
      mask: as the task decides.
      probabilities: (H, W, channels) float32.
      uncertainty: (H, W) float32, 0 where the model is sure.
    """

    mask: np.ndarray
    probabilities: np.ndarray | None = None
    uncertainty: np.ndarray | None = None


def uncertainty(inference: Any, variables: Any, image: np.ndarray, *, overlapping: bool
                ) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and uncertainty of an image, from one pass.

    The uncertainty is the variance over augmented copies of the image, summed over the channels,
    if the method has such copies, or else the entropy.
    """
    if has_variance(inference):
        return inference.moments(variables, image)
    probabilities = inference.probabilities(variables, image)
    return probabilities, entropy(probabilities, overlapping=overlapping)


def has_variance(inference: Any) -> bool:
    """Whether a method goes through several copies of an image, whose results vary."""
    return hasattr(inference, 'moments')


def entropy(probabilities: np.ndarray, *, overlapping: bool) -> np.ndarray:
    """The entropy of every pixel, as a share of the largest possible one.

    `-sum_c p_c log p_c / log C` of C exclusive classes; of overlapping ones the mean over the
    classes of `-(p log p + (1 - p) log(1 - p)) / log 2`.

    Args:
      probabilities: (H, W, C).
      overlapping: whether a pixel may have several classes, or none.

    Returns:
      (H, W) float32 between 0 and 1.
    """
    channels = probabilities.shape[-1]
    largest = channels * np.log(2) if overlapping else np.log(max(channels, 2))
    total = np.zeros(probabilities.shape[:2], np.float32)
    for index in range(channels):  # one after the other: an image may be large, the classes many
        p = probabilities[..., index]
        total += _information(p)
        if overlapping:
            total += _information(1 - p)
    return np.clip(total / np.float32(largest), 0, 1)


def _information(p: np.ndarray) -> np.ndarray:
    """`-p log p`, which is 0 at 0."""
    return -p * np.log(np.where(p > 0, p, 1))
