"""Means over grids of several sizes, resized to the map."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, make_norm
from jaxseg.layers.resize import adaptive_average_pool, resize_bilinear


def pooled_levels(x: jax.Array, bins: Sequence[int], norm: NormSpec, *, train: bool,
                  align_corners: bool = False, features: int | None = None,
                  norm_means: bool = False) -> list[jax.Array]:
    """PSPNet (Zhao et al. 2017, arXiv:1612.01105): (B, H, W, C) -> (B, H, W, features) a bin.

    For every n of `bins`: the means over n x n regions, a 1x1 convolution `bin{n}_conv` with norm
    and ReLU, and bilinear resizing to H x W. Called inside a compact method.

    Args:
      features: of every bin; None is C / len(bins).
      norm_means: with a norm for bin 1 as well. Without, it has a bias in place of it: one vector
        an image is too little to take statistics of.
    """
    size, width, levels = x.shape[1:3], features or max(x.shape[-1] // len(bins), 1), []
    for n in bins:
        normed = norm_means or n > 1
        y = Conv(width, 1, bias=not normed, name=f'bin{n}_conv')(adaptive_average_pool(x, (n, n)))
        if normed:
            y = make_norm(norm, f'bin{n}_norm')(y, train=train)
        levels.append(resize_bilinear(nn.relu(y), size, ((size[0], n), (size[1], n)),
                                      align_corners=align_corners))
    return levels
