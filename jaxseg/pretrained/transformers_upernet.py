"""Names of UPerNet of the package transformers."""

from typing import ClassVar

from jaxseg.pretrained import transformers, transformers_swin
from jaxseg.pretrained.convert import ModelWeights
from jaxseg.pretrained.names import Rule, batch_norm, layer, prefixed

# No name of one backbone is a name of the other with a different place.
BACKBONES = (*transformers.CONVNEXT, *transformers_swin.RULES)
STRIDES, BINS = (4, 8, 16), (1, 2, 3, 6)


def _conv(name: str, place: str, number: str = '') -> tuple[Rule, ...]:
    """The rules of `UperNetConvModule`."""
    return (*layer(f'{name}.conv', f'{place}conv{number}'),
            *batch_norm(f'{name}.batch_norm', f'{place}norm{number}'))


class UPerNet(ModelWeights):
    """UPerNet for the decoder `upernet.UPerNet` and a 1x1 head.

    The encoder is `convnext.ConvNeXt` or `swin.Swin` with `output_norm`. The auxiliary head is
    `fcn.FCN` with widths [256], kernel 3 and stage 2; without, its weights are not used.

    Args:
      path: a checkpoint of `UperNetForSemanticSegmentation`, with the names that `save_pretrained`
        writes.
    """

    requires: ClassVar = {'align_corners': False}
    rules = (
        *prefixed(BACKBONES, 'backbone.', 'encoder/'), *layer('decode_head.classifier', 'head'),
        *(rule for index, side in enumerate(BINS)
          for rule in _conv(f'decode_head.psp_modules.{index}.1', f'decoder/bin{side}_')),
        *_conv('decode_head.bottleneck', 'decoder/pool_'),
        *(rule for index, stride in enumerate(STRIDES) for rule in (
            *_conv(f'decode_head.lateral_convs.{index}', f'decoder/lateral{stride}_'),
            *_conv(f'decode_head.fpn_convs.{index}', f'decoder/level{stride}_'))),
        *_conv('decode_head.fpn_bottleneck', 'decoder/fuse_'),
        *_conv('auxiliary_head.convs.{i}', 'auxiliary/decoders_0/', '{i}'),
        *layer('auxiliary_head.classifier', 'auxiliary/heads_0'))
    first = 'params/encoder/stem_conv/kernel'
    unused = ('*.num_batches_tracked', '*.relative_position_index', 'backbone.layernorm.*',
              'backbone.swin.layernorm.*', 'auxiliary_head.convs.*', 'auxiliary_head.classifier.*')
