"""VGG networks of torchvision."""

from collections.abc import Callable

from tests.references.parity import Row


def _torchvision(name: str) -> Callable:
    def build():
        import torch
        import torchvision

        module = getattr(torchvision.models, name)()
        module.classifier = torch.nn.Linear(4, 4)  # the whole one has 120 million numbers

        def forward(module, images):
            outputs, x = [], images
            for layer in module.features:
                if isinstance(layer, torch.nn.MaxPool2d):
                    outputs.append(x)
                x = layer(x)
            return [*outputs, x]

        return module, forward

    return build


ROWS = {
    'torchvision_vgg11': Row('encoder', dict(type='vgg.VGG', depth=11, norm=None),
                             'torchvision.VGG', 'torchvision', _torchvision('vgg11')),
    'torchvision_vgg13_bn': Row('encoder', dict(type='vgg.VGG', depth=13), 'torchvision.VGG',
                                'torchvision', _torchvision('vgg13_bn'), size=(64, 96)),
}
