"""VGG networks."""

from typing import Literal

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.pooling import max_pool
from jaxseg.layers.remat import call_block
from jaxseg.layers.stages import Stage, Stages

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """VGG 11, 13, 16 or 19 (Simonyan & Zisserman 2015, arXiv:1409.1556), named as torchvision's.

    (B, H, W, C) -> six stages: the maps before each of the five poolings at strides 1, 2, 4, 8 and
    16, and the last one pooled at stride 32. H and W must be multiples of 32. torchvision's
    `features.0` is `features_0` here; ReLUs and poolings count, too. `vgg_like.VGGLike` has other
    widths and depths.

    Args:
      depth: number of layers, of which three are the classifier that is left out.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`; None, as in the paper, for
        none.
      remat: computes the convolutions between two poolings again in the backward pass instead of
        keeping what is between them.
    """

    depth: Literal[11, 13, 16, 19] = 16
    norm: NormSpec | None = 'batch'
    remat: bool = False

    stride = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        stages, index = [], 0
        for stage, (width, count) in enumerate(zip(WIDTHS, CONVOLUTIONS[self.depth], strict=True)):
            x = call_block(self._convolutions, x, self.remat, first=index, count=count, width=width,
                           train=train)
            stages.append(Stage(2 ** stage, x))
            x = max_pool(x, 2, 2)
            index += count * self._layers + 1
        return (*stages, Stage(self.stride, x))

    @property
    def _layers(self) -> int:
        """Of a convolution with its norm and ReLU, as torchvision counts."""
        return 2 if self.norm is None else 3

    def _convolutions(self, x: jax.Array, *, first: int, count: int, width: int, train: bool
                      ) -> jax.Array:
        for index in range(first, first + count * self._layers, self._layers):
            x = Conv(width, bias=True, name=f'features_{index}')(x)
            if self.norm is not None:
                x = make_norm(self.norm, f'features_{index + 1}')(x, train=train)
            x = nn.relu(x)
        return x
