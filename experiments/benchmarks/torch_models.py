"""The networks of step.py in PyTorch: from segmentation_models_pytorch, or written out here.

`Unet` is `segmentation_models_pytorch.Unet('resnet18')`, of any width and number of steps.
"""

import importlib.util
from collections.abc import Callable

import torch
from torch import nn


class Block(nn.Module):
    """The basic block of a ResNet."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if stride == 1 and inputs == width else nn.Sequential(
            nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class Up(nn.Module):
    """One step up: nearest upsampling, the skip, two convolutions."""

    def __init__(self, inputs: int, skip: int, width: int):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(inputs + skip, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        x = nn.functional.interpolate(x, scale_factor=2, mode='nearest')
        return self.convs(x if skip is None else torch.cat([x, skip], 1))


class Unet(nn.Module):
    """ResNet-18 of a width and one step up for each of `ups`."""

    def __init__(self, classes: int, width: int = 64, ups: tuple[int, ...] = (256, 128, 64, 32, 16)
                 ):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width),
                                  nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = [width, *(width * 2 ** index for index in range(4))]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(widths[i], widths[i + 1], 1 if i == 0 else 2),
                          Block(widths[i + 1], widths[i + 1], 1))
            for i in range(4))
        skips = [*widths[-2::-1], 0]
        inputs = [widths[-1], *ups]
        self.ups = nn.ModuleList(Up(inputs[i], skips[i], ups[i]) for i in range(len(ups)))
        self.head = nn.Conv2d(ups[-1], classes, 3, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        size, x = images.shape[2:], images
        # As jaxseg does where the encoder has stride 32, and segmentation_models.pytorch refuses.
        inside = x.shape[2:]
        right, bottom = -inside[1] % 32, -inside[0] % 32
        x = nn.functional.pad(x, (0, right, 0, bottom), mode='replicate')
        skips = [None, self.stem(x)]
        x = self.pool(skips[-1])
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up in self.ups:
            x = up(x, skips.pop())
        x = self.head(x)
        if x.shape[2:] == size:
            return x
        factor = 2 ** (5 - len(self.ups))
        x = x[:, :, :-(-inside[0] // factor), :-(-inside[1] // factor)]
        return nn.functional.interpolate(x, size, mode='bilinear')


def make(name: str, classes: int) -> nn.Module | None:
    """The network of that name, with random weights; None without the package that has it."""
    written = {'resnet18_unet': lambda: Unet(classes),
               'camvid_convolutional': lambda: Unet(classes, 32, (128, 64, 64, 32))}
    smp = importlib.util.find_spec('segmentation_models_pytorch') is not None
    found: dict[str, Callable] = {**written, **(_of_smp(classes) if smp else {})}
    return found[name]() if name in found else None


def _of_smp(classes: int) -> dict[str, Callable]:
    import segmentation_models_pytorch as smp

    given = dict(encoder_weights=None, classes=classes)
    return {
        'resnet18_unet': lambda: smp.Unet('resnet18', **given),
        'mobilenetv3_deeplab': lambda: smp.DeepLabV3Plus(
            'tu-mobilenetv3_large_100', encoder_output_stride=16, **given),
        'mit_b0_segformer': lambda: smp.Segformer('mit_b0', **given),
        'convnext_tiny_upernet': lambda: smp.UPerNet('tu-convnext_tiny', **given)}
