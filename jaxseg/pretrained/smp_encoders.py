"""Names of encoders that segmentation_models.pytorch defines itself."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import Rule, layer, layer_norm


def _mit_stage(number: int) -> tuple[Rule, ...]:
    """The rules of a stage, which count from 1 there and from 0 here."""
    block, place = f'block{number}.' + '{j}.', f'stage{number - 1}_block' + '{j}/'
    key_and_value = [(f'{block}attn.kv.{name}', tuple(
        f'params/{place}{part}/{ours}' for part in ('key', 'value')))
        for name, ours in (('weight', 'kernel'), ('bias', 'bias'))]
    return (
        *layer(f'patch_embed{number}.proj', f'embed{number - 1}_conv'),
        *layer_norm(f'patch_embed{number}.norm', f'embed{number - 1}_norm'),
        *layer(block + 'attn.q', place + 'query'), *key_and_value,
        *layer(block + 'attn.sr', place + 'reduce_conv'),
        *layer_norm(block + 'attn.norm', place + 'reduce_norm'),
        *layer(block + 'attn.proj', place + 'out'),
        *layer(block + 'mlp.fc1', place + 'mlp_in'), *layer(block + 'mlp.fc2', place + 'mlp_out'),
        *layer(block + 'mlp.dwconv.dwconv', place + 'mlp_conv'),
        *layer_norm(block + 'norm{k}', place + 'norm{k}'),
        *layer_norm(f'norm{number}', f'stage{number - 1}_norm'))


class MiT(Weights):
    """Mix Transformer b0 to b5 for the encoder `mit.MiT`.

    Args:
      path: a checkpoint of an encoder `mit_b0` to `mit_b5`, or of the authors of SegFormer, whose
        classifier is not used.
    """

    side = 224
    rules = tuple(rule for number in (1, 2, 3, 4) for rule in _mit_stage(number))
    first, unused = 'params/embed0_conv/kernel', ('head.*',)
