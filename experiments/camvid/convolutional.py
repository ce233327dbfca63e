"""A slim ResNet-18 with a U-Net decoder on CamVid, from scratch, on two CPU cores.

    jaxseg train --config=experiments/camvid/half_size.py --workdir=runs/camvid_half \\
        --config.data.root=../shared/data/camvid
    jaxseg export-weights --workdir=runs/camvid_half --checkpoint=latest \\
        --output=runs/camvid_half.safetensors
    jaxseg train --config=experiments/camvid/convolutional.py --workdir=runs/camvid_convolutional \\
        --config.data.root=../shared/data/camvid \\
        --config.pretrained.path=runs/camvid_half.safetensors
    jaxseg evaluate --workdir=runs/camvid_convolutional --split=test
    jaxseg evaluate --workdir=runs/camvid_convolutional --split=test --match=Seq05VD

Data: Brostow et al. 2009, the split of SegNet (arXiv:1511.00561): 367/101/233 pairs of 480x360, 11
classes. Encoder: He et al. 2016 with half the width. Training begins with images of about half the
size (`half_size.py`), where a step takes a third of the time, and ends at full size. The optimizer
is Muon (Jordan et al. 2024). The weights of the classes are the cube roots of the median-frequency
weights (Eigen & Fergus 2015) of the training split, which `jaxseg inspect` prints.

Test mIoU 0.555 +- 0.007, Seq05VD 0.544 +- 0.008, val 0.658 +- 0.001 (mean and standard deviation of
seeds 0 to 2, 2026-11-30; the checkpoint with the best val). Minutes on two cores: README. What each
choice gave: `experiments/results/camvid_levers.md`.
"""

from ml_collections import ConfigDict

# sky, building, pole, road, pavement, tree, signsymbol, fence, car, pedestrian, bicyclist
MEDIAN_FREQUENCY = (0.279, 0.202, 4.787, 0.149, 1.0, 0.422, 3.847, 1.974, 0.789, 6.375, 8.859)


def get_config() -> ConfigDict:
    """The experiment's record."""
    return ConfigDict(dict(
        seed=0,
        steps=800,
        batch_size=3,
        data=dict(type='folder.Folder', root='../shared/data/camvid'),
        transforms=[
            dict(type='transforms.RandomScale', low=0.8, high=1.5),
            dict(type='transforms.RandomCrop', size=[352, 480]),
            dict(type='transforms.RandomFlip'),
            dict(type='transforms.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4,
                 hue=0.03),
        ],
        preprocess=dict(type='device_transforms.Augment',
                        augmentations=[dict(type='device_mixing.ClassMix', p=0.5)]),
        model=dict(
            type='segmentation_model.SegmentationModel',
            encoder=dict(type='resnet.ResNet', depth=18, width=32),
            context=[dict(type='identity.Identity')],
            decoder=dict(type='unet.UNet', widths=[128, 64, 64, 32]),
        ),
        pretrained=dict(type='exported.Exported', path='runs/camvid_half.safetensors',
                        parts=['encoder', 'decoder', 'head']),
        losses=dict(
            cross_entropy=dict(
                type='cross_entropy.cross_entropy', weight=1.0,
                class_weights=[round(weight ** (1 / 3), 3) for weight in MEDIAN_FREQUENCY]),
        ),
        algorithm=dict(type='averaging.EMA', decay=0.99,
                       algorithm=dict(type='supervised.Supervised')),
        optimizer=dict(type='optimizer.muon', learning_rate=2e-3, iterations=3, weight_decay=0.05,
                       max_grad_norm=1.0),
        schedule=dict(type='schedule.cosine', warmup=50),
        evaluate_every=400,
        report_every=50,
    ))
