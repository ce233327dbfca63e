"""The nested expanding paths of U-Net++."""

from typing import Literal

import flax.linen as nn
import jax

from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.deep_supervision import supervise
from jaxseg.layers.double_conv import upsample_double_conv
from jaxseg.layers.norm import NormSpec
from jaxseg.layers.stages import Stages, at_stride, deepest, first_stride


class UNetPlusPlus(nn.Module):
    """U-Net from every stage of the encoder, each with the features of the shorter ones.

    Zhou et al. 2018, arXiv:1807.10165; the decoder of segmentation_models.pytorch. Stages ->
    features at the deepest stage's stride / 2 ** len(widths). At every step, node 0 goes on from
    the last stage, node 1 from the stage before and so on. A node doubles the size of the node with
    its number one step before (nearest neighbour) or, if it is the first of its path, of the stage;
    concatenates the nodes of higher number at the same step and the stage there; and applies two
    3x3 convolutions with norm and ReLU. Where the encoder has no stage at a step, only node 0 is.

    Args:
      widths: channels of node 0 at every step. Other nodes have those of the stage at their step.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      attention: 'scse' weights channels and positions before and after the convolutions of a node
        (`jaxseg.layers.scse`).
      supervised_nodes: how many nodes of the finest step with a stage have a head and a loss of
        their own in training (deep supervision, as in the paper), beside node 0 and from node 1 on,
        the results of shorter and shorter paths.

    Raises:
      InputError: more widths than steps to stride 1; fewer such nodes than supervised.
    """

    widths: tuple[PositiveInt, ...] = (256, 128, 64, 32, 16)
    norm: NormSpec = 'batch'
    attention: Literal['none', 'scse'] = 'none'
    supervised_nodes: NonNegativeInt = 0

    @nn.compact
    def __call__(self, stages: Stages, *, train: bool) -> jax.Array:
        stride, scse = first_stride(stages, self.widths, 'decoder.widths'), self.attention == 'scse'
        # Nodes of one step in order of their number, and the stage there.
        before, shorter = [deepest(stages).features], []
        for width in self.widths:
            stride //= 2
            skip = at_stride(stages, stride)
            step = [] if skip is None else [skip.features]
            for number in reversed(range(len(before) if skip else 1)):
                features = width if number == 0 else skip.features.shape[-1]
                x = upsample_double_conv(
                    before[number], step, features, self.norm, f'up{stride}_node{number}',
                    train=train, scse=(scse and (bool(step) or stride > 1), scse))
                step = [x, *step]
            if skip is not None:
                shorter = step[1:-1]  # without the stage itself
            before = step
        supervise(self, 'supervised_nodes', shorter, train=train)
        return before[0]
