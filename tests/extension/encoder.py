"""An encoder: images -> stages in order of depth."""

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.stages import Stage, Stages


class Patches(nn.Module):
    """Patches of `patch` x `patch` pixels, then layers that all stay at that stride.

    A vision transformer has this form: several stages of one stride, of which a decoder may take
    any. Images reach it normalised, with sides that are multiples of `stride`.
    """

    patch: int = 4
    features: int = 8
    depth: int = 2

    @property
    def stride(self) -> int:
        """What the model pads images to a multiple of."""
        return self.patch

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        x = nn.Conv(self.features, (self.patch, self.patch), (self.patch, self.patch))(x)
        stages = []
        for _ in range(self.depth):
            x = x + nn.gelu(Conv(self.features)(x))
            stages.append(Stage(self.patch, x))
        return tuple(stages)
