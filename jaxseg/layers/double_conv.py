"""The two convolutions of a step of U-Net."""

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.scse import SCSE


def double_conv(x: jax.Array, width: int, norm: NormSpec, name: str, *, train: bool,
                scse: tuple[bool, bool] = (False, False)) -> jax.Array:
    """Two 3x3 convolutions with norm and ReLU: (B, H, W, C) -> (B, H, W, width).

    Called inside a compact method, whose parameters are `{name}_conv0`, `{name}_norm0` and so on.

    Args:
      scse: whether attention to channels and positions stands before and after them,
        `{name}_attention0` and `{name}_attention1`.
    """
    if scse[0]:
        x = SCSE(name=f'{name}_attention0')(x)
    for index in (0, 1):
        x = Conv(width, name=f'{name}_conv{index}')(x)
        x = nn.relu(make_norm(norm, f'{name}_norm{index}')(x, train=train))
    return SCSE(name=f'{name}_attention1')(x) if scse[1] else x
