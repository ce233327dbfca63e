"""Names of whole models of segmentation_models.pytorch: encoder, decoder and head."""

from typing import ClassVar

from jaxseg.pretrained import efficientnet_pytorch, smp_encoders, timm_vit, torchvision
from jaxseg.pretrained.convert import ModelWeights
from jaxseg.pretrained.names import Rule, batch_norm, layer, layer_norm, prefixed

# Encoders with the stages that they have there; EfficientNet needs its taps. No two of
# them share a name or a place, so that the rules of all stand one after the other.
ENCODERS = (torchvision.ResNet, torchvision.VGG, torchvision.DenseNet, smp_encoders.MiT,
            efficientnet_pytorch.EfficientNet)
ENCODER = tuple(rule for source in ENCODERS
                for rule in prefixed(source.rules, 'encoder.', 'encoder/'))
# Of EfficientNet, whose zeros are those of images of one side for each variant. Those of b0 are the
# zeros of any image here: at 224 all maps that it strides are even.
PADDING_SIDES = {variant: side for variant, side in efficientnet_pytorch.EfficientNet.side.items()
                 if variant != 'b0'}
PADDED = {'encoder.padding': 'same', 'encoder.padding_side': PADDING_SIDES}
HEAD = layer('segmentation_head.0', 'head')
# Steps of U-Net-like decoders, by the stride that they reach.
STEPS = tuple(enumerate((16, 8, 4, 2, 1)))


def transposed(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a transposed convolution."""
    return ((f'{name}.weight', f'params/{place}/transposed_kernel'),
            (f'{name}.bias', f'params/{place}/bias'))


def conv_norm(name: str, conv: str, norm: str) -> tuple[Rule, ...]:
    """The rules of the blocks `Conv2dReLU`."""
    return (*layer(f'{name}.0', conv), *batch_norm(f'{name}.1', norm))


def gate(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a gate of channels."""
    return (*layer(f'{name}.1', f'{place}/reduce'), *layer(f'{name}.3', f'{place}/expand'))


def scse(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of `SCSEModule`."""
    return (*gate(f'{name}.cSE', f'{place}/channel'), *layer(f'{name}.sSE.0', f'{place}/position'))


def step(name: str, place: str, part: int) -> tuple[Rule, ...]:
    """The rules of one of the two convolutions of a `DecoderBlock` and of the attention to it."""
    return (*conv_norm(f'{name}.conv{part}', f'{place}_conv{part - 1}', f'{place}_norm{part - 1}'),
            *scse(f'{name}.attention{part}.attention', f'{place}_attention{part - 1}'))


class _Model(ModelWeights):
    """Rules of an encoder and a head; a subclass adds those of its decoder.

    Args:
      path: a checkpoint of a model over one of `ENCODERS`, which has stride 32 or is dilated.
    """

    requires: ClassVar = PADDED
    first = tuple(f'params/encoder/{source.first.removeprefix("params/")}' for source in ENCODERS)
    unused = tuple(f'encoder.{name}' for source in ENCODERS for name in source.unused) + (
        '*.num_batches_tracked', 'classification_head.*')


ALIGNED = {**PADDED, 'align_corners': True}  # where logits are smaller than the images
DILATED = {**ALIGNED, 'encoder.dilate_first': True}


class Unet(_Model):
    """U-Net, for `unet.UNet` of five widths and a head of kernel 3; not over VGG.

    There the reference has two more convolutions, and no skip connection at stride 1.
    """

    rules = (*ENCODER, *HEAD, *(
        rule for index, stride in STEPS for part in (1, 2)
        for rule in step(f'decoder.blocks.{index}', f'decoder/up{stride}', part)))
    # The last step has no skip connection, and attention to it is not computed.
    unused = (*_Model.unused, 'decoder.blocks.4.attention1.*')


class FPN(_Model):
    """FPN, for `fpn.FPN` over stages of strides 4 to 32 and a head of kernel 1, aligned corners."""

    requires = ALIGNED
    rules = (*ENCODER, *HEAD, *layer('decoder.p5', 'decoder/lateral32'), *(
        rule for index, stride in enumerate((32, 16, 8, 4)) for rule in (
            *layer(f'decoder.p{5 - index}.skip_conv', f'decoder/lateral{stride}'),
            *layer(f'decoder.seg_blocks.{index}.block.' + '{i}.block.0',
                   f'decoder/level{stride}_conv' + '{i}'),
            *layer_norm(f'decoder.seg_blocks.{index}.block.' + '{i}.block.1',
                        f'decoder/level{stride}_norm' + '{i}'))))


class Segformer(_Model):
    """SegFormer, for `segformer.SegFormer` and a head of kernel 1, aligned corners."""

    requires = ALIGNED
    rules = (*ENCODER, *HEAD, *layer('decoder.mlp_stage.{i}.linear', 'decoder/linear{i}'),
             *conv_norm('decoder.fuse_stage', 'decoder/fuse_conv', 'decoder/fuse_norm'))


class UPerNet(_Model):
    """UPerNet, for `upernet.UPerNet` with `norm_stages` and a head of kernel 1, aligned corners.

    It has the default bins, and the encoder has stages of strides 4 to 32.
    """

    requires = ALIGNED
    rules = (*ENCODER, *HEAD, *conv_norm('decoder.psp.out_conv', 'decoder/pool_conv',
                                         'decoder/pool_norm'),
             *(rule for index, side in enumerate((1, 2, 3, 6)) for rule in conv_norm(
                 f'decoder.psp.blocks.{index}.1', f'decoder/bin{side}_conv',
                 f'decoder/bin{side}_norm')),
             *(rule for index, stride in enumerate((4, 8, 16, 32)) for rule in layer_norm(
                 f'decoder.feature_norms.{index}', f'decoder/stage{stride}_norm')),
             *(rule for index, stride in enumerate((16, 8, 4)) for rule in (
                 *conv_norm(f'decoder.fpn_lateral_blocks.{index}.conv_norm_relu',
                            f'decoder/lateral{stride}_conv', f'decoder/lateral{stride}_norm'),
                 *conv_norm(f'decoder.fpn_conv_blocks.{index}', f'decoder/level{stride}_conv',
                            f'decoder/level{stride}_norm'))),
             *conv_norm('decoder.fusion_block', 'decoder/fuse_conv', 'decoder/fuse_norm'))


def aspp(name: str) -> tuple[Rule, ...]:
    """The rules of `ASPP`, with plain or separable convolutions."""
    place = 'decoder/aspp/{}'.format
    dilated = tuple(
        rule for index in range(3) for rule in (
            *layer(f'{name}.convs.{index + 1}.0', place(f'dilated{index}_conv')),
            *separable(f'{name}.convs.{index + 1}.0', place(f'dilated{index}_conv')),
            *batch_norm(f'{name}.convs.{index + 1}.1', place(f'dilated{index}_norm'))))
    return (*conv_norm(f'{name}.convs.0', place('point_conv'), place('point_norm')), *dilated,
            *layer(f'{name}.convs.4.1', place('pool_conv')),
            *batch_norm(f'{name}.convs.4.2', place('pool_norm')),
            *conv_norm(f'{name}.project', place('project_conv'), place('project_norm')))


def separable(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of `SeparableConv2d`."""
    return (*layer(f'{name}.0', f'{place}_depthwise'), *layer(f'{name}.1', place))


class DeepLabV3(_Model):
    """DeepLabv3, for `deeplab.DeepLabV3` and a head of kernel 1, aligned corners.

    There a ResNet is dilated with `dilate_first`.
    """

    requires = DILATED
    rules = (*ENCODER, *HEAD, *aspp('decoder.aspp'), *layer('decoder.conv', 'decoder/conv'),
             *batch_norm('decoder.bn', 'decoder/norm'),
             # In older versions the decoder was a sequence.
             *aspp('decoder.0'), *layer('decoder.1', 'decoder/conv'),
             *batch_norm('decoder.2', 'decoder/norm'))


class DeepLabV3Plus(_Model):
    """DeepLabv3+, for `deeplab.DeepLabV3Plus`; the rest as for `DeepLabV3`."""

    requires = DILATED
    rules = (*ENCODER, *HEAD, *aspp('decoder.aspp.0'), *separable('decoder.aspp.1', 'decoder/conv'),
             *batch_norm('decoder.aspp.2', 'decoder/norm'),
             *conv_norm('decoder.block1', 'decoder/skip_conv', 'decoder/skip_norm'),
             *separable('decoder.block2.0', 'decoder/merge_conv'),
             *batch_norm('decoder.block2.1', 'decoder/merge_norm'))


class PSPNet(_Model):
    """PSPNet, for `pspnet.PSPNet` of the default bins and a head of kernel 3, aligned corners.

    The encoder has all of its stages, of which the deeper ones have no effect.
    """

    requires = ALIGNED
    rules = (*ENCODER, *HEAD, *conv_norm('decoder.conv', 'decoder/project_conv',
                                         'decoder/project_norm'),
             *(rule for index, side in enumerate((1, 2, 3, 6)) for rule in conv_norm(
                 f'decoder.psp.blocks.{index}.pool.1', f'decoder/bin{side}_conv',
                 f'decoder/bin{side}_norm')))


class Linknet(_Model):
    """LinkNet, for `linknet.LinkNet` and a head of kernel 1."""

    rules = (*ENCODER, *HEAD, *(
        rule for index, stride in STEPS for rule in (
            *transposed(f'decoder.blocks.{index}.block.1.0', f'decoder/up{stride}_conv1'),
            *conv_norm(f'decoder.blocks.{index}.block.' + '{i}',
                       f'decoder/up{stride}_conv' + '{i}', f'decoder/up{stride}_norm' + '{i}'))))


class MAnet(_Model):
    """MA-Net, for `manet.MAnet` of five widths and a head of kernel 3."""

    rules = (*ENCODER, *HEAD, *layer('decoder.center.top_conv', 'decoder/center/key'),
             *layer('decoder.center.center_conv', 'decoder/center/query'),
             *layer('decoder.center.bottom_conv', 'decoder/center/value'),
             *layer('decoder.center.out_conv', 'decoder/center/out'),
             *(rule for index, stride in STEPS for rule in (
                 *gate(f'decoder.blocks.{index}.SE_hl', f'decoder/up{stride}_gate'),
                 *gate(f'decoder.blocks.{index}.SE_ll', f'decoder/up{stride}_skip_gate'),
                 *conv_norm(f'decoder.blocks.{index}.hl_conv.' + '{i}',
                            f'decoder/up{stride}_in_conv' + '{i}',
                            f'decoder/up{stride}_in_norm' + '{i}'))),
             *(rule for index, stride in STEPS for part in (1, 2)
               for rule in step(f'decoder.blocks.{index}', f'decoder/up{stride}', part)))


def conv_bn(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of `ConvBnRelu`."""
    return (*layer(f'{name}.conv', f'decoder/{place}_conv'),
            *batch_norm(f'{name}.bn', f'decoder/{place}_norm'))


class PAN(_Model):
    """PAN, for `pan.PAN` and a head of kernel 3, aligned corners; see `DeepLabV3` on ResNets."""

    requires = DILATED
    rules = (*ENCODER, *HEAD, *(
        rule for name, place in (
            ('branch1.1', 'mean'), ('mid.0', 'middle'), ('down1.1', 'down0'), ('down2.1', 'down1'),
            ('down3.1', 'down2'), ('conv1', 'level0'), ('conv2', 'level1'), ('down3.2', 'level2'))
        for rule in conv_bn(f'decoder.fpa.{name}', place)),
        *(rule for index in range(3) for rule in (
            *conv_bn(f'decoder.gau{index + 1}.conv1.1', f'stage{index}_weights'),
            *conv_bn(f'decoder.gau{index + 1}.conv2', f'stage{index}'))))


class UnetPlusPlus(_Model):
    """U-Net++, for `unet_plus_plus.UNetPlusPlus` of five widths and a head of kernel 3.

    Not over VGG, for the reason given for `Unet`.
    """

    rules = (*ENCODER, *HEAD, *(
        rule for index, stride in STEPS for part in (1, 2) for rule in step(
            'decoder.blocks.x_{i}_' + f'{index}', f'decoder/up{stride}_node' + '{i}', part)))
    unused = (*_Model.unused, 'decoder.blocks.x_0_4.attention1.*')


def _dpt_stage(index: int) -> tuple[Rule, ...]:
    """The rules of one of four stages; there, fusions are counted from the deepest one on."""
    theirs, ours = f'decoder.fusion_blocks.{3 - index}', f'decoder/fusion{index}'
    unit, our_unit = theirs + '.residual_conv_block{u}', ours + '_unit{u}'
    reassemble, resize = f'decoder.reassemble_blocks.{index}', f'decoder/reassemble{index}_resize'
    return (
        *layer(f'decoder.projection_blocks.{index}.project.0', f'decoder/readout{index}'),
        *layer(f'{reassemble}.project_to_out_channel', f'decoder/reassemble{index}_project'),
        *(layer if index == 3 else transposed)(f'{reassemble}.upsample', resize),
        *layer(f'{reassemble}.project_to_feature_dim', f'decoder/reassemble{index}_conv'),
        *layer(f'{theirs}.project', f'{ours}_project'),
        *layer(unit + '.conv_{k}', our_unit + '_conv{k}'),
        *batch_norm(unit + '.batch_norm_{k}', our_unit + '_norm{k}'))


class DPT(ModelWeights):
    """DPT, for `vit.ViT` of patch 16, `dpt.DPT` with `deepest_units=2` and a head of kernel 1.

    Readout 'cat' is 'project' here; with it, or 'add', the encoder has `class_features`. Logits
    have aligned corners. Inputs of the `augreg` weights are between -1 and 1.

    Args:
      path: a checkpoint over an encoder `tu-vit_*_patch16_*` of timm.
    """

    requires: ClassVar = {**ALIGNED, 'encoder.resampling': 'antialias'}
    rules = (*prefixed(timm_vit.ViT.rules, 'encoder.model.', 'encoder/'),
             *(rule for index in range(4) for rule in _dpt_stage(index)),
             *layer('segmentation_head.head.0', 'decoder/head_conv'),
             *batch_norm('segmentation_head.head.1', 'decoder/head_norm'),
             *layer('segmentation_head.head.4', 'head'))
    first = 'params/encoder/patch_embed/kernel'
    unused = (*(f'encoder.model.{name}' for name in timm_vit.ViT.unused), '*.num_batches_tracked',
              'classification_head.*')
    mean, std = timm_vit.ViT.mean, timm_vit.ViT.std
