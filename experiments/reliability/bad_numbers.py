"""Every field of every part with values of a wrong kind, and with numbers out of range.

What a field may be is stated here once more, so that an annotation that is lost shows.
"""

from collections.abc import Iterator
from typing import Any

from experiments.reliability.cases import OVERLAPPING, Case, bad_config, shorten, shown

NAN, INF = float('nan'), float('inf')
NOT_NUMBERS = (True, '3', [1], {}, NAN, INF, -INF)
BIG = 10 ** 21


def integers(low: int, high: int = 2 ** 31 - 1) -> tuple:
    """Values that are no integer of this range."""
    return (*NOT_NUMBERS, None, 2.5, low - 1, low - 10 ** 9, high + 1, BIG, -BIG)


def floats(*outside: float) -> tuple:
    """Values that are no finite float, and some that are out of its range."""
    return (*NOT_NUMBERS, None, 10 ** 400, 1e39, -1e39, *outside)


def optional(values: tuple) -> tuple:
    """The same where None is allowed."""
    return tuple(value for value in values if value is not None)


def items(values: tuple, good: Any) -> tuple:
    """Lists of which one item is bad, and what is no list."""
    return (*([good, value] for value in values), 3, 'x', True, None, {'a': good})


def pairs(values: tuple, good: Any) -> tuple:
    """The same of a pair of numbers."""
    return (*items(values, good), *([value, good] for value in values), [], [good], [good] * 3)


def choices(*near: Any) -> tuple:
    """Values that are no choice, `near` misses among them."""
    return (*near, 'x', '', 3.5, True, None, [], {}, NAN, BIG)


POSITIVE, COUNT = integers(1), integers(0)
ABOVE_ZERO, NOT_NEGATIVE = floats(0, 0.0, -1e-9, -1, -BIG), floats(-1e-9, -1, -BIG)
SHARE = floats(-0.1, 1.0000001, 2, BIG)
BELOW_ONE = (*SHARE, 1, 1.0)
SHARE_ABOVE_ZERO = (*SHARE, 0, 0.0)
FLAG = (0, 1, 'yes', None, [], {}, NAN)
NAMES = ('x', 3, True, None, [3], [None], {'a': 1})
RANGE = pairs((True, 'x', None, [1], NAN, INF, 10 ** 400), 0.5)
NORM = ('batc', 'instance', '', 3, True, None, [], NAN)
MIX = {'merge': choices('gate'), 'patch': POSITIVE}
SCAN = {'features': POSITIVE, 'cell': choices('gruu', 'GRU'), 'remat': COUNT, **MIX}
TRANSFORMER = {
    'features': POSITIVE, 'heads': POSITIVE, 'layers': POSITIVE, 'mlp_ratio': ABOVE_ZERO,
    'dropout': BELOW_ONE, 'position': choices('sin', 'rotary'),
    'size': optional(pairs(POSITIVE, 8))}
OPTIMIZER = {'learning_rate': ABOVE_ZERO, 'weight_decay': NOT_NEGATIVE,
             'max_grad_norm': optional(ABOVE_ZERO)}
BETAS = {**OPTIMIZER, 'b1': BELOW_ONE, 'b2': BELOW_ONE}
STAGE = integers(-2 ** 31, 2 ** 31 - 1)[:9]  # the range depends on the encoder
FCN = {'widths': items(POSITIVE, 4), 'stage': STAGE, 'norm': NORM, 'dropout': BELOW_ONE}
UNET = {'widths': items(POSITIVE, 4), 'norm': NORM}
LABEL = integers(0, 65535)

# (key of the part, type, fields that it needs, bad values by field).
PARTS: list[tuple[str, str, dict, dict[str, tuple]]] = [
    ('data', 'synthetic.Shapes', {}, {
        'size': pairs(integers(32), 32), 'seed': COUNT, 'overlapping': FLAG,
        'samples': (*({'train': 4, 'val': value} for value in COUNT), 3, 'x', None, [4])}),
    ('data', 'synthetic.DistantCue', {}, {
        'size': pairs(POSITIVE, 64), 'seed': COUNT, 'kind': choices('corners'),
        'distance': POSITIVE,
        'samples': (*({'train': 4, 'val': value} for value in COUNT), 3, 'x', None, [4])}),
    ('transforms.0', 'transforms.RandomScale', {}, {'low': ABOVE_ZERO, 'high': ABOVE_ZERO}),
    ('transforms.0', 'transforms.RandomCrop', {'size': [32, 32]}, {
        'size': pairs(POSITIVE, 32), 'max_class_ratio': SHARE_ABOVE_ZERO, 'tries': POSITIVE}),
    ('transforms.0', 'transforms.RandomFlip', {}, {'horizontal': SHARE, 'vertical': SHARE}),
    ('transforms.0', 'transforms.RandomRotation', {}, {'degrees': floats(-1, 180.1), 'p': SHARE}),
    ('transforms.0', 'transforms.ColorJitter', {}, {
        'brightness': SHARE, 'contrast': SHARE, 'saturation': SHARE, 'hue': floats(-0.1, 0.51),
        'p': SHARE}),
    ('transforms.0', 'transforms.RandomBlur', {}, {'sigma': ABOVE_ZERO, 'p': SHARE}),
    ('model.encoder', 'resnet.ResNet', {}, {
        'depth': choices(19, 0, -18, '18', 18.0), 'width': POSITIVE,
        'output_stride': choices(4, 0, -8, 12, 64), 'norm': NORM}),
    ('model.encoder', 'efficientnet.EfficientNet', {}, {
        'variant': choices('b8', 0, 'lite5', 'B0'), 'output_stride': choices(4, 0, -8, 12, 64),
        'drop_path': BELOW_ONE, 'norm': NORM}),
    ('model.encoder', 'vgg_like.VGGLike', {'widths': [4]}, {
        'widths': items(POSITIVE, 4), 'depth': POSITIVE, 'stem_stride': choices(0, 3, -1, 8),
        'norm': NORM}),
    ('model.context.0', 'aspp.ASPP', {'features': 4}, {
        'features': POSITIVE, 'rates': items(POSITIVE, 6), 'norm': NORM}),
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
    ('model.decoder', 'fcn.FCN', {}, FCN),
    ('model.decoder', 'unet.UNet', {'widths': [4]}, UNET),
    ('model.auxiliary', 'fcn.FCN', {}, FCN),
    ('model.auxiliary', 'unet.UNet', {'widths': [4]}, UNET),
    ('model.head', 'head.Head', {}, {'kernel': POSITIVE, 'dropout': BELOW_ONE}),
    ('task', 'semantic.Semantic', {}, {'auxiliary_weight': NOT_NEGATIVE}),
    ('task', 'multilabel.Multilabel', {}, {
        'auxiliary_weight': NOT_NEGATIVE, 'threshold': (*BELOW_ONE, 0, 0.0)}),
    ('losses.a', 'cross_entropy.cross_entropy', {}, {
        'label_smoothing': BELOW_ONE, 'weight': NOT_NEGATIVE,
        'class_weights': optional(items(NOT_NEGATIVE, 1.0))}),
    ('losses.a', 'focal.focal', {}, {
        'gamma': NOT_NEGATIVE, 'class_weights': optional(items(NOT_NEGATIVE, 1.0))}),
    ('losses.a', 'dice.dice', {}, {'smooth': NOT_NEGATIVE}),
    ('losses.a', 'binary_dice.binary_dice', {}, {'smooth': NOT_NEGATIVE}),
    ('losses.a', 'binary_focal.binary_focal', {}, {
        'gamma': NOT_NEGATIVE, 'alpha': optional(SHARE)}),
    ('losses.a', 'binary_cross_entropy.binary_cross_entropy', {}, {
        'pos_weight': optional(items(NOT_NEGATIVE, 1.0))}),
    ('optimizer', 'optimizer.sgd', {'learning_rate': 0.1}, {
        **OPTIMIZER, 'momentum': BELOW_ONE, 'nesterov': FLAG}),
    ('optimizer', 'optimizer.adamw', {'learning_rate': 0.1}, BETAS),
    ('optimizer', 'optimizer.lion', {'learning_rate': 0.1}, BETAS),
    ('schedule', 'schedule.constant', {}, {'warmup': COUNT}),
    ('schedule', 'schedule.poly', {}, {'warmup': COUNT, 'power': ABOVE_ZERO}),
    ('schedule', 'schedule.cosine', {}, {'warmup': COUNT, 'floor': SHARE}),
    ('inference', 'sliding.SlidingWindow', {}, {
        'window': pairs(POSITIVE, 32), 'overlap': BELOW_ONE, 'weights': choices('gauss')}),
    ('algorithm', 'supervised.Supervised', {}, {'streams': NAMES}),
    ('data', 'folder.Folder', {'root': 'data'}, {
        'root': (3, None, True, [], {}), 'channels': POSITIVE, 'ignore_index': optional(LABEL),
        'value_range': optional(RANGE), 'split_seed': COUNT[:9], 'overlapping': FLAG,
        'missing_masks': choices('refused'), 'classes': optional(NAMES),
        'colors': ('red', 3, ['red'], [3], [[1, 2]], [[1, 2, 256]], [[1, 2, -1]], [[1, 2, NAN]]),
        'splits': (*({'train': 0.5, 'val': value} for value in SHARE), 3, 'x', [0.5]),
        'naming': (3, 'x', None, [], {'images': 3}), 'labels': (3, 'x', None, [])}),
    ('data', 'tfds.Tfds', {'directory': 'data'}, {
        'directory': (3, None, True, [], {}), 'mapping': (3, True, [], {}),
        'classes': optional(NAMES), 'colors': ('red', 3, ['red'], [3]),
        'image_key': (3, [], {}), 'mask_key': (3, [], {}), 'ignore_index': optional(LABEL),
        'label_map': (3, 'x', [1], {'a': 1}, {'1': 'x'}, {'1': None}, {'²': 1}),
        'encoding': ('index', '', 3, []), 'splits': (3, 'x', [], {'train': 3}),
        'channels': POSITIVE, 'value_range': RANGE}),
]
RUN: dict[str, tuple] = {
    'steps': POSITIVE, 'batch_size': POSITIVE, 'evaluate_every': POSITIVE, 'seed': COUNT,
    'eval_batch_size': optional(POSITIVE), 'save_every': optional(POSITIVE),
    'report_every': POSITIVE, 'workers': COUNT, 'parallel': choices('jitt', 'PMAP', 'tensor')}
MODEL: dict[str, tuple] = {
    'context_stage': STAGE, 'input_scale': SHARE_ABOVE_ZERO,
    'dtype': choices('float8', 'float64', 'Float32')}


def cases() -> Iterator[Case]:
    """All rows."""
    for key, values in RUN.items():
        yield from _rows('run', {key: None}, key, values)
    for key, values in MODEL.items():
        yield from _rows('model', {f'model.{key}': None}, f'model.{key}', values)
    for key, part, needed, fields in PARTS:
        for field, values in fields.items():
            yield from _rows(key.split('.')[1 if key.startswith('model.') else 0],
                             _changes(key, part, needed), f'{key}.{field}', values, part)


def _changes(key: str, part: str, needed: dict) -> dict[str, Any]:
    """What puts a part into the config."""
    entry = {'type': part, **needed}
    if key == 'losses.a':
        return {'losses': {'a': entry}}
    changes = OVERLAPPING if part == 'multilabel.Multilabel' else {}
    place, _, index = key.rpartition('.')
    return {**changes, **({place: [entry]} if index == '0' else {key: entry})}


def _rows(kind: str, changes: dict[str, Any], key: str, values: tuple, part: str = ''
          ) -> Iterator[Case]:
    for value in values:
        name = shorten(f'{part} {key}={value!r}'.strip())
        # What a model finds while it is traced names keys without `model`,
        # and layers without index.
        keys = (key, key.replace('model.', '').replace('.0.', '.'))
        yield bad_config(f'numbers and kinds: {kind}', name, {**changes, key: value}, keys,
                         shown(value))
