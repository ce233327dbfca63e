"""The fully convolutional decoder."""

import flax.linen as nn
import jax

from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.dropout import Dropout
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.stages import Stages, at_index


class FCN(nn.Module):
    """1x1 convolutions in place of a classifier's fully connected layers.

    Long et al. 2015, arXiv:1411.4038. Stages -> (B, H / stride, W / stride, widths[-1]), from one
    stage.

    Args:
      widths: channels of every convolution.
      stage: index of the stage in order of depth: -1 is the deepest; -2 is layer3 of a ResNet,
        dilated or not.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      dropout: rate after every convolution.

    Raises:
      InputError: the encoder has no such stage.
    """

    widths: tuple[PositiveInt, ...] = (256,)
    stage: int = -1
    norm: NormSpec = 'batch'
    dropout: DropRate = 0.0

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        x = at_index(stages, self.stage, 'decoder.stage').features
        for index, width in enumerate(self.widths):
            x = Conv(width, 1, name=f'conv{index}')(x)
            x = nn.relu(make_norm(self.norm, f'norm{index}')(x, train=train))
            x = Dropout(self.dropout)(x, train=train)
        return x
