"""A 3x3 convolution of an upsampled map, which on CPU never makes that map."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import KERNEL_INIT, convolve
from jaxseg.layers.partition import on_many_devices
from jaxseg.layers.platform import platform
from jaxseg.layers.resize import upsample_nearest

ONE_PIXEL = ((1, 1), (1, 1))


class UpsampleConv(nn.Module):
    """3x3 convolution of `x`, upsampled by 2 (nearest neighbour), concatenated with `skips`.

    x (B, H, W, C), skips (B, 2H, 2W, ...) -> (B, 2H, 2W, features). The parameter is that of
    `jaxseg.layers.conv.Conv` on the concatenation.
    """

    features: PositiveInt

    @nn.compact
    def __call__(self, x: jax.Array, skips: Sequence[jax.Array] = ()) -> jax.Array:
        channels = x.shape[-1] + sum(skip.shape[-1] for skip in skips)
        kernel = self.param('kernel', KERNEL_INIT, (3, 3, channels, self.features))
        if not self._as_phases(x):
            return convolve(upsampled_beside(x, skips), kernel, padding=ONE_PIXEL)
        y = convolve_upsampled(x, kernel[:, :, :x.shape[-1]])
        if skips:
            # Both convolutions are linear: their sum needs no concatenation.
            rest = kernel[:, :, x.shape[-1]:]
            y = y + convolve(jnp.concatenate(skips, -1), rest, padding=ONE_PIXEL)
        return y

    def _as_phases(self, x: jax.Array) -> bool:
        # XLA's fast convolutions on CPU start at 17 channels, of which the phases have 4 times as
        # many; a map that is split over devices would be moved for its halves.
        enough = max(x.shape[-1], 4 * self.features) > 16
        return enough and platform() == 'cpu' and not on_many_devices()


def upsampled_beside(x: jax.Array, skips: Sequence[jax.Array]) -> jax.Array:
    """`x` upsampled by 2 (nearest neighbour), and the channels of `skips`."""
    return jnp.concatenate([upsample_nearest(x, 2), *skips], -1)


def convolve_upsampled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3x3 convolution, padded by 1, of `x` upsampled by 2: (B, H, W, C) -> (B, 2H, 2W, F).

    A window of 3x3 upsampled pixels covers 2x2 pixels of `x`, and how depends on the parity of its
    row and of its column. So this is one 2x2 convolution of `x` to the 4 F channels of the four
    parities, with 4 of 9 multiplications, whose positions are then interleaved: on CPU the forward
    pass of a U-Net takes 0.86 of the time (experiments/benchmarks/levers.csv).

    Args:
      kernel: (3, 3, C, F).
    """
    batch, height, width, _ = x.shape
    features = kernel.shape[-1]
    kernel = _pairs(_pairs(kernel.astype(x.dtype), 0), 1)  # (2, 2, C, 2, 2, F)
    y = convolve(x, kernel.reshape(2, 2, -1, 4 * features), padding=ONE_PIXEL)
    y = y.reshape(batch, height + 1, width + 1, 2, 2, features).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(batch, 2 * (height + 1), 2 * (width + 1), features)
    return y[:, 1:-1, 1:-1]


def _pairs(kernel: jax.Array, axis: int) -> jax.Array:
    """The three taps of an axis as two, for odd and for even positions, on a new axis before F.

    At even positions of the result the last two taps meet the same pixel of `x`, at odd ones the
    first two. The odd ones come first: the window at pixels i - 1 and i of `x` is that of the odd
    position 2 i - 1 and of the even position 2 i.
    """
    first, second, third = jnp.moveaxis(kernel, axis, 0)
    odd = jnp.stack([first + second, third], axis)
    even = jnp.stack([first, second + third], axis)
    return jnp.stack([odd, even], -2)
