"""ReNet context (arXiv:1505.00393; for segmentation ReSeg, arXiv:1511.07053) on CamVid.

    jaxseg train --config=experiments/camvid/recurrent.py --workdir=runs/camvid_recurrent \\
        --config.data.root=../shared/data/camvid
    jaxseg evaluate --workdir=runs/camvid_recurrent --split=test
    jaxseg evaluate --workdir=runs/camvid_recurrent --split=test --match=Seq05VD

Visin et al. 2015 and 2016; here from scratch. The encoder stays at stride 16 by dilation, so that
the GRUs have a larger map: 12 rows of 15 positions for an image of 480x360 at half resolution. Test
mIoU 0.429, Seq05VD 0.409 (2026-11-28, seed 0) after 50 minutes on two cores of an AMD EPYC, beside
other work.
"""

from ml_collections import ConfigDict

from experiments.camvid import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment with another context."""
    config = convolutional.get_config()
    config.model.encoder.output_stride = 16
    config.model.context = [dict(type='renet.ReNet', features=96, cell='gru')]
    config.model.decoder.widths = [64, 48, 32]
    return config
