"""Atrous spatial pyramid pooling: convolutions of several dilations beside the global mean."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm


class ASPP(nn.Module):
    """DeepLabv3 (Chen et al. 2017, arXiv:1706.05587): (B, H, W, C) -> (B, H, W, features).

    A 1x1 convolution, a 3x3 convolution dilated by each of `rates`, and the mean over all positions
    through a linear layer are concatenated and projected by a 1x1 convolution; each has norm and
    ReLU. The rates are the paper's for an encoder of stride 16; it doubles them at stride 8. Of a
    rate beyond the map only the middle tap remains.

    The mean has a bias in place of the paper's norm: one vector an image is too little to take
    statistics of. Batch norm over a batch of one would make it zero in training and, as its running
    variance goes to 0, huge in evaluation.
    """

    features: PositiveInt
    rates: tuple[PositiveInt, ...] = (6, 12, 18)
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        def block(x: jax.Array, name: str, kernel: int = 1, dilation: int = 1) -> jax.Array:
            x = Conv(self.features, kernel, dilation=dilation, name=f'{name}_conv')(x)
            return nn.relu(make_norm(self.norm, f'{name}_norm')(x, train=train))

        mean = jnp.mean(x.astype(jnp.float32), (1, 2), keepdims=True).astype(x.dtype)
        pooled = nn.relu(Conv(self.features, 1, bias=True, name='pool_conv')(mean))
        branches = [block(x, 'point'),
                    *(block(x, f'rate{rate}', 3, rate) for rate in self.rates),
                    jnp.broadcast_to(pooled, (*x.shape[:3], self.features))]
        return block(jnp.concatenate(branches, -1), 'project')
