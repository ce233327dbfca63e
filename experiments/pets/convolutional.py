"""ResNet-18 with a U-Net decoder on Oxford-IIIT Pet (Parkhi et al. 2012), from scratch.

    pip install 'jaxseg[tfds-build]'
    python -c "import tensorflow_datasets as tfds
    tfds.builder('oxford_iiit_pet', file_format='array_record').download_and_prepare()"
    jaxseg train --config=experiments/pets/convolutional.py --workdir=runs/pets
    jaxseg evaluate --workdir=runs/pets --split=val
    jaxseg evaluate --workdir=runs/pets --split=test

Preparing the data takes TensorFlow, reading them does not. Three classes, as in the segmentation
tutorial of the JAX AI Stack: background, pet, and the border between them, the 3 of the trimaps,
which `mapping` alone would make void. That tutorial reports a validation mIoU of 0.51, which this
recipe is meant to exceed. It has NOT been trained yet: there is no score of it. Validation is the
last tenth of the split 'train' (368 of 3680 images), test has 3669. 80 epochs; on a GPU raise
`batch_size`, and add `pretrained` for ImageNet weights (see `experiments/folder.py`).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment's record."""
    return ConfigDict(dict(
        seed=0,
        steps=16_560,
        batch_size=16,
        data=dict(type='tfds.Tfds', directory='~/tensorflow_datasets/oxford_iiit_pet/4.0.0',
                  mapping='oxford_iiit_pet', classes=['background', 'pet', 'border'],
                  colors=[[0, 0, 0], [250, 130, 30], [255, 255, 255]],
                  label_map={'1': 1, '2': 0, '3': 2}),
        transforms=[
            dict(type='transforms.RandomScale', low=0.5, high=1.25),
            dict(type='transforms.RandomCrop', size=[256, 256]),
            dict(type='transforms.RandomFlip'),
            dict(type='transforms.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4,
                 hue=0.03),
        ],
        model=dict(
            type='segmentation_model.SegmentationModel',
            encoder=dict(type='resnet.ResNet', depth=18),
            context=[dict(type='aspp.ASPP', features=128)],
            decoder=dict(type='unet.UNet', widths=[128, 64, 48, 32]),
        ),
        losses=dict(
            cross_entropy=dict(type='cross_entropy.cross_entropy', weight=1.0),
            dice=dict(type='dice.dice', weight=1.0),
        ),
        optimizer=dict(type='optimizer.adamw', learning_rate=1e-3, weight_decay=0.05,
                       max_grad_norm=1.0),
        schedule=dict(type='schedule.cosine', warmup=500),
        # The images have hundreds of sizes: one compiled program for all.
        inference=dict(type='sliding.SlidingWindow', window=[384, 384]),
        evaluate_every=1035,
        report_every=50,
    ))
