"""Names of the Swin Transformers of the package transformers."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import layer, layer_norm, prefixed
from jaxseg.pretrained.transformers import OUTPUT_NORMS

# Of a backbone; a classifier has 'swin.' before every name.
BLOCK, OURS = 'encoder.layers.{i}.blocks.{j}.', 'stage{i}_{j}/'
RULES = (
    *layer('embeddings.patch_embeddings.projection', 'stem_conv'),
    *layer_norm('embeddings.norm', 'stem_norm'),
    *(rule for stage in range(3) for rule in (
        *layer_norm(f'encoder.layers.{stage}.downsample.norm', f'downsample{stage + 1}_norm'),
        *layer(f'encoder.layers.{stage}.downsample.reduction', f'downsample{stage + 1}_reduce'))),
    *layer_norm(BLOCK + 'layernorm_before', OURS + 'norm1'),
    *layer(BLOCK + 'attention.self.{k:query|key|value}', OURS + '{k}'),
    (BLOCK + 'attention.self.relative_position_bias_table', f'params/{OURS}relative_bias'),
    *layer(BLOCK + 'attention.output.dense', OURS + 'out'),
    *layer_norm(BLOCK + 'layernorm_after', OURS + 'norm2'),
    *layer(BLOCK + 'intermediate.dense', OURS + 'expand'),
    *layer(BLOCK + 'output.dense', OURS + 'project'),
    *OUTPUT_NORMS)


class Swin(Weights):
    """Swin Transformer for the encoder `swin.Swin`.

    Args:
      path: a checkpoint of `SwinModel`, `SwinForImageClassification` or `SwinBackbone`; a backbone
        has the norms of `output_norm`. The last norm and the classifier are not used.
    """

    rules = (*RULES, *prefixed(RULES, 'swin.', ''))
    first = 'params/stem_conv/kernel'
    unused = ('layernorm.*', 'swin.layernorm.*', 'classifier.*', '*.relative_position_index')
