"""Object-contextual representations: every position hears what the regions of the classes look like."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Norm


def region_features(x: jax.Array, logits: jax.Array) -> jax.Array:
    """`f_k = sum_i softmax_i(m_ki) x_i`: for every class the mean of the positions that look like it, in float32.

    Args:
      x: (B, H, W, C).
      logits: m, (B, H, W, K); the softmax is over the positions.

    Returns:
      f, (B, K, C) float32.
    """
    weights = jax.nn.softmax(logits.astype(jnp.float32).reshape(x.shape[0], -1, logits.shape[-1]), 1)
    return jnp.einsum('bnk,bnc->bkc', weights, x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1]))


class OCR(nn.Module):
    """Yuan et al. 2020 (arXiv:1909.11065): (B, H, W, C) -> (B, H, W, features).

    A linear layer of the input gives coarse logits of the `classes`, a 3x3 convolution the pixels' own features, and these
    two the features of every region (`region_features`). A position attends to the regions, in features / 2 channels; what
    it hears and its own features are concatenated and projected. Convolutions have norm and ReLU, as in the paper.

    The coarse logits are to be supervised: in training they are sown as `auxiliary/regions`, (B, H, W, classes) float32.
    """

    features: int
    classes: int
    norm: str = 'batch'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        def block(x: jax.Array, features: int, name: str, kernel: int = 1) -> jax.Array:
            x = Conv(features, kernel, name=f'{name}_conv')(x)
            return nn.relu(Norm(self.norm, name=f'{name}_norm')(x, train=train))

        coarse = Conv(self.classes, 1, bias=True, name='coarse')(x).astype(jnp.float32)
        if train or self.is_initializing():
            self.sow('auxiliary', 'regions', coarse)
        pixels, narrow = block(x, self.features, 'pixels', 3), max(self.features // 2, 1)
        # (B, K, 1, C): a map with a row for every region, for the convolutions.
        regions = region_features(pixels, coarse).astype(x.dtype)[:, :, None]
        query, key, value = block(pixels, narrow, 'query'), block(regions, narrow, 'key'), block(regions, narrow, 'value')
        scores = jnp.einsum('bijc,bkc->bijk', query, key[:, :, 0], preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(scores / narrow ** 0.5, -1).astype(x.dtype)
        heard = block(jnp.einsum('bijk,bkc->bijc', weights, value[:, :, 0]), self.features, 'give_back')
        return block(jnp.concatenate([heard, pixels], -1), self.features, 'project')
