"""The decoder of SegFormer."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import KERNEL_INIT, convolve
from jaxseg.layers.dense import Dense
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.resize import resize_bilinear
from jaxseg.layers.stages import Stage, Stages, strides

FINEST = 4  # stride of the result, where the encoder has it


class SegFormer(nn.Module):
    """A linear layer for every stage, and one for all (Xie et al. 2021, arXiv:2105.15203).

    Stages -> (B, H / stride, W / stride, features), where the stride is 4 or that of the finest
    stage, whichever is larger. All stages but those at stride 1 are used, as in
    segmentation_models.pytorch; of transformers' encoders these are four at strides 4 to 32. Each
    is projected to `features` channels and resized, all are concatenated with the deepest first,
    and a 1x1 convolution with norm and ReLU follows. In the paper the head has a kernel of 1 and a
    dropout of 0.1.

    Args:
      features: channels of every projection and of the result: 256 for b0 and b1 in the paper, 768
        for larger encoders.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.

    Raises:
      InputError: the encoder has no stage but at stride 1.
    """

    features: PositiveInt = 256
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        used = [stage for stage in reversed(stages) if stage.stride > 1]
        if not used:
            raise InputError(f'decoder: it needs stages of stride 2 and more, and the encoder has '
                             f'stages of strides {", ".join(map(str, strides(stages)))}; use an '
                             f'encoder that has them or another decoder')
        projected = [stage.replace(
            features=Dense(self.features, name=f'linear{index}')(stage.features))
            for index, stage in enumerate(used)]
        x = _Fuse(self.features, name='fuse_conv')(projected)
        return nn.relu(make_norm(self.norm, 'fuse_norm')(x, train=train))


class _Fuse(nn.Module):
    """A 1x1 convolution of all stages, resized and concatenated, as a sum of one for each.

    The convolution comes before the resizing, which it commutes with: deep stages have few pixels,
    and nothing of all their channels exists at the finest stride.
    """

    features: int

    @nn.compact
    def __call__(self, stages: Sequence[Stage]) -> jax.Array:
        finest = stages[-1]
        stride = max(FINEST, finest.stride)
        size = tuple(side * finest.stride // stride for side in finest.features.shape[1:3])
        inputs = [stage.features.shape[-1] for stage in stages]
        kernel = self.param('kernel', KERNEL_INIT, (1, 1, sum(inputs), self.features))
        parts = jnp.split(kernel, np.cumsum(inputs)[:-1], axis=2)
        return sum(resize_bilinear(convolve(stage.features, part, padding='VALID'), size,
                                   ((stage.stride, stride),) * 2)
                   for stage, part in zip(stages, parts, strict=True))
