"""A VGG-like encoder with a U-Net decoder on synthetic shapes: the smallest experiment.

    jaxseg train --config=experiments/shapes/convolutional.py --workdir=runs/shapes_convolutional
    jaxseg evaluate --workdir=runs/shapes_convolutional --split=test

Encoder: the contracting path of Ronneberger et al., U-Net, 2015 (arXiv:1505.04597), with batch
norm. Test mIoU 0.909 after 247 s on two slow cores of an AMD EPYC (2026-11-25, seed 0).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment's record."""
    return ConfigDict(dict(
        seed=0,
        steps=1800,
        batch_size=8,
        eval_batch_size=32,
        data=dict(type='synthetic.Shapes'),
        transforms=[
            dict(type='transforms.RandomFlip'),
        ],
        model=dict(
            type='segmentation_model.SegmentationModel',
            encoder=dict(type='vgg_like.VGGLike', widths=[16, 32, 64, 128], depth=2, stem_stride=2),
            context=[dict(type='identity.Identity')],
            decoder=dict(type='unet.UNet', widths=[96, 64, 32, 16]),
        ),
        losses=dict(
            cross_entropy=dict(type='cross_entropy.cross_entropy', weight=1.0),
            dice=dict(type='dice.dice', weight=0.5),
        ),
        optimizer=dict(type='optimizer.adamw', learning_rate=2e-3, weight_decay=0.02,
                       max_grad_norm=1.0),
        schedule=dict(type='schedule.cosine', warmup=50),
        evaluate_every=450,
        report_every=50,
    ))
