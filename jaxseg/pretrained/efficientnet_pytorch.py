"""Names of the package efficientnet-pytorch, which segmentation_models.pytorch uses as well."""

from typing import ClassVar

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import batch_norm, layer

BLOCK = '_blocks.{i}'
RULES = (
    *layer('_conv_stem', 'stem_conv'), *batch_norm('_bn0', 'stem_bn'),
    *layer(BLOCK + '._{k:expand|depthwise|project}_conv', 'block{i}/{k}_conv'),
    *(rule for index, name in enumerate(('expand', 'depthwise', 'project'))
      for rule in batch_norm(f'{BLOCK}._bn{index}', 'block{i}/' + f'{name}_bn')),
    *layer(BLOCK + '._se_{k:reduce|expand}', 'block{i}/squeeze_excite/{k}'))


class EfficientNet(Weights):
    """EfficientNet b0 to b7 for the encoder `efficientnet.EfficientNet`.

    Args:
      path: a checkpoint of efficientnet-pytorch. The convolution to 1,280 channels and the
        classifier are not used. In that library the zeros are those of the side that the variant
        was trained with, which is the encoder's `padding_side`; TensorFlow, where the weights come
        from, has those of each image, as the encoder without it.
    """

    license = 'Apache-2.0'
    requires: ClassVar = {'padding': 'same', 'norm.epsilon': 1e-3}
    side: ClassVar = {'b0': 224, 'b1': 240, 'b2': 260, 'b3': 300, 'b4': 380, 'b5': 456, 'b6': 528,
                      'b7': 600}
    rules, first = RULES, 'params/stem_conv/kernel'
    unused = ('_conv_head.weight', '_bn1.*', '_fc.*', '*.num_batches_tracked')


class EfficientNetLite(EfficientNet):
    """The same for EfficientNet-Lite, whose input is `(x - 127) / 128` of values up to 255."""

    side: ClassVar = {'lite0': 224, 'lite1': 240, 'lite2': 260, 'lite3': 280, 'lite4': 300}
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
