"""The last layer of a model: a convolution to the logits of every class."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import DropRate, PositiveInt
from jaxseg.layers.conv import convolve
from jaxseg.layers.dropout import Dropout

# Logits near 0, so that the loss starts near log(classes), as `conv_seg` of MMSegmentation.
INITIAL_DEVIATION = 0.01


class Head(nn.Module):
    """Dropout of whole channels, then a convolution of `kernel` x `kernel` to the logits.

    (B, H, W, C) -> (B, H, W, classes) float32. The product is float32 whatever the dtype of the
    features: in bfloat16 the logits of two classes would often be equal.

    Raises:
      InputError: an even kernel, which has no centre.
    """

    classes: int
    kernel: PositiveInt = 3
    dropout: DropRate = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.kernel % 2 == 0:
            raise InputError(f'head.kernel: {self.kernel} is even; give an odd size such as 1 or 3')
        x = Dropout(self.dropout, broadcast_dims=(1, 2))(x, train=train)
        shape = (self.kernel, self.kernel, x.shape[-1], self.classes)
        kernel = self.param('kernel', nn.initializers.normal(INITIAL_DEVIATION), shape)
        bias = self.param('bias', nn.initializers.zeros, (self.classes,))
        margin = (self.kernel // 2, self.kernel // 2)
        logits = convolve(x.astype(jnp.float32), kernel, padding=(margin, margin))
        return logits + bias[None, None, None]


class Identity(nn.Module):
    """No head, for a decoder whose features are logits: (B, H, W, classes) -> the same, float32.

    Raises:
      InputError: another number of channels than classes.
    """

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if x.shape[-1] != self.classes:
            raise InputError(f"head: 'head.Identity' takes logits of {self.classes} classes, and "
                             f'the decoder has {x.shape[-1]} channels; give head.Head')
        return x.astype(jnp.float32)
