"""The decoder of LinkNet."""

import flax.linen as nn
import jax

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.conv import Conv, ConvTranspose
from jaxseg.layers.deep_supervision import supervise
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.stages import Stages, at_stride, deepest


class LinkNet(nn.Module):
    """Transposed convolutions with added skip connections, up to stride 1.

    Chaurasia & Culurciello 2017, arXiv:1707.03718; the decoder of segmentation_models.pytorch.
    Stages -> (B, H, W, features). A step takes a quarter of the channels by a 1x1 convolution,
    doubles the size by a transposed one, and reaches the channels of the deepest stage at its
    stride, which it adds, by a 1x1 convolution; each has norm and ReLU. Where the encoder has no
    such stage the channels stay. The last step has `features` channels and no skip connection.
    `supervised_steps` of those before it, from the last but one on, have a head and a loss of their
    own in training.

    Raises:
      InputError: fewer steps before the last than supervised.
    """

    features: PositiveInt = 32
    norm: NormSpec = 'batch'
    supervised_steps: NonNegativeInt = 0

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        stride, x, steps = deepest(stages).stride, deepest(stages).features, []
        while stride > 1:
            stride //= 2
            skip = at_stride(stages, stride) if stride > 1 else None
            width = (skip.features if skip else x).shape[-1] if stride > 1 else self.features
            quarter = max(1, x.shape[-1] // 4)
            convs = (Conv(quarter, 1, name=f'up{stride}_conv0'),
                     ConvTranspose(quarter, bias=True, name=f'up{stride}_conv1'),
                     Conv(width, 1, name=f'up{stride}_conv2'))
            for index, conv in enumerate(convs):
                x = nn.relu(make_norm(self.norm, f'up{stride}_norm{index}')(conv(x), train=train))
            x = x + skip.features if skip else x
            steps.append(x)
        supervise(self, 'supervised_steps', steps[-2::-1], train=train)
        return x
