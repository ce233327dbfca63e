"""The decoder of the pyramid attention network."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.dense import broadcast, multiply
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.resize import resize_bilinear
from jaxseg.layers.stages import Stages, deepest

# Kernels at a half, a quarter and an eighth of the size.
KERNELS = (7, 5, 3)
FINEST = 4


class PAN(nn.Module):
    """Pyramid attention at the last stage, and the stages before it weighted by what follows.

    Li et al. 2018, arXiv:1805.10180, as segmentation_models.pytorch has it. Stages -> (B, H', W',
    features), of the size of the first stage of stride 4 or more. The last stage, through a 1x1
    convolution, is multiplied by a map that convolutions to one channel compute at a half, a
    quarter and an eighth of its size, and its mean is added. Then, from deep to fine, every stage
    before, through a 3x3 convolution and weighted by channel by the mean of the features so far, is
    added to these, resized. All convolutions have a bias and norm, and ReLU but for the weights.

    Args:
      features: channels of every step and of the result.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`. Batch norm of means over the
        map needs batches of two images or more; group norm cannot be, of maps of one channel.

    Raises:
      InputError: group norm.
    """

    features: PositiveInt = 32
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        def block(x: jax.Array, name: str, features: int = self.features, kernel: int = 1
                  ) -> jax.Array:
            x = Conv(features, kernel, bias=True, name=f'{name}_conv')(x)
            return make_norm(self.norm, f'{name}_norm')(x, train=train)

        last = deepest(stages).features
        x = multiply(nn.relu(block(last, 'middle')), _pyramid(last, block))
        x = x + broadcast(nn.relu(block(_mean(last), 'mean')), x.shape)
        earlier = [stage for stage in stages[:-1] if stage.stride >= FINEST]
        for index, stage in reversed(tuple(enumerate(earlier))):
            weights = nn.sigmoid(block(_mean(x), f'stage{index}_weights'))
            skip = nn.relu(block(stage.features, f'stage{index}', kernel=3))
            x = _resized(x, skip) + multiply(skip, weights)
        return x


def _pyramid(x: jax.Array, block) -> jax.Array:
    """The attention map (B, H, W, 1)."""
    sizes, levels = [x], []
    for index, kernel in enumerate(KERNELS):
        sizes.append(nn.relu(block(_halved(sizes[-1]), f'down{index}', 1, kernel)))
        levels.append(nn.relu(block(sizes[-1], f'level{index}', 1, kernel)))
    y = levels[-1]
    for level in reversed(levels[:-1]):
        y = level + _resized(y, level)
    return _resized(y, x)


def _halved(x: jax.Array) -> jax.Array:
    """The largest of 2x2 values; an odd last row or column is left out, a single one is kept."""
    window = tuple(min(2, side) for side in x.shape[1:3])
    return nn.max_pool(x, window, strides=window)


def _mean(x: jax.Array) -> jax.Array:
    return jnp.mean(x.astype(jnp.float32), (1, 2), keepdims=True).astype(x.dtype)


def _resized(x: jax.Array, like: jax.Array) -> jax.Array:
    size = like.shape[1:3]
    scale = tuple(zip(size, x.shape[1:3], strict=True))
    return resize_bilinear(x, size, scale, align_corners=True)
