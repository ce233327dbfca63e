"""A data set: a description, and random access to the samples of every split."""

import dataclasses

import numpy as np

from jaxseg.data.spec import DatasetSpec


@dataclasses.dataclass(frozen=True)
class Gradients:
    """Grey ramps; the class of a pixel is its third of the ramp, and the first column is void.

    Args:
      samples: number of samples of every split.
      size: (height, width).
    """

    samples: int = 8
    size: tuple[int, int] = (16, 16)

    @property
    def spec(self) -> DatasetSpec:
        """Names, colors, void label, normalisation."""
        return DatasetSpec('gradients', ('low', 'middle', 'high'), ignore_index=9,
                           mean=(0.5,) * 3, std=(0.3,) * 3)

    def source(self, split: str) -> 'GradientSource':
        """The samples of a split."""
        return GradientSource(self, split)


@dataclasses.dataclass(frozen=True)
class GradientSource:
    """Sample i of a split; anything with a length and an index will do."""

    data: Gradients
    split: str

    def __len__(self) -> int:
        return self.data.samples

    def __getitem__(self, index: int) -> dict:
        height, width = self.data.size
        rng = np.random.default_rng([index, len(self.split)])
        ramp = np.clip(np.linspace(0, 1, width) + rng.uniform(-0.3, 0.3), 0, 0.999)
        ramp = np.broadcast_to(ramp, (height, width))
        image = np.repeat((255 * ramp)[..., None], 3, -1).astype(np.uint8)
        mask = (3 * ramp).astype(np.uint8)
        mask[:, 0] = self.data.spec.ignore_index
        return {'image': image, 'mask': mask, 'name': f'{self.split}{index}'}
