"""Names of torchvision's models, which timm and segmentation_models.pytorch use as well."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import batch_norm, layer

RESNET = (
    *layer('conv1', 'conv1'), *batch_norm('bn1', 'bn1'),
    *layer('layer{i}.{j}.conv{k}', 'layer{i}_{j}/conv{k}'),
    *batch_norm('layer{i}.{j}.bn{k}', 'layer{i}_{j}/bn{k}'),
    *layer('layer{i}.{j}.downsample.0', 'layer{i}_{j}/downsample_conv'),
    *batch_norm('layer{i}.{j}.downsample.1', 'layer{i}_{j}/downsample_bn'))


class ResNet(Weights):
    """ResNet, ResNeXt and wide ResNet for the encoder `resnet.ResNet` with batch norm.

    Args:
      path: a checkpoint of torchvision, of timm's models of these names, or of an encoder of
        segmentation_models.pytorch. The classifier is not used.
    """

    rules, first = RESNET, 'params/conv1/kernel'
    unused = ('fc.*', '*.num_batches_tracked')


class VGG(Weights):
    """VGG 11, 13, 16 and 19 for the encoder `vgg.VGG`, with batch norm or none.

    Args:
      path: a checkpoint of torchvision, or of an encoder of segmentation_models.pytorch. The
        classifier is not used.
    """

    rules = (*layer('features.{i}', 'features_{i}'), *batch_norm('features.{i}', 'features_{i}'))
    unused = ('classifier.*', '*.num_batches_tracked')
    first = 'params/features_0/kernel'
