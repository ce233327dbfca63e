"""The plain network of convolution and pooling."""

import flax.linen as nn
import jax

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Norm


class VGGLike(nn.Module):
    """Stages of 3x3 convolutions, norm and ReLU, each ended by 2x2 max pooling (Simonyan & Zisserman 2015, VGG).

    (B, H, W, C) -> `{stride: features}`: what each stage has before its pooling, at `stem_stride`, 2 `stem_stride`,
    ..., and the last pooled map at `stem_stride * 2 ** len(widths)`. H and W must be multiples of the largest stride.
    `depth` is the number of convolutions in a stage; the very first convolution has stride `stem_stride`.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    depth: int = 2
    stem_stride: int = 1
    norm: str = 'batch'

    @property
    def stride(self) -> int:
        """The coarsest stride."""
        return self.stem_stride * 2 ** len(self.widths)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> dict[int, jax.Array]:
        if self.stem_stride not in (1, 2, 4) or self.depth < 1 or not self.widths:
            raise InputError(f'encoder vgg_like.VGGLike: stem_stride {self.stem_stride}, depth {self.depth}, widths '
                             f'{self.widths}; stem_stride is 1, 2 or 4, depth at least 1, and widths names a stage')
        features = {}
        for stage, width in enumerate(self.widths):
            for index in range(self.depth):
                first = stage == index == 0
                stride = self.stem_stride if first else 1
                # Neighbouring patches of a strided stem overlap, so that no pixel is skipped.
                kernel = max(3, 2 * stride - 1)
                x = Conv(width, kernel, stride, name=f'stage{stage}_conv{index}')(x)
                x = nn.relu(Norm(self.norm, name=f'stage{stage}_norm{index}')(x, train=train))
            features[self.stem_stride * 2 ** stage] = x
            x = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        return {**features, self.stride: x}
