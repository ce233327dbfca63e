"""UPerNet of transformers with the backbones ConvNeXt and Swin."""

from collections.abc import Callable
from typing import Any

from tests.references.parity import Row
from tests.references.saved_names import as_saved

CLASSES, WIDTH = 5, 32


def _transformers(backbone: str, auxiliary: bool, **options: Any) -> Callable:
    def build():
        import transformers

        config = transformers.UperNetConfig(
            backbone_config=getattr(transformers, f'{backbone}Config')(
                out_features=['stage1', 'stage2', 'stage3', 'stage4'], **options),
            hidden_size=WIDTH, num_labels=CLASSES, use_auxiliary_head=auxiliary,
            auxiliary_channels=WIDTH)
        module = transformers.UperNetForSemanticSegmentation(config)
        return as_saved(module), lambda module, images: [module.model(images).logits]

    return build


def _row(encoder: dict[str, Any], build: Callable, **fields: Any) -> Row:
    config = dict(type='segmentation_model.SegmentationModel',
                  encoder=dict(output_norm=True, **encoder), head=dict(type='head.Head', kernel=1),
                  decoder=dict(type='upernet.UPerNet', features=WIDTH), **fields)
    return Row('model', config, 'transformers_upernet.UPerNet', 'transformers', build, (64, 96),
               classes=CLASSES)


ROWS = {
    'transformers_upernet_convnext': _row(
        dict(type='convnext.ConvNeXt', variant='atto'), _transformers(
            'ConvNext', True, hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2]),
        auxiliary=dict(type='fcn.FCN', widths=[WIDTH], kernel=3, stage=2)),
    'transformers_upernet_swin': _row(dict(type='swin.Swin'), _transformers('Swin', True)),
}
