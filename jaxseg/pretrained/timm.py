"""Names of timm's models."""

from typing import ClassVar

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import batch_norm, layer, layer_norm
from jaxseg.pretrained.torchvision import RESNET

BLOCK, OURS = 'stages.{i}.blocks.{j}.', 'stage{i}_{j}/'
CONVNEXT = (
    *layer('stem.0', 'stem_conv'), *layer_norm('stem.1', 'stem_norm'),
    *layer_norm('stages.{i}.downsample.0', 'downsample{i}_norm'),
    *layer('stages.{i}.downsample.1', 'downsample{i}_conv'),
    *layer(BLOCK + 'conv_dw', OURS + 'depthwise_conv'), *layer_norm(BLOCK + 'norm', OURS + 'norm'),
    *layer(BLOCK + 'mlp.fc1', OURS + 'expand'), *layer(BLOCK + 'mlp.fc2', OURS + 'project'),
    *layer_norm(BLOCK + 'mlp.grn', OURS + 'response_norm'),
    (BLOCK + 'gamma', f'params/{OURS}layer_scale'))
SE_RESNET = (
    *RESNET, *layer('layer{i}.{j}.se.fc1', 'layer{i}_{j}/squeeze_excite/reduce'),
    *layer('layer{i}.{j}.se.fc2', 'layer{i}_{j}/squeeze_excite/expand'))
# Three convolutions in the stem, and a pooling before that of a shortcut.
RESNET_D = (
    *layer('conv1.0', 'conv1'), *batch_norm('conv1.1', 'bn1'),
    *layer('conv1.3', 'conv2'), *batch_norm('conv1.4', 'bn2'),
    *layer('conv1.6', 'conv3'), *batch_norm('bn1', 'bn3'),
    *layer('layer{i}.{j}.downsample.1', 'layer{i}_{j}/downsample_conv'),
    *batch_norm('layer{i}.{j}.downsample.2', 'layer{i}_{j}/downsample_bn'),
    *SE_RESNET)
# In the first block nothing expands; the last one of V3 is a single convolution.
MOBILE, MOBILE_OURS = 'blocks.{i}.{j}.', 'block{i}_{j}/'
MOBILENET = (
    *layer('conv_stem', 'stem_conv'), *batch_norm('bn1', 'stem_bn'),
    *layer('blocks.0.{j}.conv_pw', 'block0_{j}/project_conv'),
    *batch_norm('blocks.0.{j}.bn1', 'block0_{j}/depthwise_bn'),
    *batch_norm('blocks.0.{j}.bn2', 'block0_{j}/project_bn'),
    *layer(MOBILE + 'conv_pw', MOBILE_OURS + 'expand_conv'),
    *batch_norm(MOBILE + 'bn1', MOBILE_OURS + 'expand_bn'),
    *layer(MOBILE + 'conv_dw', MOBILE_OURS + 'depthwise_conv'),
    *batch_norm(MOBILE + 'bn2', MOBILE_OURS + 'depthwise_bn'),
    *layer(MOBILE + 'se.conv_{k:reduce|expand}', MOBILE_OURS + 'squeeze_excite/{k}'),
    *layer(MOBILE + 'conv_pwl', MOBILE_OURS + 'project_conv'),
    *batch_norm(MOBILE + 'bn3', MOBILE_OURS + 'project_bn'),
    *layer('blocks.{i}.0.conv', 'block{i}_0_conv'),
    *batch_norm('blocks.{i}.0.bn1', 'block{i}_0_bn'))


class ConvNeXt(Weights):
    """ConvNeXt V1 and V2 for the encoder `convnext.ConvNeXt`.

    Args:
      path: a checkpoint of timm's `convnext_*` or `convnextv2_*` with the usual stem ('ols' in the
        name means another). The norm after the last stage and the classifier are not used.
    """

    rules, first, unused = CONVNEXT, 'params/stem_conv/kernel', ('norm_pre.*', 'head.*')


class ResNet(Weights):
    """ResNet and ResNeXt, with and without squeeze and excitation, for `resnet.ResNet`.

    Args:
      path: a checkpoint of timm. The classifier is not used.
    """

    rules, first = SE_RESNET, 'params/conv1/kernel'
    unused = ('fc.*', '*.num_batches_tracked')


class ResNetD(ResNet):
    """The same for the models whose name ends in d, with a deep stem and average shortcuts."""

    rules = RESNET_D


class MobileNet(Weights):
    """MobileNet V2 and V3 for the encoders `mobilenet.MobileNetV2` and `.MobileNetV3`.

    Args:
      path: a checkpoint of timm's `mobilenetv2_*` without a d in the name, or of `mobilenetv3_*`.
        The convolution before the classifier, if any, and the classifier are not used.
    """

    rules, first = MOBILENET, 'params/stem_conv/kernel'
    requires: ClassVar = {'norm.epsilon': 1e-5}
    unused = ('conv_head.*', 'bn2.*', 'classifier.*', '*.num_batches_tracked')
