"""The mask transformer of Segmenter."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.stages import Stages, at_index
from jaxseg.layers.transformer_block import KERNEL_INIT, TransformerBlock, dense, layer_norm

EPSILON = 1e-5
TINY = 1e-12  # keeps the gradient of a norm finite at zero


class MaskTransformer(nn.Module):
    """Strudel et al. 2021, arXiv:2105.05633: classes are tokens that attend to all positions.

    Stages -> logits (B, H / stride, W / stride, classes) float32, so that the head is
    `jaxseg.layers.head.Identity`. The positions of one stage and a learned token for every class go
    through transformer blocks together. A logit is the cosine of the projected position and the
    projected class, after layer norm over the classes. The paper has it over a vision transformer
    with `norm_taps`; its linear decoder is `fcn.FCN` with `widths=()` and a 1x1 head.

    Args:
      classes: their number; the run fills it in.
      features: channels of the tokens.
      layers: number of blocks.
      heads: of the attention; 64 channels each in the paper.
      stage: index of the stage in order of depth.
      drop_path: rate of stochastic depth of the last block; it grows linearly from 0.

    Raises:
      InputError: heads that do not divide the features; a single class, whose norm over the classes
        is 0 everywhere; the encoder has no such stage.
    """

    classes: PositiveInt
    features: PositiveInt = 192
    layers: PositiveInt = 2
    heads: PositiveInt = 3
    stage: int = -1
    drop_path: DropRate = 0.0

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        if self.features % self.heads:
            raise InputError(f'decoder.heads: {self.heads} does not divide the {self.features} '
                             f'features; change one of them')
        if self.classes == 1:
            raise InputError('decoder.classes: 1, and the norm over the classes makes the logit of '
                             "a single one 0 everywhere; use decoder 'fcn.FCN' with widths=[] and "
                             'a 1x1 head, the linear decoder of the paper')
        x = at_index(stages, self.stage, 'decoder.stage').features
        batch, height, width, _ = x.shape
        x = dense(x.reshape(batch, height * width, -1), self.features, 'project')
        tokens = self.param('class_tokens', KERNEL_INIT, (1, self.classes, self.features))
        tokens = jnp.broadcast_to(tokens, (batch, *tokens.shape[1:])).astype(x.dtype)
        x = jnp.concatenate([x, tokens], 1)
        for index in range(self.layers):
            rate = self.drop_path * index / max(self.layers - 1, 1)
            x = TransformerBlock(self.heads, 4 * self.features, drop_path=rate, epsilon=EPSILON,
                                 name=f'block{index}')(x, train=train)
        x = layer_norm(x.dtype, EPSILON, 'norm')(x)
        positions, classes = x[:, :height * width], x[:, height * width:]
        positions = _unit(dense(positions, self.features, 'position_project', bias=False))
        classes = _unit(dense(classes, self.features, 'class_project', bias=False))
        logits = jnp.einsum('bnc,bkc->bnk', positions, classes, precision='highest')
        logits = layer_norm(jnp.float32, EPSILON, 'class_norm')(logits)
        return logits.reshape(batch, height, width, self.classes)


def _unit(x: jax.Array) -> jax.Array:
    """Vectors of length 1 along the last axis, float32."""
    x = x.astype(jnp.float32)
    squares = jnp.sum(jnp.square(x), -1, keepdims=True)
    return x / jnp.sqrt(jnp.maximum(squares, TINY))
