"""Multi-head self-attention (arXiv:1706.03762) over the coarsest feature map, on synthetic shapes.

    jaxseg train --config=experiments/shapes/attention.py --workdir=runs/shapes_attention
    jaxseg evaluate --workdir=runs/shapes_attention --split=test

Vaswani et al. 2017. One pre-norm block with two-dimensional sine and cosine positions, then
attention pooling, which adds a weighted mean over the whole image to every position.
Test mIoU 0.889 after 273 s on two slow cores of an AMD EPYC (2026-11-25, seed 0).
"""

from ml_collections import ConfigDict

from experiments.shapes import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment with another context."""
    config = convolutional.get_config()
    config.model.context = [
        dict(type='self_attention.SelfAttention', features=128, heads=4),
        dict(type='attention_pooling.AttentionPooling'),
    ]
    return config
