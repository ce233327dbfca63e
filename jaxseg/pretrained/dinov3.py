"""Names of DINOv3 as its authors publish it (facebookresearch/dinov3)."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import layer
from jaxseg.pretrained.timm_vit import ATTENTION, BLOCK, MLP, PLACE, TOKENS

COMMON = (
    # The bias of the key is masked.
    (f'{BLOCK}.attn.qkv.bias', (f'params/{PLACE}/query/bias', '', f'params/{PLACE}/value/bias')),
    ('storage_tokens', 'params/registers'), *TOKENS, *ATTENTION)


class DINOv3(Weights):
    """DINOv3 for the encoder `dinov3.DINOv3`.

    Its wavelengths, which the checkpoint holds rounded to bfloat16, are computed in float32, as
    timm and transformers do.

    Args:
      path: a checkpoint such as `dinov3_vits16_pretrain_lvd1689m.pth`.
    """

    rules, first = (*COMMON, *MLP), 'params/patch_embed/kernel'
    unused = ('norm.*', 'local_cls_norm.*', 'mask_token', '*.bias_mask', 'rope_embed.periods')


class DINOv3SwiGLU(DINOv3):
    """The same for small plus, huge plus and 7b, with `mlp='swiglu'`."""

    rules = (*COMMON, *layer(f'{BLOCK}.mlp.w1', f'{PLACE}/mlp_gate'),
             *layer(f'{BLOCK}.mlp.w2', f'{PLACE}/mlp_in'),
             *layer(f'{BLOCK}.mlp.w3', f'{PLACE}/mlp_out'))
