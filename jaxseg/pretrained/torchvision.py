"""Weights of torchvision's models, which timm and segmentation_models.pytorch name alike.

A source of weights has `part`, the part of the model that it fills; `mean` and `std` of the RGB
values between 0 and 1 that it was trained with; and `load(wanted)`, the variables of the part.
"""

import dataclasses
from typing import Any, ClassVar

from jaxseg.pretrained.convert import convert, norm_rules
from jaxseg.pretrained.tensors import read_tensors

# Of ImageNet, for every model of torchvision.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class ResNet:
    """ResNet 18 to 152 for the encoder `resnet.ResNet` with batch norm.

    Args:
      path: a checkpoint of torchvision, of timm's `resnet18` ... `resnet152`, or of an encoder of
        segmentation_models.pytorch (`.pth`, `.safetensors` and the other formats of
        `jaxseg.pretrained.tensors`). The classifier is not used.
    """

    path: str
    part: ClassVar[str] = 'encoder'
    mean: ClassVar[tuple[float, ...]] = MEAN
    std: ClassVar[tuple[float, ...]] = STD

    def load(self, wanted: Any) -> dict[str, Any]:
        """The variables of the encoder, for shapes as they are `wanted`.

        Raises:
          InputError: the file cannot be read, or its tensors are not those of this encoder.
        """
        rules = [(r'conv1\.weight', r'params/conv1/kernel'),
                 (r'(layer\d)\.(\d+)\.(conv\d)\.weight', r'params/\1_\2/\3/kernel'),
                 (r'(layer\d)\.(\d+)\.downsample\.0\.weight',
                  r'params/\1_\2/downsample_conv/kernel'),
                 *norm_rules(r'bn1', r'bn1'),
                 *norm_rules(r'(layer\d)\.(\d+)\.(bn\d)', r'\1_\2/\3'),
                 *norm_rules(r'(layer\d)\.(\d+)\.downsample\.1', r'\1_\2/downsample_bn')]
        return convert(self.path, read_tensors(self.path), wanted, rules,
                       unused=(r'fc\.(weight|bias)', r'.*\.num_batches_tracked'),
                       first='params/conv1/kernel')
