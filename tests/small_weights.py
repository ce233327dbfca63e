"""Weights with names of their own, of an encoder that compiles soon: VGGLike of depth 1."""

import numpy as np

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import batch_norm, layer


class Small(Weights):
    """The table of names, and a normalization."""

    rules = (*layer('{i}.conv', 'stage{i}_conv0'), *batch_norm('{i}.norm', 'stage{i}_norm0'))
    unused = ('fc.*', '*.num_batches_tracked')
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def small_weights(widths=(4, 8)):
    """Random tensors for stages of these widths."""
    rng, found, channels = np.random.default_rng(0), {}, 3
    for stage, width in enumerate(widths):
        found[f'{stage}.conv.weight'] = rng.normal(size=(width, channels, 3, 3))
        found |= {f'{stage}.norm.{name}': rng.uniform(1, 2, width)
                  for name in ('weight', 'bias', 'running_mean', 'running_var')}
        channels = width
    return {name: value.astype(np.float32) for name, value in found.items()}
