"""ReNet context (arXiv:1505.00393; for segmentation ReSeg, arXiv:1511.07053) on CamVid.

    jaxseg train --config=experiments/camvid/recurrent.py --workdir=runs/camvid_recurrent \\
        --config.data.root=../shared/data/camvid \\
        --config.pretrained.path=runs/camvid_half.safetensors
    jaxseg evaluate --workdir=runs/camvid_recurrent --split=test
    jaxseg evaluate --workdir=runs/camvid_recurrent --split=test --match=Seq05VD

Visin et al. 2015 and 2016; here from scratch. `convolutional.py` has the commands of the first
part, which has no context and is the same for all three. The GRUs are added to the map at stride
32: 12 rows of 15 positions for an image of 480x360. Test mIoU 0.557 +- 0.007, Seq05VD 0.546 +-
0.009, val 0.656 +- 0.004 (seeds 0 to 2, 2026-11-30): 0.002 to 0.003 more than without on each
seed.
"""

from ml_collections import ConfigDict

from experiments.camvid import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment with another context."""
    config = convolutional.get_config()
    config.model.context = [dict(type='renet.ReNet', features=128, cell='gru', merge='residual')]
    return config
