"""A transform: image and mask together, with random numbers of the sample's own generator."""

import dataclasses

import numpy as np

from jaxseg.data.spec import Fill
from jaxseg.fields import Probability, check_fields


@dataclasses.dataclass(frozen=True)
class Erase:
    """With probability `p` a quarter of the picture becomes the mean color, and void."""

    p: Probability = 0.5

    def __post_init__(self):
        check_fields(self, 'transforms.Erase')

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, rng: np.random.Generator, fill: Fill
                 ) -> tuple[np.ndarray, np.ndarray]:
        if rng.random() >= self.p:
            return image, mask
        image, mask = image.copy(), mask.copy()
        height, width = (side // 2 for side in mask.shape)
        top, left = (int(rng.integers(0, side + 1)) for side in (height, width))
        window = np.s_[top:top + height, left:left + width]
        image[window], mask[window] = np.asarray(fill.image), fill.mask
        return image, mask
