"""The two convolutions of a step of U-Net."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.scse import SCSE
from jaxseg.layers.upsample_conv import UpsampleConv, upsampled_beside


def upsample_double_conv(x: jax.Array, skips: Sequence[jax.Array], width: int, norm: NormSpec,
                         name: str, *, train: bool, scse: tuple[bool, bool] = (False, False)
                         ) -> jax.Array:
    """Upsampling by 2, skip connections, and two 3x3 convolutions with norm and ReLU.

    x (B, H, W, C), skips (B, 2H, 2W, ...) -> (B, 2H, 2W, width). Called inside a compact method,
    whose parameters are `{name}_conv0`, `{name}_norm0` and so on.

    Args:
      scse: whether attention to channels and positions stands before and after the convolutions,
        `{name}_attention0` and `{name}_attention1`.
    """
    if scse[0]:
        x = SCSE(name=f'{name}_attention0')(upsampled_beside(x, skips))
        x = Conv(width, name=f'{name}_conv0')(x)
    else:
        x = UpsampleConv(width, name=f'{name}_conv0')(x, skips)
    x = nn.relu(make_norm(norm, f'{name}_norm0')(x, train=train))
    x = Conv(width, name=f'{name}_conv1')(x)
    x = nn.relu(make_norm(norm, f'{name}_norm1')(x, train=train))
    return SCSE(name=f'{name}_attention1')(x) if scse[1] else x
