"""Names of the authors' HarDNets (PingoLH/Pytorch-HarDNet)."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import batch_norm, layer

LAYERS = {
    'base.{i}': 'base{i}', 'base.{i}.layers.{j}': 'base{i}_{j}',
    'base.{i}.layers.{j}.layer1': 'base{i}_{j}'}
DEPTHWISE = {'base.{i}': 'base{i}', 'base.{i}.layers.{j}.layer2': 'base{i}_{j}_depthwise'}
RULES = (
    *(rule for name, place in LAYERS.items()
      for rule in (*layer(f'{name}.conv', f'{place}_conv'),
                   *batch_norm(f'{name}.norm', f'{place}_norm'))),
    *(rule for name, place in DEPTHWISE.items()
      for rule in (*layer(f'{name}.dwconv', f'{place}_conv'),
                   *batch_norm(f'{name}.norm', f'{place}_norm'))))


class HarDNet(Weights):
    """HarDNet 39DS, 68, 68DS and 85 for the encoder `hardnet.HarDNet`.

    Args:
      path: a checkpoint of the authors. The classifier is not used.
    """

    rules, first = RULES, 'params/base0_conv/kernel'
    unused = ('base.*.3.weight', 'base.*.3.bias', '*.num_batches_tracked')
