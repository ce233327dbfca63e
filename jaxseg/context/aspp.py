"""Atrous spatial pyramid pooling: the same map seen through holes of several sizes, and as a whole."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Norm


class ASPP(nn.Module):
    """DeepLabv3 (Chen et al. 2017, arXiv:1706.05587): (B, H, W, C) -> (B, H, W, features).

    A 1x1 convolution, a 3x3 convolution dilated by each of `rates`, and the mean over all positions through a linear layer,
    given back to every position, are concatenated and projected by a 1x1 convolution; each with norm and ReLU. The rates
    are the paper's for an encoder of stride 16; it doubles them at stride 8. A rate beyond the map leaves the middle tap.

    The mean has a bias in place of the paper's norm, as one vector a picture is too little to take statistics of. Over a
    batch of one batch norm would make it zero in training and, its running variance on the way to 0, huge in evaluation;
    group norm with one channel a group would make it zero always.

    Raises:
      InputError: a rate below 1.
    """

    features: int
    rates: tuple[int, ...] = (6, 12, 18)
    norm: str = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if min(self.rates, default=1) < 1:
            raise InputError(f'context aspp.ASPP: rates {self.rates} must be 1 or more')

        def block(x: jax.Array, name: str, kernel: int = 1, dilation: int = 1) -> jax.Array:
            x = Conv(self.features, kernel, dilation=dilation, name=f'{name}_conv')(x)
            return nn.relu(Norm(self.norm, name=f'{name}_norm')(x, train=train))

        mean = jnp.mean(x.astype(jnp.float32), (1, 2), keepdims=True).astype(x.dtype)
        pooled = nn.relu(Conv(self.features, 1, bias=True, name='pool_conv')(mean))
        branches = [block(x, 'point'), *(block(x, f'rate{rate}', 3, rate) for rate in self.rates),
                    jnp.broadcast_to(pooled, (*x.shape[:3], self.features))]
        return block(jnp.concatenate(branches, -1), 'project')
