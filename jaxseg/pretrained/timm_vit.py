"""Names of timm's vision transformers."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import Rule, layer, layer_norm

BLOCK, PLACE = 'blocks.{i}', 'block{i}'


def fused(name: str, *places: str) -> tuple[Rule, ...]:
    """The rules of a linear layer that holds several of ours one after the other."""
    return tuple((f'{name}.{kind}', tuple(f'params/{place}/{ours}' for place in places))
                 for kind, ours in (('weight', 'kernel'), ('bias', 'bias')))


TOKENS = (('cls_token', 'params/class_token'), ('pos_embed', 'params/position'),
          *layer('patch_embed.proj', 'patch_embed'), *layer_norm('norm', 'norm'))
ATTENTION = (
    *layer_norm(f'{BLOCK}.norm{{k}}', f'{PLACE}/norm{{k}}'),
    *fused(f'{BLOCK}.attn.qkv', f'{PLACE}/query', f'{PLACE}/key', f'{PLACE}/value'),
    *layer(f'{BLOCK}.attn.proj', f'{PLACE}/out'),
    (f'{BLOCK}.ls{{k}}.gamma', f'params/{PLACE}/scale{{k}}'))
MLP = (*layer(f'{BLOCK}.mlp.fc1', f'{PLACE}/mlp_in'),
       *layer(f'{BLOCK}.mlp.fc2', f'{PLACE}/mlp_out'))
GATED_MLP = (*fused(f'{BLOCK}.mlp.fc1', f'{PLACE}/mlp_gate', f'{PLACE}/mlp_in'),
             *layer(f'{BLOCK}.mlp.fc2', f'{PLACE}/mlp_out'))
REGISTERS = (('reg_token', 'params/registers'),)


class ViT(Weights):
    """ViT for the encoder `vit.ViT`.

    Args:
      path: a checkpoint of timm's `vit_*` with class token, of Google's training recipes: inputs
        are between -1 and 1. The classifier is not used, and the norm before it only with
        `norm_taps`.
    """

    rules, first = TOKENS + ATTENTION + MLP, 'params/patch_embed/kernel'
    unused = ('norm.*', 'fc_norm.*', 'head.*')
    mean, std = (0.5,) * 3, (0.5,) * 3


class DeiT(Weights):
    """DeiT (`deit_*`), distilled DeiT with `registers=1` and `token_positions='all'`, and DeiT III.

    DeiT III (`deit3_*`) has `token_positions='none'` and `layer_scale`.
    """

    rules = (('dist_token', 'params/registers'), *ViT.rules)
    first, unused = ViT.first, (*ViT.unused, 'head_dist.*')


class DINOv2(Weights):
    """DINOv2 (`vit_*_dinov2`) with `norm_taps`, `layer_scale`, patch 14 and grid (37, 37).

    With registers (`vit_*_reg4_dinov2`) timm's class token includes its position:
    `token_positions='none'`.
    """

    rules, first = REGISTERS + ViT.rules, ViT.first
    unused = ViT.unused


class DINOv2Giant(DINOv2):
    """The same for the giant one, of variant 'giant'."""

    rules = REGISTERS + TOKENS + ATTENTION + GATED_MLP


DINOV3 = (
    (BLOCK + '.gamma_{k}', f'params/{PLACE}' + '/scale{k}'),
    (f'{BLOCK}.attn.q_bias', f'params/{PLACE}/query/bias'),
    (f'{BLOCK}.attn.v_bias', f'params/{PLACE}/value/bias'),
    *TOKENS, *REGISTERS, *ATTENTION)


class DINOv3(Weights):
    """DINOv3 (`vit_*_dinov3`) for the encoder `dinov3.DINOv3`.

    It has `qkv_bias=False`, but for `vit_*_dinov3_qkvb`.
    """

    rules, first = DINOV3 + MLP, ViT.first
    unused = ViT.unused


class DINOv3SwiGLU(DINOv3):
    """The same for small plus, huge plus and 7b, with `mlp='swiglu'`."""

    rules = (*DINOV3, *layer(f'{BLOCK}.mlp.fc1_g', f'{PLACE}/mlp_gate'),
             *layer(f'{BLOCK}.mlp.fc1_x', f'{PLACE}/mlp_in'),
             *layer(f'{BLOCK}.mlp.fc2', f'{PLACE}/mlp_out'))
