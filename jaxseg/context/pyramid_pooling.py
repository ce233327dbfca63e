"""Pyramid pooling: means over grids of several sizes, resized to the map."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.resize import adaptive_average_pool, resize_bilinear


class PyramidPooling(nn.Module):
    """PSPNet (Zhao et al. 2017, arXiv:1612.01105): (B, H, W, C) -> (B, H, W, features).

    For every n of `bins`: the means over n x n regions, a 1x1 convolution to C / len(bins) channels
    with norm and ReLU, and bilinear resizing to H x W. All are concatenated with the input, and a
    3x3 convolution with norm and ReLU follows. Bin 1 has a bias in place of the norm, for the
    reason given in `aspp.ASPP`.

    Raises:
      InputError: no bins.
    """

    features: PositiveInt
    bins: tuple[PositiveInt, ...] = (1, 2, 3, 6)
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not self.bins:
            raise InputError('context.bins: empty; give the sides of the grids, such as [1, 2, 3]')
        size, width = x.shape[1:3], max(x.shape[-1] // len(self.bins), 1)
        levels = [x]
        for n in self.bins:
            y = Conv(width, 1, bias=n == 1, name=f'bin{n}_conv')(adaptive_average_pool(x, (n, n)))
            if n > 1:
                y = make_norm(self.norm, f'bin{n}_norm')(y, train=train)
            levels.append(resize_bilinear(nn.relu(y), size, (size[0] / n, size[1] / n)))
        y = Conv(self.features, name='project_conv')(jnp.concatenate(levels, -1))
        return nn.relu(make_norm(self.norm, 'project_norm')(y, train=train))
