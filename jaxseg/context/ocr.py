"""Object-contextual representations: every position attends to the mean features of the classes."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.fields import PositiveInt
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm


def region_features(x: jax.Array, logits: jax.Array) -> jax.Array:
    """`f_k = sum_i softmax_i(m_ki) x_i`: the mean of the positions that look like each class.

    Args:
      x: (B, H, W, C).
      logits: m, (B, H, W, K); the softmax is over the positions.

    Returns:
      f, (B, K, C) float32.
    """
    logits = logits.astype(jnp.float32).reshape(x.shape[0], -1, logits.shape[-1])
    positions = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
    return jnp.einsum('bnk,bnc->bkc', jax.nn.softmax(logits, 1), positions)


class OCR(nn.Module):
    """Yuan et al. 2020 (arXiv:1909.11065): (B, H, W, C) -> (B, H, W, features).

    A linear layer of the input gives coarse logits of the `classes`, a 3x3 convolution the features
    of the pixels, and both the features of every region (`region_features`). Each position attends
    to the regions in features / 2 channels; the result and the features of the pixels are
    concatenated and projected. Convolutions have norm and ReLU, as in the paper.

    The coarse logits need a loss of their own: in training they are sown as `auxiliary/regions`,
    (B, H, W, classes) float32.
    """

    features: PositiveInt
    classes: PositiveInt
    norm: NormSpec = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        def block(x: jax.Array, features: int, name: str, kernel: int = 1) -> jax.Array:
            x = Conv(features, kernel, name=f'{name}_conv')(x)
            return nn.relu(make_norm(self.norm, f'{name}_norm')(x, train=train))

        coarse = Conv(self.classes, 1, bias=True, name='coarse')(x).astype(jnp.float32)
        if train or self.is_initializing():
            self.sow('auxiliary', 'regions', coarse)
        pixels, narrow = block(x, self.features, 'pixels', 3), max(self.features // 2, 1)
        # (B, K, 1, C): for the convolutions, a map with a row for every region.
        regions = region_features(pixels, coarse).astype(x.dtype)[:, :, None]
        query = block(pixels, narrow, 'query')
        key, value = (block(regions, narrow, name)[:, :, 0] for name in ('key', 'value'))
        scores = jnp.einsum('bijc,bkc->bijk', query, key, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(scores / narrow ** 0.5, -1).astype(x.dtype)
        context = block(jnp.einsum('bijk,bkc->bijc', weights, value), self.features, 'context')
        return block(jnp.concatenate([context, pixels], -1), self.features, 'project')
