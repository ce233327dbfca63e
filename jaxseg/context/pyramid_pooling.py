"""Pyramid pooling: means over grids of several sizes, resized to the map."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.pooling_pyramid import pooled_levels


class PyramidPooling(nn.Module):
    """PSPNet (Zhao et al. 2017, arXiv:1612.01105): (B, H, W, C) -> (B, H, W, features).

    The means over n x n regions for every n of `bins`, as `jaxseg.layers.pooling_pyramid` says, are
    concatenated with the input, and a 3x3 convolution with norm and ReLU follows.

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
        levels = pooled_levels(x, self.bins, self.norm, train=train)
        y = Conv(self.features, name='project_conv')(jnp.concatenate([x, *levels], -1))
        return nn.relu(make_norm(self.norm, 'project_norm')(y, train=train))
