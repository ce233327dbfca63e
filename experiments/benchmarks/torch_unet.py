"""The network of `segmentation_models_pytorch.Unet('resnet18')`: from that package, or a copy."""

import importlib.util

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
    """ResNet-18 and five steps up."""

    def __init__(self, classes: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64),
                                  nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = [64, 64, 128, 256, 512]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(widths[i], widths[i + 1], 1 if i == 0 else 2),
                          Block(widths[i + 1], widths[i + 1], 1))
            for i in range(4))
        ups, skips = [512, 256, 128, 64, 32, 16], [256, 128, 64, 64, 0]
        self.ups = nn.ModuleList(Up(ups[i], skips[i], ups[i + 1]) for i in range(5))
        self.head = nn.Conv2d(16, classes, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = [None, self.stem(x)]
        x = self.pool(skips[-1])
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up in self.ups:
            x = up(x, skips.pop())
        return self.head(x)


def make_unet(classes: int) -> nn.Module:
    """The network, with random weights; 14,329,659 parameters at 11 classes."""
    if importlib.util.find_spec('segmentation_models_pytorch') is not None:
        import segmentation_models_pytorch

        return segmentation_models_pytorch.Unet('resnet18', encoder_weights=None, classes=classes)
    network = Unet(classes)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert classes != 11 or count == 14_329_659, count
    return network
