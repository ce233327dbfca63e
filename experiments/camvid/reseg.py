"""ReSeg (Visin et al. 2016, arXiv:1511.07053) on CamVid, from scratch.

    jaxseg train --config=experiments/camvid/reseg.py --workdir=runs/camvid_reseg \\
        --config.data.root=../shared/data/camvid
    jaxseg evaluate --workdir=runs/camvid_reseg --split=test
    jaxseg evaluate --workdir=runs/camvid_reseg --split=test --match=Seq05VD

As in the paper: a VGG-like encoder down to stride 8, two ReNet layers of GRUs, no skip connections.
Changed: six convolutions of half VGG's width, trained from scratch instead of on ImageNet; a 1x1
convolution and bilinear upsampling instead of transposed convolutions. The first ReNet layer reads
patches of 2x2 positions, the second one single positions: of an image of 480x360, 23 rows of 30 and
45 rows of 60. The paper reports a test mIoU of 0.588; this recipe has not been measured here yet.
"""

from ml_collections import ConfigDict

from experiments.camvid import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment with other parts."""
    config = convolutional.get_config()
    config.pretrained = None
    config.steps = 1000
    config.model.encoder = dict(type='vgg_like.VGGLike', widths=[32, 64, 128])
    config.model.context = [dict(type='renet.ReNet', features=100, patch=2),
                            dict(type='renet.ReNet', features=100)]
    config.model.decoder = dict(type='fcn.FCN', widths=[64])
    return config
