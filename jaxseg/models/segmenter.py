"""Encoder, context, decoder and head: from images to logits."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.layers.conv import Conv
from jaxseg.layers.resize import downsample, pad_to_multiple, resize_bilinear

DTYPES = ('float32', 'bfloat16', 'float16')


class Segmenter(nn.Module):
    """Normalised images (B, H, W, C) of any size -> logits (B, H, W, classes) in float32.

    The images are padded to the encoder's stride by repeating their border, and the logits cropped back. The context
    (one layer, or several in turn) works on the coarsest features. The compute dtype is that of the features: images
    are cast to `dtype` once and every layer follows; parameters, norm statistics and logits are float32.

    `input_scale` below 1 lets the parts see the images reduced by this factor (0.5: a quarter of the work); loss and
    score are still those of the image's own pixels.

    `auxiliary` is a second decoder on the encoder's own features (Zhao et al. 2017, PSPNet). It runs in training only:
    its logits are sown as `auxiliary/logits`, and the train step adds `auxiliary_weight` times their loss. It does so with
    the logits, too, that a context layer sows as `auxiliary/regions` in training: they are brought to image size here.
    """

    encoder: nn.Module
    context: nn.Module | tuple[nn.Module, ...]
    decoder: nn.Module
    classes: int
    auxiliary: nn.Module | None = None
    auxiliary_weight: float = 0.4
    dropout: float = 0.0
    input_scale: float = 1.0
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        if self.dtype not in DTYPES:
            raise InputError(f'model.dtype: {self.dtype!r} is unknown; known: {", ".join(DTYPES)}')
        seen = downsample(images.astype(self.dtype), self.input_scale)
        padded = pad_to_multiple(seen, self.encoder.stride)
        features = self.encoder(padded, train=train)
        coarsest = max(features)
        if self.auxiliary is not None and (train or self.is_initializing()):
            logits = Conv(self.classes, 1, bias=True, name='auxiliary_head')(self.auxiliary(features, train=train))
            self.sow('auxiliary', 'logits', _at_size(images, seen, padded, logits))
        x = features[coarsest]
        for layer in self.context if isinstance(self.context, tuple) else (self.context,):
            x = layer(x, train=train)
            _sown_at_size(layer, images, seen, padded)
        x = self.decoder({**features, coarsest: x}, train=train)
        if self.dropout:
            x = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(x)
        return _at_size(images, seen, padded, Conv(self.classes, bias=True, name='head')(x))


def _sown_at_size(layer: nn.Module, images: jax.Array, seen: jax.Array, padded: jax.Array):
    """Puts logits of image size in the place of those that this context layer has just sown, if it did."""
    if layer.is_mutable_collection('auxiliary') and layer.has_variable('auxiliary', 'regions'):
        *earlier, logits = layer.get_variable('auxiliary', 'regions')
        layer.put_variable('auxiliary', 'regions', (*earlier, _at_size(images, seen, padded, logits)))


def _at_size(images: jax.Array, seen: jax.Array, padded: jax.Array, logits: jax.Array) -> jax.Array:
    """Logits of the padded picture as those of the images: enlarged and cropped in one step, float32."""
    # One decoder pixel covers padded/logits pixels of what the parts saw, and each of those images/seen image pixels.
    scale = [padded.shape[axis] / logits.shape[axis] * images.shape[axis] / seen.shape[axis] for axis in (1, 2)]
    return resize_bilinear(logits.astype(jnp.float32), images.shape[1:3], scale)
