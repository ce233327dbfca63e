"""Names of DINOv2 as its authors publish it (facebookresearch/dinov2)."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import layer
from jaxseg.pretrained.timm_vit import ATTENTION, BLOCK, MLP, PLACE, TOKENS, fused

REGISTERS = (('register_tokens', 'params/registers'),)


class DINOv2(Weights):
    """DINOv2 for the encoder `vit.ViT`.

    It has `patch=14`, `grid=(37, 37)`, `layer_scale=1e-5`, `norm_taps=True`, and without registers
    `resampling='offset'`, else `registers=4`.

    Args:
      path: a checkpoint such as `dinov2_vits14_pretrain.pth`.
    """

    side = 518
    rules = (*TOKENS, *REGISTERS, *ATTENTION, *MLP)
    first, unused = 'params/patch_embed/kernel', ('norm.*', 'mask_token')


class DINOv2Giant(DINOv2):
    """The same for the giant one, of variant 'giant'."""

    rules = (*TOKENS, *REGISTERS, *ATTENTION,
             *fused(f'{BLOCK}.mlp.w12', f'{PLACE}/mlp_gate', f'{PLACE}/mlp_in'),
             *layer(f'{BLOCK}.mlp.w3', f'{PLACE}/mlp_out'))
