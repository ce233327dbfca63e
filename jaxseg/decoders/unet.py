"""The expanding path of U-Net."""

from typing import Literal

import flax.linen as nn
import jax

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.deep_supervision import supervise
from jaxseg.layers.double_conv import upsample_double_conv
from jaxseg.layers.norm import NormSpec
from jaxseg.layers.stages import Stages, at_stride, deepest, first_stride


class UNet(nn.Module):
    """Upsampling with skip connections, one step for every width.

    Ronneberger et al. 2015, arXiv:1505.04597. Stages -> features at the deepest stage's stride /
    2 ** len(widths). A step doubles the size (nearest neighbour), concatenates the deepest stage of
    that stride where the encoder has one, and applies two 3x3 convolutions with norm and ReLU; with
    five widths over a ResNet this is the decoder of segmentation_models.pytorch.

    Args:
      widths: channels of every step.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      attention: 'scse' weights channels and positions before and after the convolutions of a step
        (`jaxseg.layers.scse`).
      supervised_steps: how many steps before the last have a head and a loss of their own in
        training (deep supervision, as in nnU-Net, Isensee et al. 2021), from the last but one on.

    Raises:
      InputError: more widths than steps to stride 1; fewer steps before the last than supervised.
    """

    widths: tuple[PositiveInt, ...] = (256, 128, 64, 32, 16)
    norm: NormSpec = 'batch'
    attention: Literal['none', 'scse'] = 'none'
    supervised_steps: NonNegativeInt = 0

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        stride = first_stride(stages, self.widths, 'decoder.widths')
        x, scse, steps = deepest(stages).features, self.attention == 'scse', []
        for width in self.widths:
            stride //= 2
            skip = at_stride(stages, stride)
            skips = () if skip is None else (skip.features,)
            # segmentation_models.pytorch has skip connections, of 0 channels where the encoder has
            # no such stage, down to stride 2, and attention after every one of them.
            x = upsample_double_conv(x, skips, width, self.norm, f'up{stride}', train=train,
                                     scse=(scse and (bool(skips) or stride > 1), scse))
            steps.append(x)
        supervise(self, 'supervised_steps', steps[-2::-1], train=train)
        return x
