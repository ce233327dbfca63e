"""Models that the library transformers saves by `save_pretrained`."""

from collections.abc import Mapping
from typing import Any

from jaxseg.errors import InputError
from jaxseg.pretrained.saved import SavedModel, Settings

SEGFORMER = 'SegformerForSemanticSegmentation'
# Depths of the stages; the widths of b0 are smaller.
MIT = {'b0': (2, 2, 2, 2), 'b1': (2, 2, 2, 2), 'b2': (3, 4, 6, 3), 'b3': (3, 4, 18, 3),
       'b4': (3, 8, 27, 3), 'b5': (3, 6, 40, 3)}
SMALL, LARGE = [32, 64, 160, 256], [64, 128, 320, 512]
FIXED = {'model_type': 'segformer', 'hidden_act': 'gelu', 'layer_norm_eps': 1e-6,
         'mlp_ratios': [4, 4, 4, 4], 'num_attention_heads': [1, 2, 5, 8], 'num_encoder_blocks': 4,
         'patch_sizes': [7, 3, 3, 3], 'reshape_last_stage': True, 'sr_ratios': [8, 4, 2, 1],
         'strides': [4, 2, 2, 2], 'num_channels': 3}


def describe(config: Mapping[str, Any], where: str) -> SavedModel:
    """The model of a config.json; keys that only training reads are ignored.

    Raises:
      InputError: it has no counterpart here; `where` begins the message.
    """
    settings = Settings(config, where)
    if settings.take('architectures', list) != [SEGFORMER]:
        raise InputError(f'{where}: architectures is {config["architectures"]!r}, of which there '
                         f'is no counterpart here; known: {SEGFORMER}')
    settings.require(**FIXED)
    sizes = settings.take('depths', list), settings.take('hidden_sizes', list)
    variant = next((name for name, depths in MIT.items()
                    if sizes == (list(depths), SMALL if name == 'b0' else LARGE)), None)
    if variant is None:
        raise InputError(f'{where}: depths and hidden_sizes are {sizes[0]} and {sizes[1]}, of '
                         f'which there is no counterpart here; known are those of b0 to b5')
    features = settings.take('decoder_hidden_size', int)
    labels = settings.take('id2label', dict)
    if set(labels) != {str(index) for index in range(len(labels))}:
        raise InputError(f'{where}: id2label does not number the classes from 0 on')
    model = {'type': 'segmentation_model.SegmentationModel',
             'encoder': {'type': 'mit.MiT', 'variant': variant},
             'decoder': {'type': 'segformer.SegFormer', 'features': features},
             'head': {'type': 'head.Head', 'kernel': 1}}
    classes = tuple(str(labels[str(index)]) for index in range(len(labels)))
    return SavedModel('transformers.Segformer', model, classes, overlapping=False)
