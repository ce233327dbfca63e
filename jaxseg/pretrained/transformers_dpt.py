"""Names of DPT of the library transformers, as in its files."""

from typing import ClassVar

from jaxseg.pretrained.convert import ModelWeights
from jaxseg.pretrained.names import Rule, batch_norm, layer, prefixed
from jaxseg.pretrained.transformers_vit import VIT

STAGES = 4
REASSEMBLE, FUSION = 'neck.reassemble_stage', 'neck.fusion_stage.layers'


def _stage(index: int) -> tuple[Rule, ...]:
    """The rules of a stage; there, fusions are counted from the deepest one on."""
    theirs, ours = f'{FUSION}.{STAGES - 1 - index}', f'decoder/fusion{index}'
    unit, our_unit = theirs + '.residual_layer{u}', ours + '_unit{u}'
    resize = f'decoder/reassemble{index}_resize'
    return (
        *layer(f'{REASSEMBLE}.readout_projects.{index}.0', f'decoder/readout{index}'),
        *layer(f'{REASSEMBLE}.layers.{index}.projection', f'decoder/reassemble{index}_project'),
        (f'{REASSEMBLE}.layers.{index}.resize.weight',
         f'params/{resize}/{"kernel" if index == STAGES - 1 else "transposed_kernel"}'),
        (f'{REASSEMBLE}.layers.{index}.resize.bias', f'params/{resize}/bias'),
        *layer(f'neck.convs.{index}', f'decoder/reassemble{index}_conv'),
        *layer(f'{theirs}.projection', f'{ours}_project'),
        *layer(unit + '.convolution{k}', our_unit + '_conv{k}'),
        *batch_norm(unit + '.batch_norm{k}', our_unit + '_norm{k}'))


class DPT(ModelWeights):
    """DPT for the encoder `vit.ViT`, the decoder `dpt.DPT` and a 1x1 head.

    The encoder of `dpt-large-ade` has the variant 'large', `grid=(24, 24)`, `class_features=True`
    and `resampling='bilinear'`, its decoder `readout='project'`; the model has
    `align_corners=True`. The auxiliary head, on the features of the decoder, is left out, and so is
    hybrid DPT. For images with an odd number of patches, which fail in the original, a map is
    resized to the next one here, and the reverse there.

    Args:
      path: a checkpoint of `DPTForSemanticSegmentation` with batch norm.
    """

    requires: ClassVar = {'align_corners': True, 'encoder.resampling': 'bilinear'}
    rules = (*prefixed(VIT, 'dpt.', 'encoder/'), *layer('head.head.4', 'head'),
             *(rule for index in range(STAGES) for rule in _stage(index)),
             *layer('head.head.0', 'decoder/head_conv'),
             *batch_norm('head.head.1', 'decoder/head_norm'))
    first = 'params/encoder/patch_embed/kernel'
    # The first residual unit of the deepest fusion has no input.
    unused = ('dpt.layernorm.*', 'dpt.pooler.*', 'auxiliary_head.*', '*.num_batches_tracked',
              f'{FUSION}.0.residual_layer1.*')
    mean, std = (0.5,) * 3, (0.5,) * 3
