"""Names of models of the package transformers."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import layer, layer_norm, prefixed

BLOCK, OURS = 'encoder.stages.{i}.layers.{j}.', 'stage{i}_{j}/'
DOWNSAMPLE = 'encoder.stages.{i}.downsampling_layer.'
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
    *(rule for stage in range(4) for rule in layer_norm(f'hidden_states_norms.stage{stage + 1}',
                                                        f'output{stage}_norm')))


class ConvNeXt(Weights):
    """ConvNeXt V1 and V2 for the encoder `convnext.ConvNeXt`.

    Args:
      path: a checkpoint of `ConvNextModel`, `ConvNextForImageClassification` or
        `ConvNextBackbone`, or of the same for V2; a backbone has the norms of `output_norm`. The
        last norm and the classifier of the others are not used.
    """

    rules = (*prefixed(CONVNEXT, 'convnext.', ''), *prefixed(CONVNEXT, 'convnextv2.', ''),
             *CONVNEXT)
    first = 'params/stem_conv/kernel'
    unused = ('layernorm.*', 'convnext.layernorm.*', 'convnextv2.layernorm.*', 'classifier.*')
