"""The fully convolutional decoder."""

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.dropout import Dropout
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.stages import Stages, at_index


class FCN(nn.Module):
    """Convolutions in place of a classifier's fully connected layers.

    Long et al. 2015, arXiv:1411.4038. Stages -> (B, H / stride, W / stride, widths[-1]), from one
    stage. With kernel 3 these are the auxiliary heads of PSPNet and UPerNet.

    Args:
      widths: channels of every convolution.
      kernel: height and width of every convolution.
      stage: index of the stage in order of depth: -1 is the deepest; -2 is layer3 of a ResNet,
        dilated or not.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      dropout: rate after every convolution.

    Raises:
      InputError: the encoder has no such stage; an even kernel, which has no centre.
    """

    widths: tuple[PositiveInt, ...] = (256,)
    kernel: PositiveInt = 1
    stage: int = -1
    norm: NormSpec = 'batch'
    dropout: DropRate = 0.0

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        if self.kernel % 2 == 0:
            raise InputError(f'decoder.kernel: {self.kernel} is even; give an odd size such as 1 '
                             f'or 3')
        x = at_index(stages, self.stage, 'decoder.stage').features
        for index, width in enumerate(self.widths):
            x = Conv(width, self.kernel, name=f'conv{index}')(x)
            x = nn.relu(make_norm(self.norm, f'norm{index}')(x, train=train))
            x = Dropout(self.dropout)(x, train=train)
        return x
