"""Large kernel attention: a wide depthwise convolution says how much of every feature passes."""

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv, convolve
from jaxseg.layers.norm import Norm


class LargeKernelAttention(nn.Module):
    """The attention of VAN (Guo et al. 2022, arXiv:2202.09741): (B, H, W, C) -> (B, H, W, features).

    `x + W_o (a * g)` with `g = gelu(W_i norm(x))` and `a` what a `kernel` x `kernel` depthwise convolution makes of g, taken
    apart into three: depthwise of side 2 `dilation` - 1, depthwise of side `kernel` / `dilation` (rounded up) between pixels
    `dilation` apart, and 1x1. No softmax and nothing global: a position sees those at most
    `(dilation - 1) + dilation * (side - 1) / 2` rows or columns away, 11 by default. Where C is not `features`, a linear
    layer comes first.

    Raises:
      InputError: kernel or dilation below 1, or an even side of the dilated convolution, which has no middle.
    """

    features: int
    kernel: int = 21
    dilation: int = 3
    norm: str = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if min(self.kernel, self.dilation) < 1 or -(-self.kernel // self.dilation) % 2 == 0:
            raise InputError(f'context large_kernel_attention.LargeKernelAttention: kernel {self.kernel} '
                             f'over dilation {self.dilation}; both are at '
                             'least 1, and the quotient, rounded up, is odd, as in 21 over 3')
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, bias=True, name='project')(x)
        y = Conv(self.features, 1, bias=True, name='in')(Norm(self.norm, name='norm')(x, train=train))
        y = nn.gelu(y)
        a = _Depthwise(2 * self.dilation - 1, name='near')(y)
        a = _Depthwise(-(-self.kernel // self.dilation), self.dilation, name='far')(a)
        a = Conv(self.features, 1, bias=True, name='mix')(a)
        return x + Conv(self.features, 1, bias=True, name='out')(a * y)


class _Depthwise(nn.Module):
    """Every channel convolved by itself, same shape. Its outputs are as large as its inputs at first: no norm follows."""

    side: int
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param('kernel', nn.initializers.lecun_normal(), (self.side, self.side, 1, x.shape[-1]))
        bias = self.param('bias', nn.initializers.zeros, (x.shape[-1],))
        margin = (self.side // 2 * self.dilation,) * 2
        x = convolve(x, kernel, padding=(margin, margin), dilation=(self.dilation, self.dilation), groups=x.shape[-1])
        return x + bias.astype(x.dtype)[None, None, None]
