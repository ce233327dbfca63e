"""The fully convolutional decoder."""

from collections.abc import Mapping

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Norm


class FCN(nn.Module):
    """1x1 convolutions in place of a classifier's fully connected layers (Long et al. 2015, arXiv:1411.4038).

    `{stride: features}` -> (B, H/stride, W/stride, widths[-1]) from the coarsest features, or from those at `stride`.

    Raises:
      InputError: the encoder has no features at `stride`.
    """

    widths: tuple[int, ...] = (256,)
    stride: int | None = None
    norm: str = 'batch'
    dropout: float = 0.0

    @nn.compact
    def __call__(self, features: Mapping[int, jax.Array], *, train: bool) -> jax.Array:
        stride = self.stride or max(features)
        if stride not in features:
            raise InputError(f'decoder fcn.FCN: stride {stride} is not among the strides of the encoder, '
                             f'{", ".join(map(str, features))}')
        x = features[stride]
        for index, width in enumerate(self.widths):
            x = nn.relu(Norm(self.norm, name=f'norm{index}')(Conv(width, 1, name=f'conv{index}')(x), train=train))
            if self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x
