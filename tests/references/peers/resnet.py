"""Residual networks of torchvision and timm."""

from collections.abc import Callable
from typing import Any

from tests.references.parity import Row


def _torchvision(name: str, **options: Any) -> Callable:
    def build():
        import torchvision.models.feature_extraction

        module = getattr(torchvision.models, name)(**options)
        layers = ['relu', 'layer1', 'layer2', 'layer3', 'layer4']

        def forward(module, images):
            found = torchvision.models.feature_extraction.create_feature_extractor(module, layers)
            return list(found(images).values())

        return module, forward

    return build


def _timm(name: str, **options: Any) -> Callable:
    def build():
        import timm

        return timm.create_model(name, **options), lambda module, images: (
            module.forward_intermediates(images, intermediates_only=True))

    return build


ROWS = {
    'torchvision_resnet18': Row(
        'encoder', dict(type='resnet.ResNet', depth=18), 'torchvision.ResNet', 'torchvision',
        _torchvision('resnet18')),
    'torchvision_resnet50_stride8': Row(
        'encoder', dict(type='resnet.ResNet', depth=50, output_stride=8), 'torchvision.ResNet',
        'torchvision',
        _torchvision('resnet50', replace_stride_with_dilation=[False, True, True])),
    'timm_seresnet18': Row(
        'encoder', dict(type='resnet.ResNet', depth=18, squeeze_excite=True), 'timm.ResNet', 'timm',
        _timm('seresnet18')),
    'timm_resnet18d_stride8': Row(
        'encoder', dict(type='resnet.ResNet', depth=18, output_stride=8, deep_stem=True,
                        average_shortcut=True),
        'timm.ResNetD', 'timm', _timm('resnet18d', output_stride=8), size=(64, 96)),
    'timm_seresnext26d_32x4d': Row(
        'encoder', dict(type='resnet.ResNet', depth=26, groups=32, width_per_group=4,
                        deep_stem=True, average_shortcut=True, squeeze_excite=True),
        'timm.ResNetD', 'timm', _timm('seresnext26d_32x4d'), size=(64, 96)),
}
