"""The decoder of PSPNet."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.dropout import Dropout
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.pooling_pyramid import pooled_levels
from jaxseg.layers.stages import Stages, required


class PSPNet(nn.Module):
    """Pyramid pooling of one stage (Zhao et al. 2017, arXiv:1612.01105).

    Stages -> (B, H / stride, W / stride, features). The means over n x n regions for every n of
    `bins`, as `jaxseg.layers.pooling_pyramid` says, are concatenated with the stage, and a 1x1
    convolution with norm and ReLU follows: the decoder of segmentation_models.pytorch.

    Args:
      features: channels of the result.
      bins: the sides of the grids.
      stride: of the stage, the deepest there. Of a ResNet with `output_stride` 8 this is the last
        one, as in the paper; of one without it is layer2, as in segmentation_models.pytorch.
      dropout: rate of whole channels of the result.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.

    Raises:
      InputError: the encoder has no stage of this stride; no bins.
    """

    features: PositiveInt = 512
    bins: tuple[PositiveInt, ...] = (1, 2, 3, 6)
    stride: PositiveInt = 8
    dropout: DropRate = 0.2
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        if not self.bins:
            raise InputError('decoder.bins: empty; give the sides of the grids, such as [1, 2, 3]')
        x = required(stages, self.stride, 'decoder.stride').features
        levels = pooled_levels(x, self.bins, self.norm, train=train, align_corners=True)
        x = Conv(self.features, 1, name='project_conv')(jnp.concatenate([*levels, x], -1))
        x = nn.relu(make_norm(self.norm, 'project_norm')(x, train=train))
        return Dropout(self.dropout, broadcast_dims=(1, 2))(x, train=train)
