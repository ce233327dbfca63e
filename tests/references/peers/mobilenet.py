"""MobileNets of torchvision and timm."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.references.parity import Row


def _torchvision(name: str, last: Sequence[int]) -> Callable:
    """`last`: the places of the layers whose outputs are stages."""
    def build():
        import torchvision

        def forward(module, images):
            outputs, x = [], images
            for index, layer in enumerate(module.features):
                x = layer(x)
                outputs += [x] if index in last else []
            return outputs

        return getattr(torchvision.models, name)(), forward

    return build


def _timm(name: str, **options: Any) -> Callable:
    def build():
        import timm

        return timm.create_model(name, **options), lambda module, images: (
            module.forward_intermediates(images, intermediates_only=True))

    return build


TIMM_NORM = {'kind': 'batch', 'epsilon': 1e-5}
ROWS = {
    'torchvision_mobilenet_v2': Row(
        'encoder', dict(type='mobilenet.MobileNetV2'), 'torchvision.MobileNetV2', 'torchvision',
        _torchvision('mobilenet_v2', (1, 3, 6, 13, 17))),
    'torchvision_mobilenet_v3_large': Row(
        'encoder', dict(type='mobilenet.MobileNetV3'), 'torchvision.MobileNetV3Large',
        'torchvision', _torchvision('mobilenet_v3_large', (1, 3, 6, 12, 16))),
    'timm_mobilenetv2_035_stride8': Row(
        'encoder', dict(type='mobilenet.MobileNetV2', width_multiplier=0.35, output_stride=8),
        'timm.MobileNet', 'timm', _timm('mobilenetv2_035', output_stride=8)),
    'timm_mobilenetv3_small_050': Row(
        'encoder', dict(type='mobilenet.MobileNetV3', variant='small', width_multiplier=0.5,
                        norm=TIMM_NORM), 'timm.MobileNet', 'timm', _timm('mobilenetv3_small_050')),
}
