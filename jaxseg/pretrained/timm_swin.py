"""Names of the Swin Transformers of timm."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import layer, layer_norm

BLOCK, OURS, PARTS = 'layers.{i}.blocks.{j}.', 'stage{i}_{j}/', ('query', 'key', 'value')
RULES = (
    *layer('patch_embed.proj', 'stem_conv'), *layer_norm('patch_embed.norm', 'stem_norm'),
    *layer_norm('layers.{i}.downsample.norm', 'downsample{i}_norm'),
    *layer('layers.{i}.downsample.reduction', 'downsample{i}_reduce'),
    *layer_norm(BLOCK + 'norm{k}', OURS + 'norm{k}'),
    *((f'{BLOCK}attn.qkv.{kind}', tuple(f'params/{OURS}{part}/{ours}' for part in PARTS))
      for kind, ours in (('weight', 'kernel'), ('bias', 'bias'))),
    (BLOCK + 'attn.relative_position_bias_table', f'params/{OURS}relative_bias'),
    *layer(BLOCK + 'attn.proj', OURS + 'out'),
    *layer(BLOCK + 'mlp.fc1', OURS + 'expand'),
    *layer(BLOCK + 'mlp.fc2', OURS + 'project'))


class Swin(Weights):
    """Swin Transformer for the encoder `swin.Swin`.

    Args:
      path: a checkpoint of timm's `swin_*_window7_224` or `swin_*_window12_384`; the model needs
        the same `window`. The last norm and the classifier are not used.
    """

    rules, first = RULES, 'params/stem_conv/kernel'
    unused = ('norm.*', 'head.*', '*.relative_position_index', '*.attn_mask')
