"""Multi-head self-attention (arXiv:1706.03762) over the feature map on CamVid, from scratch.

    jaxseg train --config=experiments/camvid/attention.py --workdir=runs/camvid_attention \\
        --config.data.root=../shared/data/camvid
    jaxseg evaluate --workdir=runs/camvid_attention --split=test
    jaxseg evaluate --workdir=runs/camvid_attention --split=test --match=Seq05VD

Vaswani et al. 2017. Two pre-norm blocks on the map at stride 16, then attention pooling. Test mIoU
0.414, Seq05VD 0.394 (2026-11-29, seed 0) after 31 minutes on two cores of an Intel Xeon, beside
other work.
"""

from ml_collections import ConfigDict

from experiments.camvid import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment with another context."""
    config = convolutional.get_config()
    config.model.encoder.output_stride = 16
    config.model.context = [
        dict(type='self_attention.SelfAttention', features=192, heads=6, layers=2),
        dict(type='attention_pooling.AttentionPooling'),
    ]
    config.model.decoder.widths = [64, 48, 32]
    return config
