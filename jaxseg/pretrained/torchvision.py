"""Names of torchvision's models, which timm and segmentation_models.pytorch use as well."""

from collections.abc import Sequence
from typing import ClassVar

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import Rule, batch_norm, layer

RESNET = (
    *layer('conv1', 'conv1'), *batch_norm('bn1', 'bn1'),
    *layer('layer{i}.{j}.conv{k}', 'layer{i}_{j}/conv{k}'),
    *batch_norm('layer{i}.{j}.bn{k}', 'layer{i}_{j}/bn{k}'),
    *layer('layer{i}.{j}.downsample.0', 'layer{i}_{j}/downsample_conv'),
    *batch_norm('layer{i}.{j}.downsample.1', 'layer{i}_{j}/downsample_bn'))
DENSE_LAYER, OUR_DENSE_LAYER = 'features.denseblock{i}.denselayer{j}.', 'block{i}_layer{j}/'
# The published files have a dot before the number of a convolution or norm of a layer.
DENSENET = (
    *layer('features.conv0', 'conv0'), *batch_norm('features.norm0', 'norm0'),
    *(rule for dot in ('', '.') for rule in (
        *layer(f'{DENSE_LAYER}conv{dot}{{k}}', f'{OUR_DENSE_LAYER}conv{{k}}'),
        *batch_norm(f'{DENSE_LAYER}norm{dot}{{k}}', f'{OUR_DENSE_LAYER}norm{{k}}'))),
    *layer('features.transition{i}.conv', 'transition{i}_conv'),
    *batch_norm('features.transition{i}.norm', 'transition{i}_norm'),
    *batch_norm('features.norm5', 'norm5'))


def _conv_norm(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a convolution and its norm, `place_conv` and `place_bn`."""
    return (*layer(f'{name}.0', f'{place}conv'), *batch_norm(f'{name}.1', f'{place}bn'))


def _mobilenet_v2() -> tuple[Rule, ...]:
    """Blocks are numbered through; the first does not expand."""
    rules, number = [*_conv_norm('features.0', 'stem_')], 1
    for group, blocks in enumerate((1, 2, 3, 4, 3, 3, 1)):
        for index in range(blocks):
            name, place, start = f'features.{number}.conv', f'block{group}_{index}/', group > 0
            if start:
                rules += _conv_norm(f'{name}.0', f'{place}expand_')
            rules += _conv_norm(f'{name}.{start:d}', f'{place}depthwise_')
            rules += layer(f'{name}.{start + 1}', f'{place}project_conv')
            rules += batch_norm(f'{name}.{start + 2}', f'{place}project_bn')
            number += 1
    return tuple(rules)


def _mobilenet_v3(groups: Sequence[tuple[int, bool]]) -> tuple[Rule, ...]:
    """From the number of blocks of every group, and whether these squeeze and excite."""
    rules, number = [*_conv_norm('features.0', 'stem_')], 1
    for group, (blocks, squeeze) in enumerate(groups):
        for index in range(blocks):
            name, place, start = f'features.{number}.block', f'block{group}_{index}/', group > 0
            if start:
                rules += _conv_norm(f'{name}.0', f'{place}expand_')
            rules += _conv_norm(f'{name}.{start:d}', f'{place}depthwise_')
            if squeeze:
                rules += layer(f'{name}.{start + 1}.fc1', f'{place}squeeze_excite/reduce')
                rules += layer(f'{name}.{start + 1}.fc2', f'{place}squeeze_excite/expand')
            rules += _conv_norm(f'{name}.{start + 1 + squeeze}', f'{place}project_')
            number += 1
    return (*rules, *_conv_norm(f'features.{number}', f'block{len(groups)}_0_'))


class ResNet(Weights):
    """ResNet, ResNeXt and wide ResNet for the encoder `resnet.ResNet` with batch norm.

    Args:
      path: a checkpoint of torchvision, of timm's models of these names, or of an encoder of
        segmentation_models.pytorch. The classifier is not used.
    """

    side = 224
    rules, first = RESNET, 'params/conv1/kernel'
    unused = ('fc.*', '*.num_batches_tracked')


class VGG(Weights):
    """VGG 11, 13, 16 and 19 for the encoder `vgg.VGG`, with batch norm or none.

    Args:
      path: a checkpoint of torchvision, or of an encoder of segmentation_models.pytorch. The
        classifier is not used.
    """

    side = 224
    rules = (*layer('features.{i}', 'features_{i}'), *batch_norm('features.{i}', 'features_{i}'))
    unused = ('classifier.*', '*.num_batches_tracked')
    first = 'params/features_0/kernel'


class MobileNetV2(Weights):
    """MobileNet V2 for the encoder `mobilenet.MobileNetV2`.

    Args:
      path: a checkpoint of torchvision. The convolution to 1,280 channels and the classifier are
        not used.
    """

    side = 224
    rules, first = _mobilenet_v2(), 'params/stem_conv/kernel'
    unused = ('features.18.*', 'classifier.*', '*.num_batches_tracked')


class MobileNetV3Large(Weights):
    """MobileNet V3 large for the encoder `mobilenet.MobileNetV3`.

    Args:
      path: a checkpoint of torchvision. The classifier is not used.
    """

    side = 224
    rules = _mobilenet_v3(((1, False), (2, False), (3, True), (4, False), (2, True), (3, True)))
    first, unused = 'params/stem_conv/kernel', ('classifier.*', '*.num_batches_tracked')
    requires: ClassVar = {'norm.epsilon': 1e-3}


class MobileNetV3Small(MobileNetV3Large):
    """The same for MobileNet V3 small."""

    rules = _mobilenet_v3(((1, True), (2, False), (3, True), (2, True), (3, True)))


class DenseNet(Weights):
    """DenseNet 121, 161, 169 and 201 for the encoder `densenet.DenseNet`.

    Args:
      path: a checkpoint of torchvision, with the names of its published files or those that it
        saves, of timm, or of an encoder of segmentation_models.pytorch. The classifier is not used.
    """

    side = 224
    rules, first = DENSENET, 'params/conv0/kernel'
    unused = ('classifier.*', '*.num_batches_tracked')
