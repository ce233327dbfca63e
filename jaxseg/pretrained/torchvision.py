"""Names of torchvision's models, which timm and segmentation_models.pytorch use as well."""

from jaxseg.pretrained.convert import IMAGENET_MEAN, IMAGENET_STD, Weights, norm_rules

BLOCK = r'(layer\d)\.(\d+)'
RULES = (
    (r'conv1\.weight', r'params/conv1/kernel'), *norm_rules(r'bn1', r'bn1'),
    (rf'{BLOCK}\.(conv\d)\.weight', r'params/\1_\2/\3/kernel'),
    *norm_rules(rf'{BLOCK}\.(bn\d)', r'\1_\2/\3'),
    (rf'{BLOCK}\.downsample\.0\.weight', r'params/\1_\2/downsample_conv/kernel'),
    *norm_rules(rf'{BLOCK}\.downsample\.1', r'\1_\2/downsample_bn'))


class ResNet(Weights):
    """ResNet 18 to 152 for the encoder `resnet.ResNet` with batch norm.

    Args:
      path: a checkpoint of torchvision, of timm's `resnet18` ... `resnet152`, or of an encoder of
        segmentation_models.pytorch. The classifier is not used.
    """

    part, mean, std = 'encoder', IMAGENET_MEAN, IMAGENET_STD
    rules, first = RULES, 'params/conv1/kernel'
    unused = (r'fc\.(weight|bias)', r'.*\.num_batches_tracked')
