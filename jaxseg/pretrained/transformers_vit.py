"""Names of the vision transformers of the library transformers, as in its files."""

from typing import ClassVar

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import layer, layer_norm, prefixed
from jaxseg.pretrained.timm_vit import fused

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

    requires: ClassVar = {'resampling': 'plain'}
    rules, first = (*VIT, *prefixed(VIT, 'vit.', '')), 'params/patch_embed/kernel'
    unused = ('*layernorm.weight', '*layernorm.bias', '*pooler.*', 'classifier.*', '*mask_token',
              'decoder.*')
    mean, std = (0.5,) * 3, (0.5,) * 3


DINOV2 = (
    *COMMON, ('embeddings.register_tokens', 'params/registers'),
    *layer_norm(BLOCK + '.norm{k}', PLACE + '/norm{k}'),
    (BLOCK + '.layer_scale{k}.lambda1', f'params/{PLACE}' + '/scale{k}'))
DINOV2_MLP = (
    *DINOV2, *layer(f'{BLOCK}.mlp.fc1', f'{PLACE}/mlp_in'),
    *layer(f'{BLOCK}.mlp.fc2', f'{PLACE}/mlp_out'))
DINOV2_GIANT = (
    *DINOV2, *fused(f'{BLOCK}.mlp.weights_in', f'{PLACE}/mlp_gate', f'{PLACE}/mlp_in'),
    *layer(f'{BLOCK}.mlp.weights_out', f'{PLACE}/mlp_out'))


class DINOv2(Weights):
    """DINOv2 for the encoder `vit.ViT`.

    It has `patch=14`, `grid=(37, 37)`, `layer_scale=1.0`, `norm_taps=True`, and without registers
    `resampling='plain'`, else `registers=4`.

    Args:
      path: a checkpoint of Dinov2Model, Dinov2WithRegistersModel or their classifiers.
    """

    rules = (*DINOV2_MLP, *prefixed(DINOV2_MLP, 'dinov2.', ''),
             *prefixed(DINOV2_MLP, 'dinov2_with_registers.', ''))
    first = ViT.first
    unused = ('*layernorm.weight', '*layernorm.bias', '*mask_token', 'classifier.*')


class DINOv2Giant(DINOv2):
    """The same for the giant one, of variant 'giant'."""

    rules = (*DINOV2_GIANT, *prefixed(DINOV2_GIANT, 'dinov2.', ''),
             *prefixed(DINOV2_GIANT, 'dinov2_with_registers.', ''))


LAYER = 'layer.{i}'
DINOV3 = (
    ('embeddings.cls_token', 'params/class_token'),
    ('embeddings.register_tokens', 'params/registers'),
    *layer('embeddings.patch_embeddings', 'patch_embed'), *layer_norm('norm', 'norm'),
    *layer_norm(LAYER + '.norm{k}', PLACE + '/norm{k}'),
    (LAYER + '.layer_scale{k}.lambda1', f'params/{PLACE}' + '/scale{k}'),
    *(rule for theirs, ours in (('q', 'query'), ('k', 'key'), ('v', 'value'), ('o', 'out'))
      for rule in layer(f'{LAYER}.attention.{theirs}_proj', f'{PLACE}/{ours}')),
    *(rule for theirs, ours in (('gate', 'mlp_gate'), ('up', 'mlp_in'), ('down', 'mlp_out'))
      for rule in layer(f'{LAYER}.mlp.{theirs}_proj', f'{PLACE}/{ours}')))


class DINOv3(Weights):
    """DINOv3 for the encoder `dinov3.DINOv3`.

    Args:
      path: a checkpoint of DINOv3ViTModel.
    """

    # Some versions of the library write `model.` before the blocks.
    rules, first = (*DINOV3, *prefixed(DINOV3, 'model.', '')), ViT.first
    unused = ('norm.*', 'embeddings.mask_token')
