"""Pyramid pooling: means over a few grids of regions, given back to the positions."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Norm
from jaxseg.layers.resize import adaptive_average_pool, resize_bilinear


class PyramidPooling(nn.Module):
    """PSPNet (Zhao et al. 2017, arXiv:1612.01105): (B, H, W, C) -> (B, H, W, features).

    For every n of `bins`: the means over n x n regions, a 1x1 convolution to C / len(bins) channels with norm and ReLU, and
    back to H x W, bilinear between the centres of the regions. All are concatenated with the input, and a 3x3 convolution
    with norm and ReLU follows. Bin 1 has a bias in place of the norm, for the reason that `aspp.ASPP` gives.

    Raises:
      InputError: no bins, or one below 1.
    """

    features: int
    bins: tuple[int, ...] = (1, 2, 3, 6)
    norm: str = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if min(self.bins, default=0) < 1:
            raise InputError(f'context pyramid_pooling.PyramidPooling: bins {self.bins}; give one or more, each at least 1')
        size, width = x.shape[1:3], max(x.shape[-1] // len(self.bins), 1)
        levels = [x]
        for n in self.bins:
            y = Conv(width, 1, bias=n == 1, name=f'bin{n}_conv')(adaptive_average_pool(x, (n, n)))
            if n > 1:
                y = Norm(self.norm, name=f'bin{n}_norm')(y, train=train)
            levels.append(resize_bilinear(nn.relu(y), size, (size[0] / n, size[1] / n)))
        y = Conv(self.features, name='project_conv')(jnp.concatenate(levels, -1))
        return nn.relu(Norm(self.norm, name='project_norm')(y, train=train))
