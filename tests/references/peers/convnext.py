"""ConvNeXt of timm and transformers."""

from collections.abc import Callable
from typing import Any

from tests.references.parity import Row


def _timm(name: str, **options: Any) -> Callable:
    def build():
        import timm

        return timm.create_model(name, **options), lambda module, images: (
            module.forward_intermediates(images, intermediates_only=True))

    return build


def _transformers(version: str, widths: list[int], depths: list[int]) -> Callable:
    def build():
        import transformers

        config = getattr(transformers, f'ConvNext{version}Config')(
            hidden_sizes=widths, depths=depths,
            out_features=['stage1', 'stage2', 'stage3', 'stage4'])
        module = getattr(transformers, f'ConvNext{version}Backbone')(config)
        return module, lambda module, images: module(images).feature_maps

    return build


ATTO = [40, 80, 160, 320], [2, 2, 6, 2]
ROWS = {
    'timm_convnext_atto_stride8': Row(
        'encoder', dict(type='convnext.ConvNeXt', variant='atto', output_stride=8),
        'timm.ConvNeXt', 'timm', _timm('convnext_atto', output_stride=8), size=(64, 96)),
    'timm_convnextv2_atto': Row(
        'encoder', dict(type='convnext.ConvNeXt', variant='atto', version=2),
        'timm.ConvNeXt', 'timm', _timm('convnextv2_atto'), size=(64, 96)),
    'transformers_convnextv2_atto': Row(
        'encoder', dict(type='convnext.ConvNeXt', variant='atto', version=2, output_norm=True),
        'transformers.ConvNeXt', 'transformers', _transformers('V2', *ATTO), size=(64, 96)),
}
