"""EfficientNets of timm, V1 and V2."""

from collections.abc import Callable
from typing import Any

from tests.references.parity import Row


def _timm(name: str, **options: Any) -> Callable:
    def build():
        import timm

        return timm.create_model(name, **options), lambda module, images: (
            module.forward_intermediates(images, intermediates_only=True))

    return build


TORCH = dict(padding='symmetric', norm=dict(kind='batch'))
V1, V2 = 'timm_efficientnet.EfficientNetB0', 'timm_efficientnet.EfficientNetV2'
ROWS = {
    'timm_tf_efficientnet_b0': Row(
        'encoder', dict(type='efficientnet.EfficientNet'), V1, 'timm',
        _timm('tf_efficientnet_b0')),
    'timm_efficientnet_lite0': Row(
        'encoder', dict(type='efficientnet.EfficientNet', variant='lite0', **TORCH), V1, 'timm',
        _timm('efficientnet_lite0')),
    'timm_tf_efficientnetv2_b0_stride16': Row(
        'encoder', dict(type='efficientnet_v2.EfficientNetV2', variant='b0', output_stride=16), V2,
        'timm', _timm('tf_efficientnetv2_b0', output_stride=16)),
}
