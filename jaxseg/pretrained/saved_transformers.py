"""Models that the library transformers saves by `save_pretrained`."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxseg.errors import InputError
from jaxseg.fields import nearest
from jaxseg.pretrained.saved import SavedModel, Settings

# Depths of the stages; the widths of b0 are smaller.
MIT = {'b0': (2, 2, 2, 2), 'b1': (2, 2, 2, 2), 'b2': (3, 4, 6, 3), 'b3': (3, 4, 18, 3),
       'b4': (3, 8, 27, 3), 'b5': (3, 6, 40, 3)}
SMALL, LARGE = [32, 64, 160, 256], [64, 128, 320, 512]
SEGFORMER = {'model_type': 'segformer', 'hidden_act': 'gelu', 'layer_norm_eps': 1e-6,
             'mlp_ratios': [4, 4, 4, 4], 'num_attention_heads': [1, 2, 5, 8],
             'num_encoder_blocks': 4, 'patch_sizes': [7, 3, 3, 3], 'reshape_last_stage': True,
             'sr_ratios': [8, 4, 2, 1], 'strides': [4, 2, 2, 2], 'num_channels': 3}
# Channels of the first stage, and depths of the stages.
CONVNEXT = {'atto': (40, [2, 2, 6, 2]), 'femto': (48, [2, 2, 6, 2]), 'pico': (64, [2, 2, 6, 2]),
            'nano': (80, [2, 2, 8, 2]), 'tiny': (96, [3, 3, 9, 3]), 'small': (96, [3, 3, 27, 3]),
            'base': (128, [3, 3, 27, 3]), 'large': (192, [3, 3, 27, 3]),
            'xlarge': (256, [3, 3, 27, 3]), 'huge': (352, [3, 3, 27, 3])}
# Channels and heads of the first stage, and depths of the stages.
SWIN = {'tiny': (96, 3, [2, 2, 6, 2]), 'small': (96, 3, [2, 2, 18, 2]),
        'base': (128, 4, [2, 2, 18, 2]), 'large': (192, 6, [2, 2, 18, 2])}
BACKBONE = {'hidden_act': 'gelu', 'num_channels': 3, 'patch_size': 4,
            'out_features': ['stage1', 'stage2', 'stage3', 'stage4']}
DPT = {'model_type': 'dpt', 'hidden_act': 'gelu', 'num_channels': 3, 'is_hybrid': False,
       'backbone_config': None, 'add_projection': False, 'head_in_index': -1, 'qkv_bias': True,
       'neck_ignore_stages': [], 'reassemble_factors': [4, 2, 1, 0.5],
       'use_batch_norm_in_fusion_residual': True, 'use_bias_in_fusion_residual': None}
READOUT = {'project': 'project', 'add': 'add', 'ignore': 'ignore'}


def describe(config: Mapping[str, Any], where: str) -> SavedModel:
    """The model of a config.json; keys that only training reads are ignored.

    Raises:
      InputError: it has no counterpart here; `where` begins the message.
    """
    settings = Settings(config, where)
    architectures = settings.take('architectures', list)
    if len(architectures) != 1 or architectures[0] not in ARCHITECTURES:
        raise InputError(f'{where}: architectures is {architectures!r}, of which there is no '
                         f'counterpart here; {nearest(str(architectures), ARCHITECTURES)}')
    source, describe_model = ARCHITECTURES[architectures[0]]
    model = describe_model(settings, where)
    labels = settings.take('id2label', dict)
    if set(labels) != {str(index) for index in range(len(labels))}:
        raise InputError(f'{where}: id2label does not number the classes from 0 on')
    classes = tuple(str(labels[str(index)]) for index in range(len(labels)))
    model = {'type': 'segmentation_model.SegmentationModel',
             'head': {'type': 'head.Head', 'kernel': 1}, **model}
    return SavedModel(source, model, classes, overlapping=False)


def _segformer(settings: Settings, where: str) -> dict[str, Any]:
    settings.require(**SEGFORMER)
    depths, widths = settings.take('depths', list), settings.take('hidden_sizes', list)
    known = {name: (list(of_size), SMALL if name == 'b0' else LARGE)
             for name, of_size in MIT.items()}
    variant = _variant(known, (depths, widths), where, 'depths and hidden_sizes')
    return {'encoder': {'type': 'mit.MiT', 'variant': variant},
            'decoder': {'type': 'segformer.SegFormer',
                        'features': settings.take('decoder_hidden_size', int)}}


def _upernet(settings: Settings, where: str) -> dict[str, Any]:
    settings.require(model_type='upernet', pool_scales=[1, 2, 3, 6])
    where = f'{where}: backbone_config'
    backbone = Settings(settings.take('backbone_config', dict), where)
    describe_backbone = backbone.choose('model_type', BACKBONES)
    backbone.require(**BACKBONE)
    return {'encoder': {**describe_backbone(backbone, where), 'output_norm': True},
            'decoder': {'type': 'upernet.UPerNet', 'features': settings.take('hidden_size', int)}}


def _convnext(version: int) -> Callable[[Settings, str], dict[str, Any]]:
    def describe_backbone(backbone: Settings, where: str) -> dict[str, Any]:
        known = {name: ([width * 2 ** index for index in range(4)], depths)
                 for name, (width, depths) in CONVNEXT.items()}
        found = backbone.take('hidden_sizes', list), backbone.take('depths', list)
        return {'type': 'convnext.ConvNeXt', 'version': version,
                'variant': _variant(known, found, where, 'hidden_sizes and depths')}

    return describe_backbone


def _swin(backbone: Settings, where: str) -> dict[str, Any]:
    backbone.require(layer_norm_eps=1e-5, mlp_ratio=4.0, qkv_bias=True,
                     use_absolute_embeddings=False)
    known = {name: (width, [heads * 2 ** index for index in range(4)], depths)
             for name, (width, heads, depths) in SWIN.items()}
    found = (backbone.take('embed_dim', int), backbone.take('num_heads', list),
             backbone.take('depths', list))
    return {'type': 'swin.Swin', 'window': backbone.take('window_size', int),
            'variant': _variant(known, found, where, 'embed_dim, num_heads and depths')}


def _dpt(settings: Settings, where: str) -> dict[str, Any]:
    settings.require(**DPT)
    width, hidden = settings.take('hidden_size', int), settings.take('intermediate_size', int)
    if hidden != 4 * width:
        raise InputError(f'{where}: intermediate_size is {hidden}, and our model has four times '
                         f'hidden_size; there is no counterpart of it here')
    patch, size = settings.take('patch_size', int), settings.take('image_size', (int, list))
    sides = size if isinstance(size, list) else [size, size]
    readout = settings.choose('readout_type', READOUT)
    encoder = {'type': 'vit.ViT', 'patch': patch, 'grid': [side // patch for side in sides],
               'variant': [width, settings.take('num_hidden_layers', int),
                           settings.take('num_attention_heads', int)],
               'taps': settings.take('backbone_out_indices', list),
               'class_features': readout != 'ignore', 'resampling': 'bilinear'}
    decoder = {'type': 'dpt.DPT', 'widths': settings.take('neck_hidden_sizes', list),
               'features': settings.take('fusion_hidden_size', int), 'readout': readout}
    return {'align_corners': True, 'encoder': encoder, 'decoder': decoder}


def _variant(known: Mapping[str, tuple], found: tuple, where: str, keys: str) -> str:
    name = next((name for name, sizes in known.items() if sizes == found), None)
    if name is None:
        raise InputError(f'{where}: {keys} are {" and ".join(map(str, found))}, of which there is '
                         f'no counterpart here; known are those of {", ".join(known)}')
    return name


BACKBONES = {'convnext': _convnext(1), 'convnextv2': _convnext(2), 'swin': _swin}
# The table of names of each class, and the reader of its config.
ARCHITECTURES: dict[str, tuple[str, Callable[[Settings, str], dict[str, Any]]]] = {
    'SegformerForSemanticSegmentation': ('transformers.Segformer', _segformer),
    'UperNetForSemanticSegmentation': ('transformers_upernet.UPerNet', _upernet),
    'DPTForSemanticSegmentation': ('transformers_dpt.DPT', _dpt)}
