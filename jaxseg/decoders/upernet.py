"""The decoder of UPerNet."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.pooling_pyramid import pooled_levels
from jaxseg.layers.resize import upsample_bilinear
from jaxseg.layers.stages import Stages, pyramid

FINEST = 4


class UPerNet(nn.Module):
    """Pyramid pooling of the deepest stage, then a feature pyramid (Xiao et al. 2018).

    arXiv:1807.10221, as in transformers and segmentation_models.pytorch. Stages of strides 4, 8,
    ... -> (B, H / 4, W / 4, features). The means over n x n regions for every n of `bins`, with
    `features` channels each, are concatenated with the deepest stage, and a 3x3 convolution makes
    the deepest level of it. Every other level is a 1x1 convolution of its stage plus the level
    below, upsampled; then a 3x3 convolution. All levels are upsampled to stride 4 and concatenated,
    and a 3x3 convolution follows. Every convolution has norm and ReLU. Upsampling is bilinear.

    With batch norm, training needs two images or more, because the mean over 1 x 1 regions has a
    single value an image.

    Args:
      features: channels of all levels and of the result.
      bins: the sides of the grids.
      norm_stages: with a layer norm of every stage first, as in segmentation_models.pytorch.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.

    Raises:
      InputError: the encoder has no stage at stride 4 or at one between that and its last; no bins.
    """

    features: PositiveInt = 512
    bins: tuple[PositiveInt, ...] = (1, 2, 3, 6)
    norm_stages: bool = False
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        if not self.bins:
            raise InputError('decoder.bins: empty; give the sides of the grids, such as [1, 2, 3]')
        stages = pyramid(stages, FINEST, 'decoder')
        if self.norm_stages:
            stages = tuple(stage.replace(features=nn.LayerNorm(
                dtype=stage.features.dtype, name=f'stage{stage.stride}_norm')(stage.features))
                for stage in stages)
        *finer, last = stages
        level = self._pooled(last.features, train)
        levels = [upsample_bilinear(level, last.stride // FINEST)]
        for stage in reversed(finer):
            level = upsample_bilinear(level, 2) + self._conv(
                stage.features, f'lateral{stage.stride}', train, kernel=1)
            levels.append(upsample_bilinear(self._conv(level, f'level{stage.stride}', train),
                                            stage.stride // FINEST))
        return self._conv(jnp.concatenate(levels[::-1], -1), 'fuse', train)

    def _pooled(self, x: jax.Array, train: bool) -> jax.Array:
        levels = pooled_levels(x, self.bins, self.norm, train=train, features=self.features,
                               norm_means=True)
        return self._conv(jnp.concatenate([x, *levels], -1), 'pool', train)

    def _conv(self, x: jax.Array, name: str, train: bool, kernel: int = 3) -> jax.Array:
        x = Conv(self.features, kernel, name=f'{name}_conv')(x)
        return nn.relu(make_norm(self.norm, f'{name}_norm')(x, train=train))
