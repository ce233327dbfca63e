"""Models that segmentation_models.pytorch saves by `save_pretrained`."""

from collections.abc import Mapping
from typing import Any

from jaxseg.pretrained.saved import SavedModel, Settings
from jaxseg.pretrained.smp import PADDING_SIDES

RESNETS: dict[str, dict] = {
    **{f'resnet{depth}': {'depth': depth} for depth in (18, 34, 50, 101, 152)},
    'resnext50_32x4d': {'depth': 50, 'groups': 32, 'width_per_group': 4},
    'resnext101_32x8d': {'depth': 101, 'groups': 32, 'width_per_group': 8}}
# Of EfficientNet b0 to b7: after how many blocks there are stages, besides the stem.
TAPS = ((3, 5, 9, 16), (5, 8, 16, 23), (5, 8, 16, 23), (5, 8, 18, 26), (6, 10, 22, 32),
        (8, 13, 27, 39), (9, 15, 31, 45), (11, 18, 38, 55))
ENCODERS: dict[str, dict] = {
    **{name: {'type': 'resnet.ResNet', **fields} for name, fields in RESNETS.items()},
    **{f'efficientnet-b{size}': {'type': 'efficientnet.EfficientNet', 'variant': f'b{size}',
                                 'taps': [0, *taps], 'padding_side': PADDING_SIDES.get(f'b{size}')}
       for size, taps in enumerate(TAPS)},
    **{f'mit_b{size}': {'type': 'mit.MiT', 'variant': f'b{size}'} for size in range(6)}}
# What ImageNet weights of the recipes with inputs between -1 and 1 add to the name of a ViT.
TAGS = ('', '.augreg_in21k', '.augreg_in21k_ft_in1k', '.augreg_in1k', '.augreg2_in21k_ft_in1k',
        '.orig_in21k', '.orig_in21k_ft_in1k')
VITS: dict[str, dict] = {
    f'tu-vit_{size}_patch16_{side}{tag}': {'type': 'vit.ViT', 'variant': size,
                                           'grid': [side // 16] * 2}
    for size in ('tiny', 'small', 'base', 'large') for side in (224, 384) for tag in TAGS}
READOUT = {'cat': 'project', 'add': 'add', 'ignore': 'ignore'}
ATTENTION = {None: 'none', 'scse': 'scse'}
MERGE = {'add': 'add', 'cat': 'concatenate'}
UNET = {'widths': ('decoder_channels', list), 'attention': ('decoder_attention_type', ATTENTION)}
DEEPLAB = {'features': ('decoder_channels', int), 'rates': ('decoder_atrous_rates', list),
           'separable': ('decoder_aspp_separable', bool)}
DECODER_NORM = {'decoder_use_norm': 'batchnorm'}
BLOCKS = {**DECODER_NORM, 'decoder_interpolation': 'nearest'}
# By class: our decoder, its fields by keys of theirs, the kernel of the head, and keys that must
# have one value. A class with a stride of its encoder dilates ResNets.
MODELS: dict[str, tuple[str, dict, int, dict]] = {
    'Unet': ('unet.UNet', UNET, 3, BLOCKS),
    'UnetPlusPlus': ('unet_plus_plus.UNetPlusPlus', UNET, 3, BLOCKS),
    'MAnet': ('manet.MAnet', {'widths': ('decoder_channels', list),
                              'attention_features': ('decoder_pab_channels', int)}, 3, BLOCKS),
    'Linknet': ('linknet.LinkNet', {}, 1, DECODER_NORM),
    'FPN': ('fpn.FPN', {'levels': ('decoder_pyramid_channels', int),
                        'features': ('decoder_segmentation_channels', int),
                        'merge': ('decoder_merge_policy', MERGE)}, 1,
            {'decoder_interpolation': 'nearest', 'upsampling': 4}),
    'PSPNet': ('pspnet.PSPNet', {'features': ('psp_out_channels', int)}, 3,
               {**DECODER_NORM, 'encoder_depth': 3, 'upsampling': 8}),
    'PAN': ('pan.PAN', {'features': ('decoder_channels', int)}, 3,
            {'decoder_interpolation': 'bilinear', 'upsampling': 4, 'encoder_output_stride': 16}),
    'DeepLabV3': ('deeplab.DeepLabV3', DEEPLAB, 1,
                  {'encoder_output_stride': 8, 'upsampling': None}),
    'DeepLabV3Plus': ('deeplab.DeepLabV3Plus', DEEPLAB, 1,
                      {'encoder_output_stride': 16, 'upsampling': 4}),
    'Segformer': ('segformer.SegFormer', {'features': ('decoder_segmentation_channels', int)}, 1,
                  {'upsampling': 4}),
    'DPT': ('dpt.DPT', {'widths': ('decoder_intermediate_channels', list),
                        'features': ('decoder_fusion_channels', int),
                        'readout': ('decoder_readout', READOUT)}, 1, {'encoder_depth': 4})}


def describe(config: Mapping[str, Any], where: str) -> SavedModel:
    """The model of a config.json.

    Raises:
      InputError: it has no counterpart here; `where` begins the message.
    """
    settings = Settings(config, where)
    names = {name: name for name in MODELS}
    name = settings.choose('_model_class', names)
    kind, fields, kernel, fixed = MODELS[name]
    settings.require(**{'encoder_depth': 5, 'in_channels': 3, 'activation': None,
                        'aux_params': None, **fixed})
    decoder = {'type': kind, **{
        field: settings.choose(key, known) if isinstance(known, dict) else settings.take(key, known)
        for field, (key, known) in fields.items()}}
    if name == 'DPT':
        encoder = _vit(settings, decoder['readout'])
        decoder['deepest_units'] = 2
    else:
        encoder = _pyramid(settings, fixed.get('encoder_output_stride'))
    classes = settings.take('classes', int)
    settings.ignore('encoder_weights', 'decoder_dropout', 'psp_dropout', 'decoder_aspp_dropout')
    settings.close()
    model = {'type': 'segmentation_model.SegmentationModel', 'align_corners': True,
             'encoder': encoder, 'decoder': decoder,
             'head': {'type': 'head.Head', 'kernel': kernel}}
    return SavedModel(f'smp.{name}', model, tuple(f'class_{index}' for index in range(classes)),
                      overlapping=classes == 1)


def _pyramid(settings: Settings, dilated: int | None) -> dict[str, Any]:
    """An encoder, dilated to this stride."""
    if dilated is None:
        return settings.choose('encoder_name', ENCODERS)
    resnets = {name: ENCODERS[name] for name in RESNETS}
    return {**settings.choose('encoder_name', resnets), 'output_stride': dilated,
            'dilate_first': True}


def _vit(settings: Settings, readout: str) -> dict[str, Any]:
    encoder = {**settings.choose('encoder_name', VITS), 'class_features': readout != 'ignore'}
    taps = settings.take('encoder_output_indices', (list, type(None)))
    # Whether the reference takes images of other sizes.
    settings.ignore('dynamic_img_size')
    return encoder if taps is None else {**encoder, 'taps': taps}
