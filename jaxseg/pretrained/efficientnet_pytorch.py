"""Names of the package efficientnet-pytorch, which segmentation_models.pytorch uses as well."""

from jaxseg.pretrained.convert import IMAGENET_MEAN, IMAGENET_STD, Weights, norm_rules

BLOCK = r'_blocks\.(\d+)'
RULES = (
    (r'_conv_stem\.weight', r'params/stem_conv/kernel'), *norm_rules(r'_bn0', r'stem_bn'),
    (rf'{BLOCK}\._(expand|depthwise|project)_conv\.weight', r'params/block\1/\2_conv/kernel'),
    *(rule for index, name in enumerate(('expand', 'depthwise', 'project'))
      for rule in norm_rules(rf'{BLOCK}\._bn{index}', rf'block\1/{name}_bn')),
    (rf'{BLOCK}\._se_(reduce|expand)\.weight', r'params/block\1/squeeze_excite/\2/kernel'),
    (rf'{BLOCK}\._se_(reduce|expand)\.bias', r'params/block\1/squeeze_excite/\2/bias'))


class EfficientNet(Weights):
    """EfficientNet b0 to b7 for the encoder `efficientnet.EfficientNet`.

    Args:
      path: a checkpoint of efficientnet-pytorch. The convolution to 1,280 channels and the
        classifier are not used.
    """

    part, mean, std = 'encoder', IMAGENET_MEAN, IMAGENET_STD
    rules, first = RULES, 'params/stem_conv/kernel'
    unused = (r'_conv_head\.weight', r'_bn1\..*', r'_fc\.(weight|bias)',
              r'.*\.num_batches_tracked')


class EfficientNetLite(EfficientNet):
    """The same for EfficientNet-Lite, whose input is `(x - 127) / 128` of values up to 255."""

    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
