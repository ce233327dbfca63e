"""A first model on a folder of your own: ResNet-18 with a U-Net decoder.

    jaxseg inspect --config=experiments/folder.py --config.data.root=FOLDER
    jaxseg train --config=experiments/folder.py --config.data.root=FOLDER --workdir=runs/mine

The folder contains {train,val}/{images,masks} and a dataset.json with the classes; see
`jaxseg/data/folder.py` for other layouts. Images smaller than the crop are padded with void. With a
GPU raise `batch_size`. A pretrained encoder, here torchvision's, is one line more:

    --config.pretrained='{"type": "torchvision.ResNet", "path": "resnet18.pth"}'
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment's record."""
    return ConfigDict(dict(
        seed=0,
        steps=2000,
        batch_size=8,
        # For masks that are not class indices see jaxseg/data/labels.py: binary=True for 0 and 255.
        data=dict(type='folder.Folder', root='data', naming={}, labels={}),
        transforms=[
            dict(type='transforms.RandomScale', low=0.5, high=2.0),
            dict(type='transforms.RandomCrop', size=[256, 256]),
            dict(type='transforms.RandomFlip'),
            dict(type='transforms.ColorJitter', hue=0.02),
        ],
        model=dict(
            type='segmentation_model.SegmentationModel',
            encoder=dict(type='resnet.ResNet', depth=18),
            context=dict(type='identity.Identity'),
            decoder=dict(type='unet.UNet'),
        ),
        losses=dict(
            cross_entropy=dict(type='cross_entropy.cross_entropy', weight=1.0),
            dice=dict(type='dice.dice', weight=1.0),
        ),
        optimizer=dict(type='optimizer.adamw', learning_rate=1e-3, weight_decay=0.02,
                       max_grad_norm=1.0),
        schedule=dict(type='schedule.cosine', warmup=100),
        evaluate_every=250,
        report_every=20,
    ))
