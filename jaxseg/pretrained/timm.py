"""Names of timm's models."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import layer, layer_norm

BLOCK, OURS = 'stages.{i}.blocks.{j}.', 'stage{i}_{j}/'
CONVNEXT = (
    *layer('stem.0', 'stem_conv'), *layer_norm('stem.1', 'stem_norm'),
    *layer_norm('stages.{i}.downsample.0', 'downsample{i}_norm'),
    *layer('stages.{i}.downsample.1', 'downsample{i}_conv'),
    *layer(BLOCK + 'conv_dw', OURS + 'depthwise_conv'), *layer_norm(BLOCK + 'norm', OURS + 'norm'),
    *layer(BLOCK + 'mlp.fc1', OURS + 'expand'), *layer(BLOCK + 'mlp.fc2', OURS + 'project'),
    *layer_norm(BLOCK + 'mlp.grn', OURS + 'response_norm'),
    (BLOCK + 'gamma', f'params/{OURS}layer_scale'))


class ConvNeXt(Weights):
    """ConvNeXt V1 and V2 for the encoder `convnext.ConvNeXt`.

    Args:
      path: a checkpoint of timm's `convnext_*` or `convnextv2_*` with the usual stem ('ols' in the
        name means another). The norm after the last stage and the classifier are not used.
    """

    rules, first, unused = CONVNEXT, 'params/stem_conv/kernel', ('norm_pre.*', 'head.*')
