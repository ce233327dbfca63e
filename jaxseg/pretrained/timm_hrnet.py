"""Names of the HRNets of timm."""

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import Rule, batch_norm, layer


def conv_norm(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a convolution and the norm after it."""
    return (*layer(f'{name}.0', f'{place}_conv'), *batch_norm(f'{name}.1', f'{place}_bn'))


def block(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a residual block."""
    return (*layer(f'{name}.conv{{k}}', f'{place}/conv{{k}}'),
            *batch_norm(f'{name}.bn{{k}}', f'{place}/bn{{k}}'),
            *conv_norm(f'{name}.downsample', f'{place}/downsample'))


MODULE, OURS = 'stage{s}.{m}.', 'stage{s}_{m}/'


class HRNet(Weights):
    """HRNet for the encoder `hrnet.HRNet`, with or without `increase`.

    Args:
      path: a checkpoint of timm's `hrnet_*`. The classifier is not used.
    """

    rules = (
        *layer('conv{k}', 'conv{k}'), *batch_norm('bn{k}', 'bn{k}'),
        *block('layer1.{j}', 'layer1_{j}'),
        *conv_norm('transition1.0', 'transition1_0'),
        *conv_norm('transition{i}.{i}.0', 'transition{i}_{i}'),
        *block(MODULE + 'branches.{b}.{j}', OURS + 'branch{b}_{j}'),
        *conv_norm(MODULE + 'fuse_layers.{i}.{j}', OURS + 'fuse{i}_{j}'),
        *conv_norm(MODULE + 'fuse_layers.{i}.{j}.{k}', OURS + 'fuse{i}_{j}_{k}'),
        *block('incre_modules.{i}.0', 'increase{i}'))
    first = 'params/conv1/kernel'
    unused = ('incre_modules.*', 'downsamp_modules.*', 'final_layer.*', 'classifier.*',
              '*.num_batches_tracked')
