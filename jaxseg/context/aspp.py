"""Atrous spatial pyramid pooling: convolutions of several dilations beside the global mean."""

from jaxseg.layers.atrous_pyramid import AtrousPyramid


class ASPP(AtrousPyramid):
    """DeepLabv3 (Chen et al. 2017, arXiv:1706.05587): (B, H, W, C) -> (B, H, W, features).

    As described in `jaxseg.layers.atrous_pyramid`, with the fields given there. The rates are the
    paper's for an encoder of stride 16; it doubles them at stride 8.

    The mean has a bias in place of the paper's norm: one vector an image is too little to take
    statistics of. Batch norm over a batch of one would make it zero in training and, as its running
    variance goes to 0, huge in evaluation.
    """

    norm_of_mean = False
