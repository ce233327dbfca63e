"""Every field of every part of a model with values of a wrong kind or out of range."""

from experiments.reliability.bad_values import (
    ABOVE_ZERO,
    BELOW_ONE,
    COUNT,
    FCN,
    FLAG,
    MIX,
    NORM,
    POSITIVE,
    SCAN,
    STAGE,
    TRANSFORMER,
    UNET,
    choices,
    floats,
    items,
    optional,
    pairs,
)

MOBILENET = {'width_multiplier': ABOVE_ZERO, 'output_stride': choices(4, 0, -8, 12, 64),
             'drop_path': BELOW_ONE, 'norm': NORM, 'remat': FLAG}

# (type, fields that it needs, bad values by field).
DECODERS: list[tuple[str, dict, dict[str, tuple]]] = [
    ('fcn.FCN', {}, FCN),
    ('deeplab.DeepLabV3', {}, {
        'features': POSITIVE, 'rates': items(POSITIVE, 6), 'separable': FLAG, 'dropout': BELOW_ONE,
        'norm': NORM}),
    ('deeplab.DeepLabV3Plus', {}, {
        'features': POSITIVE, 'skip_features': POSITIVE, 'rates': items(POSITIVE, 6),
        'separable': FLAG, 'dropout': BELOW_ONE, 'norm': NORM}),
    ('dpt.DPT', {}, {
        'widths': (*items(POSITIVE, 4), [4], [4] * 5), 'features': POSITIVE,
        'readout': choices('cat'), 'norm': NORM}),
    ('mask_transformer.MaskTransformer', {}, {
        'features': POSITIVE, 'layers': POSITIVE, 'heads': POSITIVE, 'stage': STAGE,
        'drop_path': BELOW_ONE}),
    ('fpn.FPN', {}, {
        'levels': POSITIVE, 'features': POSITIVE, 'merge': choices('cat'), 'dropout': BELOW_ONE}),
    ('linknet.LinkNet', {}, {'features': POSITIVE, 'norm': NORM, 'supervised_steps': COUNT}),
    ('manet.MAnet', {'widths': [4]}, {
        'widths': items(POSITIVE, 4), 'attention_features': POSITIVE, 'norm': NORM,
        'supervised_steps': COUNT}),
    ('pan.PAN', {}, {'features': POSITIVE, 'norm': NORM}),
    ('pspnet.PSPNet', {}, {
        'features': POSITIVE, 'bins': items(POSITIVE, 2), 'stride': POSITIVE, 'dropout': BELOW_ONE,
        'norm': NORM}),
    ('segformer.SegFormer', {}, {'features': POSITIVE, 'norm': NORM}),
    ('unet.UNet', {'widths': [4]}, {**UNET, 'supervised_steps': COUNT}),
    ('unet_plus_plus.UNetPlusPlus', {'widths': [4]}, {**UNET, 'supervised_nodes': COUNT}),
    ('upernet.UPerNet', {}, {
        'features': POSITIVE, 'bins': items(POSITIVE, 2), 'norm_stages': FLAG, 'norm': NORM}),
]
# (key of the part, type, fields that it needs, bad values by field).
MODEL_PARTS: list[tuple[str, str, dict, dict[str, tuple]]] = [
    ('model.encoder', 'resnet.ResNet', {}, {
        'depth': choices(19, 0, -18, '18', 18.0), 'width': POSITIVE,
        'output_stride': choices(4, 0, -8, 12, 64), 'norm': NORM, 'dilate_first': FLAG,
        'groups': POSITIVE, 'width_per_group': POSITIVE, 'deep_stem': FLAG,
        'average_shortcut': FLAG, 'squeeze_excite': FLAG, 'drop_path': BELOW_ONE, 'remat': FLAG}),
    ('model.encoder', 'efficientnet.EfficientNet', {}, {
        'variant': choices('b8', 0, 'lite5', 'B0'), 'output_stride': choices(4, 0, -8, 12, 64),
        'taps': optional(items(COUNT, 1)),
        'drop_path': BELOW_ONE, 'padding': choices('valid', 0), 'padding_side': optional(POSITIVE),
        'norm': NORM, 'remat': FLAG}),
    ('model.encoder', 'mobilenet.MobileNetV2', {}, MOBILENET),
    ('model.encoder', 'mobilenet.MobileNetV3', {}, {
        **MOBILENET, 'variant': choices('Large', 'medium', 3)}),
    ('model.encoder', 'densenet.DenseNet', {}, {
        'depth': choices(120, 0, -121, '121', 121.0), 'norm': NORM, 'remat': FLAG}),
    ('model.encoder', 'efficientnet_v2.EfficientNetV2', {}, {
        'variant': choices('b4', 0, 'S'), 'output_stride': choices(4, 0, -8, 12, 64),
        'drop_path': BELOW_ONE, 'padding': choices('valid', 0), 'norm': NORM, 'remat': FLAG}),
    ('model.encoder', 'hardnet.HarDNet', {}, {
        'variant': choices('69', 68, '39DS'), 'norm': NORM, 'remat': FLAG}),
    ('model.encoder', 'recurrent_pyramid.RecurrentPyramid', {}, {
        'widths': items(POSITIVE, 4), 'depths': items(POSITIVE, 1), 'cell': choices('gruu'),
        'expansion': floats(0.9, 0, -1), 'drop_path': BELOW_ONE, 'remat': FLAG}),
    ('model.encoder', 'convnext.ConvNeXt', {}, {
        'variant': choices('tny', 'xxlarge'), 'version': choices(0, 3, '2', 2.0),
        'output_stride': choices(4, 0, -8, 12, 64), 'output_norm': FLAG, 'drop_path': BELOW_ONE,
        'remat': FLAG}),
    ('model.encoder', 'mit.MiT', {}, {
        'variant': choices('b6', 0, 'B0'), 'drop_path': BELOW_ONE, 'remat': FLAG}),
    ('model.encoder', 'swin.Swin', {}, {
        'variant': choices('tny', 'huge'), 'window': POSITIVE, 'output_norm': FLAG,
        'drop_path': BELOW_ONE, 'remat': FLAG}),
    ('model.encoder', 'vgg.VGG', {}, {
        'depth': choices(12, 0, -11, '16', 16.0), 'norm': optional(NORM), 'remat': FLAG}),
    ('model.encoder', 'hrnet.HRNet', {}, {
        'variant': choices('w20', 18, 'W18'), 'increase': FLAG, 'norm': NORM, 'remat': FLAG}),
    ('model.encoder', 'vgg_like.VGGLike', {'widths': [4]}, {
        'widths': items(POSITIVE, 4), 'depth': POSITIVE, 'stem_stride': choices(0, 3, -1, 8),
        'norm': NORM}),
    ('model.encoder', 'dinov3.DINOv3', {}, {
        'variant': (*choices('Tiny', 'giant'), 3, [8, 1, 2], [8, 1, 2, 0], [8, 1, 2, 2.5]),
        'patch': POSITIVE, 'taps': optional(items(COUNT, 1)), 'norm_taps': FLAG,
        'class_features': FLAG, 'registers': COUNT, 'layer_scale': ABOVE_ZERO,
        'mlp': choices('gated'), 'qkv_bias': FLAG, 'drop_path': BELOW_ONE, 'remat': FLAG}),
    ('model.encoder', 'vit.ViT', {}, {
        'variant': (*choices('Tiny', 'vit'), 3, [1, 2], [8, 1, 0], [8, 1, 2.5],
                    [8, 1, 2, 'gated']),
        'patch': POSITIVE, 'grid': pairs(POSITIVE, 4), 'taps': optional(items(COUNT, 1)),
        'norm_taps': FLAG, 'class_features': FLAG, 'registers': COUNT,
        'token_positions': choices('registers'), 'resampling': choices('bicubic'),
        'layer_scale': optional(ABOVE_ZERO),
        'drop_path': BELOW_ONE, 'remat': FLAG}),
    ('model.context.0', 'aspp.ASPP', {'features': 4}, {
        'features': POSITIVE, 'rates': items(POSITIVE, 6), 'norm': NORM,
        'separable': FLAG}),
    ('model.context.0', 'attention_pooling.AttentionPooling', {}, {'features': optional(POSITIVE)}),
    ('model.context.0', 'axial.Axial', {'features': 8}, TRANSFORMER),
    ('model.context.0', 'criss_cross.CrissCross', {'features': 8}, {
        'features': POSITIVE, 'reduction': POSITIVE, 'recurrence': POSITIVE}),
    ('model.context.0', 'flattened_scan.FlattenedScan', {'features': 4}, {
        **SCAN, 'order': choices('snail'), 'transposed': FLAG, 'combine': choices('mean')}),
    ('model.context.0', 'four_way_rnn.FourWayRNN', {'features': 4}, {
        **SCAN, 'combine': choices('mean')}),
    ('model.context.0', 'large_kernel_attention.LargeKernelAttention', {'features': 4}, {
        'features': POSITIVE, 'kernel': POSITIVE, 'dilation': POSITIVE, 'norm': NORM}),
    ('model.context.0', 'linear_attention.LinearAttention', {'features': 8}, {
        **TRANSFORMER, 'position': choices('relative', 'rope')}),
    ('model.context.0', 'mdrnn.MDRNN2D', {'features': 4}, {
        'features': POSITIVE, 'cell': choices('lstm'), 'combine': choices('mean'), **MIX}),
    ('model.context.0', 'ocr.OCR', {'features': 4}, {'features': POSITIVE, 'norm': NORM}),
    ('model.context.0', 'pyramid_pooling.PyramidPooling', {'features': 4}, {
        'features': POSITIVE, 'bins': items(POSITIVE, 2), 'norm': NORM}),
    ('model.context.0', 'renet.ReNet', {'features': 4}, {**SCAN, 'layers': POSITIVE}),
    ('model.context.0', 'self_attention.SelfAttention', {'features': 8}, TRANSFORMER),
    ('model.context.0', 'window_attention.WindowAttention', {'features': 8}, {
        **TRANSFORMER, 'window': POSITIVE}),
    *((key, *decoder) for key in ('model.decoder', 'model.auxiliary') for decoder in DECODERS),
    ('model.head', 'head.Head', {}, {'kernel': POSITIVE, 'dropout': BELOW_ONE}),
]
