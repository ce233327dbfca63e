"""Names of the EfficientNets of timm."""

import math
from typing import ClassVar

from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import Rule, batch_norm, layer

GROUPS = (1, 2, 2, 3, 3, 4, 1)  # blocks of b0
STEM = (*layer('conv_stem', 'stem_conv'), *batch_norm('bn1', 'stem_bn'))
# Convolutions of a block, each with the number of its norm, and what they are here.
SEPARABLE = {'conv_dw': 'depthwise', 'conv_pw': 'project'}
INVERTED = {'conv_pw': 'expand', 'conv_dw': 'depthwise', 'conv_pwl': 'project'}
FUSED = {'conv_exp': 'expand', 'conv_pwl': 'project'}
PLAIN = {'conv': 'expand'}
UNUSED = ('conv_head.*', 'bn2.*', 'classifier.*', '*.num_batches_tracked')


def block(name: str, place: str, convolutions: dict[str, str]) -> tuple[Rule, ...]:
    """The rules of a block of one kind."""
    return (*layer(f'{name}.se.conv_{{k:reduce|expand}}', f'{place}/squeeze_excite/{{k}}'), *(
        rule for number, (theirs, ours) in enumerate(convolutions.items(), 1) for rule in (
            *layer(f'{name}.{theirs}', f'{place}/{ours}_conv'),
            *batch_norm(f'{name}.bn{number}', f'{place}/{ours}_bn'))))


def numbered(depth: float, lite: bool = False) -> tuple[Rule, ...]:
    """The rules of V1, whose blocks are numbered within a group there and throughout here."""
    counts = [count if lite and count == 1 else math.ceil(count * depth) for count in GROUPS]
    places = [(group, place) for group, count in enumerate(counts) for place in range(count)]
    return (*STEM, *(rule for index, (group, place) in enumerate(places)
                     for rule in block(f'blocks.{group}.{place}', f'block{index}',
                                       INVERTED if group else SEPARABLE)))


V2 = (*STEM, *block('blocks.{i:1|2}.{j}', 'group{i}_{j}', FUSED),
      *block('blocks.{i:3|4|5|6}.{j}', 'group{i}_{j}', INVERTED))


class EfficientNetB0(Weights):
    """EfficientNet b0, and Lite 0 of PyTorch, for the encoder `efficientnet.EfficientNet`.

    Args:
      path: a checkpoint of timm's `tf_efficientnet_*`, or of `efficientnet_*`, for which the
        encoder needs padding='symmetric' and norm=dict(kind='batch'). The convolution to 1,280
        channels and the classifier are not used.
    """

    rules, first, unused = numbered(1.0), 'params/stem_conv/kernel', UNUSED


class EfficientNetB1(EfficientNetB0):
    """The same for b1."""

    rules = numbered(1.1)


class EfficientNetB2(EfficientNetB0):
    """The same for b2."""

    rules = numbered(1.2)


class EfficientNetB3(EfficientNetB0):
    """The same for b3."""

    rules = numbered(1.4)


class EfficientNetB4(EfficientNetB0):
    """The same for b4."""

    rules = numbered(1.8)


class EfficientNetB5(EfficientNetB0):
    """The same for b5."""

    rules = numbered(2.2)


class EfficientNetB6(EfficientNetB0):
    """The same for b6."""

    rules = numbered(2.6)


class EfficientNetB7(EfficientNetB0):
    """The same for b7."""

    rules = numbered(3.1)


class EfficientNetLite0(EfficientNetB0):
    """The same for `tf_efficientnet_lite0`, whose inputs are between -1 and 1."""

    mean, std = (0.5,) * 3, (0.5,) * 3


class EfficientNetLite1(EfficientNetLite0):
    """The same for `tf_efficientnet_lite1`."""

    rules = numbered(1.1, lite=True)


class EfficientNetLite2(EfficientNetLite0):
    """The same for `tf_efficientnet_lite2`."""

    rules = numbered(1.2, lite=True)


class EfficientNetLite3(EfficientNetLite0):
    """The same for `tf_efficientnet_lite3`."""

    rules = numbered(1.4, lite=True)


class EfficientNetLite4(EfficientNetLite0):
    """The same for `tf_efficientnet_lite4`."""

    rules = numbered(1.8, lite=True)


class EfficientNetV2(Weights):
    """EfficientNetV2 for the encoder `efficientnet_v2.EfficientNetV2`.

    Args:
      path: a checkpoint of timm's `tf_efficientnetv2_b*`. The convolution to 1,280 channels and the
        classifier are not used.
    """

    rules, first = V2 + block('blocks.0.{j}', 'group0_{j}', PLAIN), 'params/stem_conv/kernel'
    unused = UNUSED


class EfficientNetV2Large(EfficientNetV2):
    """The same for `tf_efficientnetv2_s` to `_xl`, whose inputs are between -1 and 1."""

    mean, std = (0.5,) * 3, (0.5,) * 3


class EfficientNetV2RW(EfficientNetV2):
    """The same for `efficientnetv2_rw_s`.

    The encoder needs variant='rw_s', padding='symmetric' and norm=dict(kind='batch').
    """

    requires: ClassVar = {'padding': 'symmetric', 'norm.epsilon': 1e-5}
    rules = V2 + block('blocks.0.{j}', 'group0_{j}', FUSED)
