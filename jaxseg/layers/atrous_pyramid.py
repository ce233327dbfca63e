"""Atrous spatial pyramid pooling: convolutions of several dilations beside the global mean."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import broadcast
from jaxseg.layers.norm import NormSpec, make_norm


class AtrousPyramid(nn.Module):
    """DeepLabv3 (Chen et al. 2017, arXiv:1706.05587): (B, H, W, C) -> (B, H, W, features).

    A 1x1 convolution, a 3x3 convolution dilated by each of `rates`, and the mean over all positions
    through a 1x1 convolution are concatenated and projected by a 1x1 convolution; each has norm and
    ReLU. Of a rate beyond the map only the middle tap remains. A subclass says whether the mean has
    a bias in place of the norm.

    Args:
      features: channels of every branch and of the result.
      rates: the dilations.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      separable: the dilated convolutions are depthwise and followed by a 1x1 convolution (Chen et
        al. 2018, arXiv:1802.02611).
    """

    features: PositiveInt
    rates: tuple[PositiveInt, ...] = (6, 12, 18)
    norm: NormSpec = 'batch'
    separable: bool = False

    norm_of_mean = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        def activate(x: jax.Array, name: str) -> jax.Array:
            return nn.relu(make_norm(self.norm, f'{name}_norm')(x, train=train))

        def point(x: jax.Array, name: str) -> jax.Array:
            return activate(Conv(self.features, 1, name=f'{name}_conv')(x), name)

        def dilated(x: jax.Array, name: str, rate: int) -> jax.Array:
            if self.separable:
                return activate(separable_conv(x, self.features, f'{name}_conv', rate), name)
            return activate(Conv(self.features, dilation=rate, name=f'{name}_conv')(x), name)

        mean = jnp.mean(x.astype(jnp.float32), (1, 2), keepdims=True).astype(x.dtype)
        pooled = (point(mean, 'pool') if self.norm_of_mean
                  else nn.relu(Conv(self.features, 1, bias=True, name='pool_conv')(mean)))
        branches = [point(x, 'point'),
                    *(dilated(x, f'dilated{index}', rate) for index, rate in enumerate(self.rates)),
                    broadcast(pooled, (*x.shape[:3], self.features))]
        return point(jnp.concatenate(branches, -1), 'project')


def separable_conv(x: jax.Array, features: int, name: str, dilation: int = 1) -> jax.Array:
    """A 3x3 convolution of every channel, `{name}_depthwise`, and a 1x1 convolution, `{name}`.

    Called inside a compact method: (B, H, W, C) -> (B, H, W, features).
    """
    channels = x.shape[-1]
    x = Conv(channels, dilation=dilation, groups=channels, name=f'{name}_depthwise')(x)
    return Conv(features, 1, name=name)(x)
