"""A trained model as a function of one image."""

import dataclasses
from typing import Any

import numpy as np

from jaxseg.inference.images import check_image
from jaxseg.inference.uncertainty import uncertainty


@dataclasses.dataclass(frozen=True, eq=False)  # variables cannot be hashed
class Predictor:
    """Callable `image -> mask` for images (H, W, C) of any size, in a dtype of the training data.

    Args:
      inference: an inference method, with `predictions` and `probabilities`.
      variables: of the model.
      channels, dtypes: of the images.
      classes: their names in the order of the indices in masks.
      overlapping: whether a pixel may have several classes, or none.

    Raises:
      InputError: an image of another dtype or number of channels.
    """

    inference: Any = dataclasses.field(repr=False)
    variables: Any = dataclasses.field(repr=False)
    channels: int
    dtypes: tuple[str, ...]
    classes: tuple[str, ...]
    overlapping: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The mask of an image.

        Returns:
          Class indices (H, W), uint8 or, above 256 classes, uint16; of multilabel models 0 or 1,
          (H, W, classes).
        """
        image = check_image(image, self.channels, self.dtypes)
        (_, mask), = self.inference.predictions(self.variables, [(None, image)])
        return mask

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities (H, W, classes), float32."""
        image = check_image(image, self.channels, self.dtypes)
        return self.inference.probabilities(self.variables, image)

    def uncertainty(self, image: np.ndarray) -> np.ndarray:
        """Uncertainty (H, W), float32: the variance over augmented copies, or else the entropy.

        The variance is that of `augmented.TestTimeAugmentation`, summed over the classes; the
        entropy is a share of the largest possible one. Both are 0 where the model is sure.
        """
        image = check_image(image, self.channels, self.dtypes)
        return uncertainty(self.inference, self.variables, image, overlapping=self.overlapping)[1]
