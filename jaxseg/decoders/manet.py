"""The decoder of MA-Net."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.deep_supervision import supervise
from jaxseg.layers.dense import multiply
from jaxseg.layers.double_conv import upsample_double_conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.squeeze_excite import ChannelGate
from jaxseg.layers.stages import Stages, at_stride, deepest, first_stride

REDUCTION = 16


class MAnet(nn.Module):
    """Position-wise attention at the last stage, channel-wise attention to skip connections.

    Fan et al. 2020, MA-Net (doi:10.1109/ACCESS.2020.3025372), as segmentation_models.pytorch has
    it. Stages -> features at the deepest stage's stride / 2 ** len(widths). A step with a skip
    connection brings the features to its channels by a 3x3 and a 1x1 convolution, doubles the size
    (nearest neighbour), multiplies them by the sum of a gate of their own and one of the skip
    connection, and concatenates this. Then, as in any other step, two 3x3 convolutions follow. All
    convolutions outside of attention have norm and ReLU.

    Args:
      widths: channels of every step.
      attention_features: channels of the queries and keys of the attention at the last stage.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      supervised_steps: how many steps before the last have a head and a loss of their own in
        training, from the last but one on.

    Raises:
      InputError: more widths than steps to stride 1; fewer steps before the last than supervised.
    """

    widths: tuple[PositiveInt, ...] = (256, 128, 64, 32, 16)
    attention_features: PositiveInt = 64
    norm: NormSpec = 'batch'
    supervised_steps: NonNegativeInt = 0

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        def block(x: jax.Array, width: int, kernel: int, name: str, index: int) -> jax.Array:
            x = Conv(width, kernel, name=f'{name}_conv{index}')(x)
            return nn.relu(make_norm(self.norm, f'{name}_norm{index}')(x, train=train))

        stride, steps = first_stride(stages, self.widths, 'decoder.widths'), []
        x = _PositionAttention(self.attention_features, name='center')(deepest(stages).features)
        for width in self.widths:
            stride //= 2
            skip, name, skips = at_stride(stages, stride), f'up{stride}', ()
            if skip is not None:
                features = skip.features.shape[-1]
                x = block(block(x, x.shape[-1], 3, f'{name}_in', 0), features, 1, f'{name}_in', 1)
                # Of `x` before the upsampling, which does not change the mean of a channel.
                squeezed = max(1, features // REDUCTION)
                gate = (ChannelGate(squeezed, name=f'{name}_gate')(x)
                        + ChannelGate(squeezed, name=f'{name}_skip_gate')(skip.features))
                x, skips = multiply(x, gate), (skip.features,)
            x = upsample_double_conv(x, skips, width, self.norm, name, train=train)
            steps.append(x)
        supervise(self, 'supervised_steps', steps[-2::-1], train=train)
        return x


class _PositionAttention(nn.Module):
    """(B, H, W, C) -> the same; the softmax is over all pairs of positions at once.

    All (H * W) ** 2 scores are in memory.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        query, key = (Conv(self.features, 1, bias=True, name=name)(x).reshape(batch, -1,
                                                                             self.features)
                      for name in ('query', 'key'))
        value = Conv(channels, bias=True, name='value')(x).reshape(batch, -1, channels)
        scores = jnp.einsum('bnd,bmd->bnm', query, key, preferred_element_type=jnp.float32)
        weights = nn.softmax(scores, (1, 2)).astype(x.dtype)
        attended = jnp.einsum('bnm,bmc->bnc', weights, value)
        # The reference takes the numbers, in which the channels of a position are adjacent, for a
        # map whose positions of a channel are; weights that are trained so need it.
        attended = attended.reshape(batch, channels, height, width).transpose(0, 2, 3, 1)
        return Conv(channels, bias=True, name='out')(x + attended)
