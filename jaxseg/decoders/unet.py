"""The expanding path of U-Net."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Norm
from jaxseg.layers.resize import upsample_nearest


class UNet(nn.Module):
    """Upsampling with skip connections (Ronneberger et al. 2015, arXiv:1505.04597): one step up for every width.

    `{stride: features}` -> features at the coarsest stride / 2 ** len(widths). A step doubles the size (nearest
    neighbour), concatenates the encoder's features of that stride where it has any, and applies two 3x3 convolutions
    with norm and ReLU; with five widths over a ResNet this is the decoder of segmentation_models.pytorch.

    Raises:
      InputError: more widths than steps down to stride 1.
    """

    widths: tuple[int, ...] = (256, 128, 64, 32, 16)
    norm: str = 'batch'

    @nn.compact
    def __call__(self, features: Mapping[int, jax.Array], *, train: bool) -> jax.Array:
        stride = max(features)
        if 2 ** len(self.widths) > stride:
            raise InputError(f'decoder unet.UNet: {len(self.widths)} widths {self.widths} go beyond stride 1 from the '
                             f"encoder's coarsest stride {stride}; give at most {stride.bit_length() - 1}")
        x = features[stride]
        for width in self.widths:
            stride //= 2
            x = upsample_nearest(x, 2)
            if stride in features:
                x = jnp.concatenate([x, features[stride]], -1)
            for index in (0, 1):
                x = Conv(width, name=f'up{stride}_conv{index}')(x)
                x = nn.relu(Norm(self.norm, name=f'up{stride}_norm{index}')(x, train=train))
        return x
