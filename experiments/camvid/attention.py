"""Multi-head self-attention (arXiv:1706.03762) over the feature map on CamVid, from scratch.

    jaxseg train --config=experiments/camvid/attention.py --workdir=runs/camvid_attention \\
        --config.data.root=../shared/data/camvid \\
        --config.pretrained.path=runs/camvid_half.safetensors
    jaxseg evaluate --workdir=runs/camvid_attention --split=test
    jaxseg evaluate --workdir=runs/camvid_attention --split=test --match=Seq05VD

Vaswani et al. 2017. `convolutional.py` has the commands of the first part, which has no context and
is the same for all three. A pre-norm block on the map at stride 32, then attention pooling. Test
mIoU 0.547 +- 0.012, Seq05VD 0.537 +- 0.014, val 0.655 +- 0.005 (seeds 0 to 2, 2026-11-30): 0.000 to
0.017 less than without.
"""

from ml_collections import ConfigDict

from experiments.camvid import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment with another context."""
    config = convolutional.get_config()
    config.model.context = [
        dict(type='self_attention.SelfAttention', features=256, heads=8),
        dict(type='attention_pooling.AttentionPooling'),
    ]
    return config
