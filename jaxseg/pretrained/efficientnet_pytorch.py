"""Names of the package efficientnet-pytorch, which segmentation_models.pytorch uses as well."""

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
        classifier are not used.
    """

    license = 'Apache-2.0'
    rules, first = RULES, 'params/stem_conv/kernel'
    unused = ('_conv_head.weight', '_bn1.*', '_fc.*', '*.num_batches_tracked')


class EfficientNetLite(EfficientNet):
    """The same for EfficientNet-Lite, whose input is `(x - 127) / 128` of values up to 255."""

    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
