"""DenseNets of torchvision, with the stages of segmentation_models.pytorch."""

from collections.abc import Callable
from typing import Any

from tests.references.parity import Row


def _smp(name: str) -> Callable:
    def build() -> tuple[Any, Callable]:
        import segmentation_models_pytorch as smp

        module = smp.encoders.get_encoder(name, weights=None)
        return module, lambda module, images: module(images)[1:]  # the first are the images

    return build


ROWS = {
    'smp_densenet121': Row('encoder', dict(type='densenet.DenseNet', depth=121),
                           'torchvision.DenseNet', 'segmentation_models_pytorch',
                           _smp('densenet121'), size=(64, 96)),
}
