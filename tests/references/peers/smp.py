"""Whole models of segmentation_models.pytorch over small encoders."""

from collections.abc import Callable
from typing import Any

from tests.references.parity import Row

CLASSES = 5
SMALL = [48, 32, 24, 20, 16]


def _smp(name: str, encoder: str = 'resnet18', **options: Any) -> Callable:
    def build():
        import segmentation_models_pytorch

        return (getattr(segmentation_models_pytorch, name)(
            encoder, encoder_weights=None, classes=CLASSES, **options),
            lambda module, images: [module(images)])

    return build


def _row(name: str, decoder: dict[str, Any], options: dict[str, Any], *, kernel: int = 3,
         size: tuple[int, int] = (64, 96), over: str = 'resnet18', **encoder: Any) -> Row:
    config = dict(type='segmentation_model.SegmentationModel', align_corners=True, decoder=decoder,
                  encoder={'type': 'resnet.ResNet', **encoder},
                  head=dict(type='head.Head', kernel=kernel))
    return Row('model', config, f'smp.{name}', 'segmentation_models_pytorch',
               _smp(name, over, **options), size, classes=CLASSES)


ROWS = {
    'smp_unet': _row('Unet', dict(type='unet.UNet'), {}),
    'smp_fpn': _row('FPN', dict(type='fpn.FPN', levels=64, features=32, merge='concatenate'),
                    dict(decoder_pyramid_channels=64, decoder_segmentation_channels=32,
                         decoder_merge_policy='cat'), kernel=1),
    'smp_segformer': _row('Segformer', dict(type='segformer.SegFormer'), {}, kernel=1),
    'smp_upernet': _row('UPerNet', dict(type='upernet.UPerNet', features=32, norm_stages=True),
                        dict(decoder_channels=32), kernel=1),
    'smp_deeplabv3': _row('DeepLabV3', dict(type='deeplab.DeepLabV3', features=32, rates=[2, 4, 6]),
                          dict(decoder_channels=32, decoder_atrous_rates=(2, 4, 6)), kernel=1,
                          output_stride=8, dilate_first=True),
    'smp_deeplabv3plus': _row('DeepLabV3Plus', dict(type='deeplab.DeepLabV3Plus'), {}, kernel=1,
                              output_stride=16, dilate_first=True),
    'smp_pspnet': _row('PSPNet', dict(type='pspnet.PSPNet'), {}),
    'smp_linknet': _row('Linknet', dict(type='linknet.LinkNet'), {}, kernel=1),
    'smp_manet': _row('MAnet', dict(type='manet.MAnet', widths=SMALL, attention_features=16),
                      dict(decoder_channels=SMALL, decoder_pab_channels=16)),
    # The reference halves the last stage, of stride 16, three times.
    'smp_pan': _row('PAN', dict(type='pan.PAN'), {}, size=(144, 176), output_stride=16,
                    dilate_first=True),
    'smp_unet_plus_plus': _row(
        'UnetPlusPlus', dict(type='unet_plus_plus.UNetPlusPlus', widths=SMALL, attention='scse'),
        dict(decoder_channels=SMALL, decoder_attention_type='scse')),
    'smp_unet_scse': _row('Unet', dict(type='unet.UNet', widths=SMALL, attention='scse'),
                          dict(decoder_channels=SMALL, decoder_attention_type='scse')),
    # Skip connections of no channels at stride 2, and one at stride 1 that is not used.
    'smp_unet_mit': _row('Unet', dict(type='unet.UNet', widths=SMALL, attention='scse'),
                         dict(decoder_channels=SMALL, decoder_attention_type='scse'),
                         over='mit_b0', type='mit.MiT', variant='b0'),
    'smp_unet_efficientnet': _row('Unet', dict(type='unet.UNet', widths=SMALL),
                                  dict(decoder_channels=SMALL), over='efficientnet-b0',
                                  type='efficientnet.EfficientNet', taps=[0, 3, 5, 9, 16]),
    'smp_linknet_vgg': _row('Linknet', dict(type='linknet.LinkNet'), {}, kernel=1, over='vgg11',
                            type='vgg.VGG', depth=11, norm=None),
    **{f'smp_dpt_{readout}': _row(
        'DPT', dict(type='dpt.DPT', widths=[8, 12, 16, 20], features=24, readout=ours,
                    deepest_units=2),
        dict(decoder_readout=readout, decoder_intermediate_channels=[8, 12, 16, 20],
             decoder_fusion_channels=24, embed_dim=48, img_size=64, dynamic_img_size=True),
        kernel=1, over='tu-vit_tiny_patch16_224', type='vit.ViT', variant=[48, 12, 3],
        grid=[4, 4], class_features=True)
       for readout, ours in (('cat', 'project'), ('add', 'add'))},
}
