"""Every field of every part with values of a wrong kind, and with numbers out of range.

What a field may be is stated here once more, so that an annotation that is lost shows.
"""

from collections.abc import Iterator
from typing import Any

from experiments.reliability.bad_model_parts import MODEL_PARTS
from experiments.reliability.bad_values import (
    ABOVE_ZERO,
    BELOW_ONE,
    BETAS,
    BIG,
    COUNT,
    FLAG,
    LABEL,
    NAMES,
    NAN,
    NOT_NEGATIVE,
    NOT_NUMBERS,
    OPTIMIZER,
    POSITIVE,
    RANGE,
    SHARE,
    SHARE_ABOVE_ZERO,
    STAGE,
    choices,
    floats,
    integers,
    items,
    optional,
    pairs,
)
from experiments.reliability.cases import (
    OVERLAPPING,
    Case,
    bad_config,
    bad_line,
    shorten,
    shown,
)

SHAPES = {'type': 'synthetic.Shapes', 'size': [32, 32], 'samples': {'train': 4, 'val': 4}}
# Of all data sets in files, and of those with masks in files.
FILES = {
    'root': (3, None, True, [], {}), 'channels': POSITIVE, 'value_range': optional(RANGE),
    'split_seed': COUNT[:9], 'classes': optional(NAMES),
    'colors': ('red', 3, ['red'], [3], [[1, 2]], [[1, 2, 256]], [[1, 2, -1]], [[1, 2, NAN]]),
    'splits': (*({'train': 0.5, 'val': value} for value in SHARE), 3, 'x', [0.5]),
    'naming': (3, 'x', None, [], {'images': 3})}
MASKS = {'ignore_index': optional(LABEL), 'overlapping': FLAG, 'missing_masks': choices('refused'),
         'labels': (3, 'x', None, [])}

BASELINE = ('baseline', '--config=tiny.py', '--output=new', '--classifier=kmeans.KMeans')
FACTOR = floats(0.0099, 100.1, -1)
AUGMENTATION = 'preprocess.augmentations.0'
SUPERVISED = {'algorithm': {'type': 'supervised.Supervised'}}

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
    ('transforms.0', 'transforms.RandomRotate90', {}, {'p': SHARE}),
    *((AUGMENTATION, name, needed, values) for name, needed, values in (
        ('device_geometry.Flip', {}, {
            'horizontal': SHARE, 'vertical': SHARE, 'rotate90': FLAG}),
        ('device_geometry.Affine', {}, {
            'low': (*FACTOR, 1.1), 'high': (*FACTOR, 0.9), 'degrees': floats(-1, 180.1),
            'shear': floats(-1, 80.1), 'translation': SHARE, 'p': SHARE}),
        ('device_geometry.Elastic', {}, {
            'magnitude': NOT_NEGATIVE, 'spacing': floats(0.99, -1), 'p': SHARE}),
        ('device_color.ColorJitter', {}, {
            'brightness': SHARE, 'contrast': SHARE, 'saturation': SHARE,
            'hue': floats(-0.1, 0.51), 'gamma': floats(-0.1, 9.1), 'p': SHARE}),
        ('device_color.Noise', {}, {'sigma': NOT_NEGATIVE, 'p': SHARE}),
        ('device_color.Blur', {}, {'sigma': (*ABOVE_ZERO, 32.1), 'p': SHARE}),
        ('device_mixing.CutMix', {}, {'p': SHARE}),
        ('device_mixing.ClassMix', {}, {'p': SHARE}),
        ('device_mixing.CopyPaste', {'pasted': ['circle']}, {
            'pasted': (*NAMES, ['circl']), 'low': (*FACTOR, 1.3), 'high': (*FACTOR, 0.7),
            'translation': SHARE, 'p': SHARE}))),
    *MODEL_PARTS,
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
    ('losses.a', 'hard_pixels.topk_cross_entropy', {}, {
        'fraction': SHARE_ABOVE_ZERO, 'class_weights': optional(items(NOT_NEGATIVE, 1.0))}),
    ('losses.a', 'hard_pixels.ohem_cross_entropy', {}, {
        'threshold': (*BELOW_ONE, 0, 0.0), 'min_kept': SHARE_ABOVE_ZERO,
        'class_weights': optional(items(NOT_NEGATIVE, 1.0))}),
    ('losses.a', 'boundary.boundary', {}, {'max_distance': integers(1, 64)}),
    ('losses.a', 'boundary.binary_boundary', {}, {'max_distance': integers(1, 64)}),
    ('sampling', 'sampling.ClassBalanced', {}, {
        'temperature': floats(0, 0.00099, -1), 'min_pixels': (*POSITIVE, 4000)}),
    ('optimizer', 'optimizer.sgd', {'learning_rate': 0.1}, {
        **OPTIMIZER, 'momentum': BELOW_ONE, 'nesterov': FLAG}),
    ('optimizer', 'optimizer.adamw', {'learning_rate': 0.1}, BETAS),
    ('optimizer', 'optimizer.lion', {'learning_rate': 0.1}, BETAS),
    ('optimizer', 'optimizer.muon', {'learning_rate': 0.1}, {
        **BETAS, 'momentum': BELOW_ONE, 'iterations': POSITIVE}),
    ('optimizer', 'optimizer.schedule_free_adamw', {'learning_rate': 0.1}, {
        **BETAS, 'b1': (*BELOW_ONE, 0, 0.0)}),
    ('schedule', 'schedule.constant', {}, {'warmup': COUNT}),
    ('schedule', 'schedule.poly', {}, {'warmup': COUNT, 'power': ABOVE_ZERO}),
    ('schedule', 'schedule.cosine', {}, {'warmup': COUNT, 'floor': SHARE}),
    *((key, 'sliding.SlidingWindow', {}, {
        'window': pairs(POSITIVE, 32), 'overlap': BELOW_ONE, 'weights': choices('gauss')})
      for key in ('inference', 'inference.method')),
    *((key, 'augmented.TestTimeAugmentation', {}, {
        'scales': items(floats(0, 0.0999, 10.1, -1), 1.0),
        'rotations': items((*choices(45, -90, 360), 90.0), 0),
        'flips': choices('left', 'Horizontal', 'horizontal,vertical')})
      for key in ('inference', 'inference.method')),
    ('inference', 'exact.Exact', {}, {'tile': (*pairs(POSITIVE, 32), [33, 32], [32, 31])}),
    ('inference.method', 'exact.Exact', {}, {'tile': pairs(POSITIVE, 32)}),
    *((key, 'postprocess.Postprocess', {}, {field: (
        *({'circle': value} for value in COUNT), 3, 'x', None, [3])
        for field in ('smallest', 'holes')})
      for key in ('inference', 'inference.method')),
    ('inference', 'augmented.TestTimeAugmentation', {}, {
        'scales': ([], [1.0, 2.0, 1.0]), 'rotations': ([], [90, 90])}),
    ('algorithm', 'supervised.Supervised', {}, {
        'streams': NAMES, 'accumulate': POSITIVE, 'freeze': NAMES}),
    ('algorithm', 'averaging.EMA', SUPERVISED, {'decay': (*BELOW_ONE, 0, 0.0)}),
    ('algorithm', 'averaging.SWA', SUPERVISED, {'start': BELOW_ONE}),
    *(('data', name, {'root': 'data'}, {**FILES, **MASKS, **more})
      for name, more in (('folder.Folder', {}), ('voc.Voc', {}),
                         ('cityscapes.Cityscapes', {'ids': choices('instanceIds')}))),
    ('data', 'folds.Fold', {'data': SHAPES}, {
        'data': (3, None, 'x', [SHAPES], {}),
        'fold': (*optional(COUNT), 5), 'folds': integers(2), 'pooled': (*NAMES, [], ['none']),
        'group': (3, [], {}, '[', '(', 'nothing that a name holds'), 'seed': COUNT,
        'assignment': choices('block', 'Stratified')}),
    ('data', 'coco.Coco', {'root': 'data'}, {
        **FILES, 'overlapping': FLAG, 'annotations': (3, True, [], {'train': 3})}),
    ('data', 'labelme.LabelMe', {'root': 'data'}, {
        **FILES, 'overlapping': FLAG, 'missing_masks': choices('refused'),
        'line_width': optional(ABOVE_ZERO), 'void_labels': NAMES}),
    ('data', 'object_masks.ObjectMasks', {'root': 'data'}, {
        **FILES, 'missing_masks': choices('refused'), 'touching': choices('borders')}),
    ('data', 'single_image.SingleImage', {
        'root': 'data', 'image': 'a.png', 'mask': 'b.png', 'areas': {'train': [[0, 0, 8, 8]]},
        'classes': ['a', 'b']}, {
        'root': FILES['root'], 'image': (3, None, [], {}), 'mask': (3, None, [], {}),
        'areas': (3, 'x', None, [3], {'train': 3}, {'train': [[0, 0, 8]]},
                  *({'train': [[0, value, 8, 8]]} for value in COUNT),
                  *({'train': [[0, 0, value, 8]]} for value in POSITIVE)),
        'classes': NAMES, 'colors': FILES['colors'], 'objects': FLAG,
        'ignore_index': optional(LABEL), 'channels': POSITIVE, 'value_range': optional(RANGE),
        'labels': MASKS['labels']}),
    ('data', 'tfds.Tfds', {'directory': 'data'}, {
        'directory': (3, None, True, [], {}), 'mapping': (3, True, [], {}),
        'classes': optional(NAMES), 'colors': ('red', 3, ['red'], [3]),
        'image_key': (3, [], {}), 'mask_key': (3, [], {}), 'ignore_index': optional(LABEL),
        'label_map': (3, 'x', [1], {'a': 1}, {'1': 'x'}, {'1': None}, {'²': 1}),
        'encoding': ('index', '', 3, []), 'splits': (3, 'x', [], {'train': 3}),
        'channels': POSITIVE, 'value_range': RANGE}),
    ('classifier', 'kmeans.KMeans', {}, {'clusters': POSITIVE}),
    ('classifier', 'random_forest.RandomForest', {}, {
        'trees': POSITIVE, 'min_samples_leaf': POSITIVE, 'balanced': FLAG}),
    ('pixel_features', 'features.PixelFeatures', {}, {
        'scales': (*items(floats(0.29, 100.1, -1), 2.0), 3, 'x', None, [2.0, 2.0]),
        'position': FLAG}),
]
RUN: dict[str, tuple] = {
    'steps': POSITIVE, 'batch_size': POSITIVE, 'evaluate_every': POSITIVE, 'seed': COUNT,
    'eval_batch_size': optional(POSITIVE), 'save_every': optional(POSITIVE),
    'report_every': POSITIVE, 'workers': COUNT, 'damaged_samples': choices('ignore', 'Skip'),
    'early_stopping': optional(POSITIVE), 'best': (3, 'miou', None, []),
    'parallel': (3, 'jit', True, None, [])}
DEVICES = (*NOT_NUMBERS, None, 2.5, 0, -2, BIG, -BIG)  # -1 means the rest
PARALLEL: dict[str, tuple] = {
    'strategy': choices('jitt', 'PMAP', 'tensor'), 'data': DEVICES, 'fsdp': DEVICES,
    'space': DEVICES}
MODEL: dict[str, tuple] = {
    'context_stage': STAGE, 'input_scale': SHARE_ABOVE_ZERO,
    'dtype': choices('float8', 'float64', 'Float32')}


def cases() -> Iterator[Case]:
    """All rows."""
    for key, values in RUN.items():
        yield from _rows('run', {key: None}, key, values)
    for key, values in PARALLEL.items():
        yield from _rows('run', {'parallel': {}}, f'parallel.{key}', values)
    for key, values in MODEL.items():
        yield from _rows('model', {f'model.{key}': None}, f'model.{key}', values)
    for key, part, needed, fields in PARTS:
        for field, values in fields.items():
            if key in ('classifier', 'pixel_features'):
                yield from _of_baseline(key, part, field, values)
                continue
            yield from _rows(key.split('.')[1 if key.startswith('model.') else 0],
                             _changes(key, part, needed), f'{key}.{field}', values, part)


def _of_baseline(key: str, part: str, field: str, values: tuple) -> Iterator[Case]:
    """Fields that `baseline` takes from its command line."""
    for value in values:
        yield bad_line(f'numbers and kinds: {key}', (
            *BASELINE, f'--config.{key}.type={part}', f'--config.{key}.{field}={value!r}'),
            f'{key}.{field}', shown(value))


def _changes(key: str, part: str, needed: dict) -> dict[str, Any]:
    """What puts a part into the config."""
    entry = {'type': part, **needed}
    if key == 'losses.a':
        return {'losses': {'a': entry}}
    if key == AUGMENTATION:
        return {'preprocess': {'type': 'device_transforms.Augment', 'augmentations': [entry]}}
    if key == 'inference.method':
        return {'inference': {'type': 'augmented.TestTimeAugmentation', 'method': entry}}
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
