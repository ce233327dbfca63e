"""The decoders of DeepLabv3 and DeepLabv3+."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.atrous_pyramid import AtrousPyramid, separable_conv
from jaxseg.layers.conv import Conv
from jaxseg.layers.dropout import Dropout
from jaxseg.layers.norm import NormSpec, norm_layer
from jaxseg.layers.resize import upsample_bilinear
from jaxseg.layers.stages import Stages, deepest, required


class DeepLabV3(nn.Module):
    """Atrous spatial pyramid pooling of the last stage and a 3x3 convolution.

    Chen et al. 2017, arXiv:1706.05587; the decoder of segmentation_models.pytorch. Stages -> (B,
    H / stride, W / stride, features), of the last stage, that of a dilated encoder in the paper.

    Args:
      features: channels of the pyramid and of the result.
      rates: dilations; the paper's are 6, 12 and 18 at stride 16 and twice as many at stride 8.
      separable: whether the dilated convolutions are depthwise separable.
      dropout: rate after the pyramid.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`. Batch norm of the mean over
        the map needs batches of two images or more.
    """

    features: PositiveInt = 256
    rates: tuple[PositiveInt, ...] = (12, 24, 36)
    separable: bool = False
    dropout: DropRate = 0.5
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        x = AtrousPyramid(self.features, self.rates, self.norm, self.separable,
                          name='aspp')(deepest(stages).features, train=train)
        x = Conv(self.features, name='conv')(Dropout(self.dropout)(x, train=train))
        return nn.relu(norm_layer(self.norm, train, 'norm')(x))


class DeepLabV3Plus(nn.Module):
    """Atrous spatial pyramid pooling, upsampled to stride 4 and merged with the stage there.

    Chen et al. 2018, arXiv:1802.02611; the decoder of segmentation_models.pytorch. Stages -> (B,
    H / 4, W / 4, features). 3x3 convolutions are depthwise separable; each has norm and ReLU.

    Args:
      features: channels of the pyramid and of the result.
      skip_features: channels to which a 1x1 convolution brings the stage of stride 4.
      rates, separable, dropout, norm: as in `DeepLabV3`.

    Raises:
      InputError: the encoder has no stage of stride 4.
    """

    features: PositiveInt = 256
    skip_features: PositiveInt = 48
    rates: tuple[PositiveInt, ...] = (12, 24, 36)
    separable: bool = True
    dropout: DropRate = 0.5
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        def activate(x: jax.Array, name: str) -> jax.Array:
            return nn.relu(norm_layer(self.norm, train, name)(x))

        skip, last = required(stages, 4, 'decoder'), deepest(stages)
        x = AtrousPyramid(self.features, self.rates, self.norm, self.separable,
                          name='aspp')(last.features, train=train)
        x = separable_conv(Dropout(self.dropout)(x, train=train), self.features, 'conv')
        x = upsample_bilinear(activate(x, 'norm'), last.stride // 4, align_corners=True)
        skip = activate(Conv(self.skip_features, 1, name='skip_conv')(skip.features), 'skip_norm')
        x = separable_conv(jnp.concatenate([x, skip], -1), self.features, 'merge_conv')
        return activate(x, 'merge_norm')
