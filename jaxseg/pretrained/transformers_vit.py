"""Names of the vision transformers of the library transformers, as in its files."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import layer, layer_norm, prefixed

BLOCK, PLACE = 'encoder.layer.{i}', 'block{i}'
COMMON = (
    ('embeddings.cls_token', 'params/class_token'),
    ('embeddings.position_embeddings', 'params/position'),
    *layer('embeddings.patch_embeddings.projection', 'patch_embed'),
    *layer(BLOCK + '.attention.attention.{k:query|key|value}', PLACE + '/{k}'),
    *layer(f'{BLOCK}.attention.output.dense', f'{PLACE}/out'),
    *layer_norm('layernorm', 'norm'))
VIT = (
    *COMMON,
    *layer_norm(f'{BLOCK}.layernorm_before', f'{PLACE}/norm1'),
    *layer_norm(f'{BLOCK}.layernorm_after', f'{PLACE}/norm2'),
    *layer(f'{BLOCK}.intermediate.dense', f'{PLACE}/mlp_in'),
    *layer(f'{BLOCK}.output.dense', f'{PLACE}/mlp_out'))


class ViT(Weights):
    """ViT for the encoder `vit.ViT` with `resampling='plain'`.

    Args:
      path: a checkpoint of ViTModel, ViTForImageClassification or ViTForMaskedImageModeling; inputs
        are between -1 and 1. The final norm is used with `norm_taps`, what follows it never.
    """

    rules, first = (*VIT, *prefixed(VIT, 'vit.', '')), 'params/patch_embed/kernel'
    unused = ('*layernorm.weight', '*layernorm.bias', '*pooler.*', 'classifier.*', '*mask_token',
              'decoder.*')
    mean, std = (0.5,) * 3, (0.5,) * 3
