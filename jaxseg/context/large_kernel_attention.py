"""Large kernel attention: a wide depthwise convolution scales every feature."""

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv, convolve
from jaxseg.layers.dense import add_bias
from jaxseg.layers.norm import NormSpec, make_norm


class LargeKernelAttention(nn.Module):
    """The attention of VAN (Guo et al. 2022, arXiv:2202.09741).

    (B, H, W, C) -> (B, H, W, features).
    `x + W_o (a * g)` with `g = gelu(W_i norm(x))`, where `a` is a `kernel` x `kernel` depthwise
    convolution of g, decomposed into three: depthwise of side 2 `dilation` - 1, depthwise of side
    `kernel` / `dilation` (rounded up) and dilated by `dilation`, and 1x1. There is no softmax and
    nothing global: a position depends on those at most `(dilation - 1) + dilation * (side - 1) / 2`
    rows or columns away, 11 by default. Where C is not `features`, a linear layer comes first.

    Raises:
      InputError: an even side of the dilated convolution, which has no centre.
    """

    features: PositiveInt
    kernel: PositiveInt = 21
    dilation: PositiveInt = 3
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        side = -(-self.kernel // self.dilation)
        if side % 2 == 0:
            raise InputError(f'context.kernel: {self.kernel} over dilation {self.dilation} is '
                             f'{side}, rounded up; give an odd quotient, such as 21 over 3')
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, bias=True, name='project')(x)
        y = make_norm(self.norm, 'norm')(x, train=train)
        y = nn.gelu(Conv(self.features, 1, bias=True, name='in')(y))
        a = _Depthwise(2 * self.dilation - 1, name='near')(y)
        a = _Depthwise(side, self.dilation, name='far')(a)
        a = Conv(self.features, 1, bias=True, name='mix')(a)
        return x + Conv(self.features, 1, bias=True, name='out')(a * y)


class _Depthwise(nn.Module):
    """Each channel convolved alone, same shape; the initial kernel keeps the variance."""

    side: int
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = self.side, self.side, 1, x.shape[-1]
        kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
        bias = self.param('bias', nn.initializers.zeros, (x.shape[-1],))
        margin = (self.side // 2 * self.dilation,) * 2
        x = convolve(x, kernel, padding=(margin, margin), dilation=(self.dilation, self.dilation),
                     groups=x.shape[-1])
        return add_bias(x, bias)
