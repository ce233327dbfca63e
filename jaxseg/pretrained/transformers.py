"""Names of models of the package transformers."""

from typing import ClassVar

from jaxseg.pretrained.convert import ModelWeights, Weights
from jaxseg.pretrained.names import batch_norm, layer, layer_norm, prefixed

BLOCK, OURS = 'encoder.stages.{i}.layers.{j}.', 'stage{i}_{j}/'
DOWNSAMPLE = 'encoder.stages.{i}.downsampling_layer.'
OUTPUT_NORMS = tuple(
    rule for stage in range(4)
    for rule in layer_norm(f'hidden_states_norms.stage{stage + 1}', f'output{stage}_norm'))
# Of a backbone alone; a classifier has 'convnext.' or 'convnextv2.' before every name.
CONVNEXT = (
    *layer('embeddings.patch_embeddings', 'stem_conv'),
    *layer_norm('embeddings.layernorm', 'stem_norm'),
    *layer_norm(DOWNSAMPLE + '0', 'downsample{i}_norm'),
    *layer(DOWNSAMPLE + '1', 'downsample{i}_conv'),
    *layer(BLOCK + 'dwconv', OURS + 'depthwise_conv'),
    *layer_norm(BLOCK + 'layernorm', OURS + 'norm'),
    *layer(BLOCK + 'pwconv1', OURS + 'expand'), *layer(BLOCK + 'pwconv2', OURS + 'project'),
    *layer_norm(BLOCK + 'grn', OURS + 'response_norm'),
    (BLOCK + 'layer_scale_parameter', f'params/{OURS}layer_scale'),
    *OUTPUT_NORMS)


class ConvNeXt(Weights):
    """ConvNeXt V1 and V2 for the encoder `convnext.ConvNeXt`.

    Args:
      path: a checkpoint of `ConvNextModel`, `ConvNextForImageClassification` or
        `ConvNextBackbone`, or of the same for V2; a backbone has the norms of `output_norm`. The
        last norm and the classifier of the others are not used.
    """

    rules = (*CONVNEXT, *prefixed(CONVNEXT, 'convnext.', ''),
             *prefixed(CONVNEXT, 'convnextv2.', ''))
    first = 'params/stem_conv/kernel'
    unused = ('layernorm.*', 'convnext.layernorm.*', 'convnextv2.layernorm.*', 'classifier.*')

LAYER, PLACE = 'encoder.block.{i}.{j}.', 'stage{i}_block{j}/'
MIT = (
    *layer('encoder.patch_embeddings.{i}.proj', 'embed{i}_conv'),
    *layer_norm('encoder.patch_embeddings.{i}.layer_norm', 'embed{i}_norm'),
    *layer(LAYER + 'attention.self.{part:query|key|value}', PLACE + '{part}'),
    *layer(LAYER + 'attention.self.sr', PLACE + 'reduce_conv'),
    *layer_norm(LAYER + 'attention.self.layer_norm', PLACE + 'reduce_norm'),
    *layer(LAYER + 'attention.output.dense', PLACE + 'out'),
    *layer(LAYER + 'mlp.dense1', PLACE + 'mlp_in'), *layer(LAYER + 'mlp.dense2', PLACE + 'mlp_out'),
    *layer(LAYER + 'mlp.dwconv.dwconv', PLACE + 'mlp_conv'),
    *layer_norm(LAYER + 'layer_norm_{k}', PLACE + 'norm{k}'),
    *layer_norm('encoder.layer_norm.{i}', 'stage{i}_norm'))


class MiT(Weights):
    """The encoder of SegFormer for the encoder `mit.MiT`.

    Args:
      path: a checkpoint of `SegformerModel`, `SegformerForImageClassification` or
        `SegformerForSemanticSegmentation`, with the names that `save_pretrained` writes. The
        classifier or decoder is not used.
    """

    rules, first = (*prefixed(MIT, 'segformer.', ''), *MIT), 'params/embed0_conv/kernel'
    unused = ('decode_head.*', 'classifier.*')


class Segformer(ModelWeights):
    """SegFormer for the encoder `mit.MiT`, the decoder `segformer.SegFormer` and a 1x1 head.

    Args:
      path: a checkpoint of `SegformerForSemanticSegmentation`, with the names that
        `save_pretrained` writes.
    """

    requires: ClassVar = {'align_corners': False}
    rules = (*prefixed(MIT, 'segformer.', 'encoder/'), *layer('decode_head.classifier', 'head'),
             *(rule for stage in range(4) for rule in layer(
                 f'decode_head.linear_c.{stage}.proj', f'decoder/linear{3 - stage}')),
             *layer('decode_head.linear_fuse', 'decoder/fuse_conv'),
             *batch_norm('decode_head.batch_norm', 'decoder/fuse_norm'))
    first, unused = 'params/encoder/embed0_conv/kernel', ('*.num_batches_tracked',)
