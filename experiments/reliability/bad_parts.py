"""Entries that are no parts, names that are nearly right, and values that contradict each other."""

from collections.abc import Iterator
from typing import Any

from experiments.reliability.cases import OVERLAPPING, Case, bad_config, shorten, shown

# Keys of the config that hold one part.
ENTRIES = ('data', 'model', 'model.encoder', 'model.decoder', 'model.head', 'model.auxiliary',
           'model.context.0', 'transforms.0', 'losses.a', 'optimizer', 'schedule', 'task',
           'inference', 'algorithm', 'preprocess', 'pretrained', 'sampling')
# These may be left out.
OPTIONAL = ('model.head', 'model.auxiliary', 'pretrained', 'sampling')
NO_ENTRIES = (None, 'none', 'resnet.ResNet', 3, 0, True, 1.5, {}, [], [3], [[]], {'type': 3},
              {'type': None}, {'type': ['a.B']}, {'type': {}}, {'typ': 'resnet.ResNet'},
              {'depth': 18})
NO_NAMES = ('', '.', ':', 'resnet', 'resnet.', '.ResNet', 'a.b.c', 'resnet.ResNet.depth', 'a:b:c',
            ':ResNet', 'resnet:', '..build.build', '../x.Y', 'resnet/ResNet', 'ResNet', ' ', 'é.É',
            '_x._Y', '__init__.x', 'resnet .ResNet', 'x' * 300, 'a.' + 'b' * 300, 'a\nb.C',
            'a\0b.C', 'a\0b:C')
NO_PARTS = ('os:system', 'os:path', 'os:environ', 'os:getcwd', 'sys:exit', 'subprocess:Popen',
            'builtins:exit', 'builtins:object', 'builtins:type', 'builtins:dict', 'json:loads',
            'math:pi', 'typing:Any', 'jax.numpy:zeros', 'flax.linen:Module', 'flax.linen:Dense',
            'jaxseg.build:build', 'jaxseg.build:_symbol', 'jaxseg.fields:PositiveInt',
            'jaxseg.layers.stages:Stages', 'collections:OrderedDict', 'collections.abc:Callable',
            'no_such_module:Net', 'no.such.module:Net', 'jaxseg.encoders.none:Net',
            'jaxseg.encoders.resnet:ResNt', 'jaxseg.encoders.resnet:',
            'jaxseg.encoders.resnet:ResidualBlock',
            '..jaxseg:run', '.encoders:ResNet', 'raises:Net', 'exits:Net',
            'syntax:Net', 'recursive:Net', 'assertion:Net')
MODULES = {'raises': 'raise ValueError("two\\nlines")', 'exits': 'import sys\nsys.exit(3)',
           'syntax': 'def f(:',
           'recursive': 'def f():\n    f()\nf()', 'assertion': 'assert False'}
# Names that are nearly right, with the right one.
NEAR = {
    'data': ('synthetic.Shape', 'synthetc.Shapes', 'Synthetic.Shapes', 'folder.folder'),
    'model': ('segmentation_model.SegmentationModl', 'segmentation.SegmentationModel'),
    'model.encoder': ('resnet.Resnet', 'resnt.ResNet', 'ResNet.resnet', 'vgg_like.VGGlike'),
    'model.decoder': ('unet.Unet', 'u_net.UNet', 'fcn.FCn', 'fcn.fcn'),
    'model.head': ('head.head', 'heads.Head'),
    'model.auxiliary': ('fcn.FNC', 'unet.UNets'),
    'model.context.0': ('renet.Renet', 'asp.ASPP', 'aspp.ASP', 'window_attention.WindowAttn'),
    'transforms.0': ('transforms.RandomFlipp', 'transform.RandomFlip', 'transforms.random_flip'),
    'losses.a': ('dice.Dice', 'dise.dice', 'lovasz.lovasz', 'cross_entropy.cross_entrpy'),
    'optimizer': ('optimizer.adam', 'optimizer.AdamW', 'optimiser.adamw', 'optimizer.sdg'),
    'schedule': ('schedule.cosin', 'schedules.cosine', 'schedule.Poly', 'schedule.linear'),
    'task': ('semantic.semantic', 'semantics.Semantic', 'multilabel.MultiLabel'),
    'inference': ('whole.whole', 'sliding.SlidingWindows', 'slide.SlidingWindow'),
    'algorithm': ('supervised.Supervise', 'supervized.Supervised'),
    'preprocess': ('device_transforms.Normalise', 'device_transform.Normalize'),
    'pretrained': ('torchvision.Resnet', 'torchvison.ResNet', 'resnet.ResNet'),
    'sampling': ('sampling.ClassBalance', 'sample.ClassBalanced')}
# Symbols of the right package that are another kind of thing.
OTHERS = {
    'data': ('decode.read_image', 'spec.DatasetSpec', 'folder_source.FolderSource', 'spec.Color',
             'transforms.RandomFlip', 'synthetic.DrawnSource', 'spec.Fill', 'synthetic._drawn'),
    'model': ('segmentation_model.Chain', 'segmentation_model.AuxiliaryDecoders',
              'segmentation_model.Outputs', 'segmentation_model._as_tuple'),
    'model.encoder': ('resnet.BasicBlock', 'resnet.Bottleneck', 'resnet.BLOCKS', 'resnet.BASIC',
                      'resnet.Conv', 'resnet.Stages', 'resnet.nn', 'resnet.__name__'),
    'model.decoder': ('unet.Conv', 'unet.at_stride', 'fcn.Dropout', 'unet.InputError'),
    'model.head': ('conv.Conv', 'norm.Norm', 'resize.downsample', 'merge.Merge',
                   'stages.at_index'),
    'model.context.0': ('ocr.region_features', 'mdrnn._Corner', 'mdrnn.skew', 'axial.Transformer',
                        'attention_pooling.attention_pool'),
    'transforms.0': ('transforms.resize_pair', 'transforms.Pair', 'transforms.Fill',
                     'folder.Folder', 'transforms._pad', 'device_transforms.Normalize'),
    'losses.a': ('weighted.WeightedSum', 'pixels.nll', 'pixels.soft_dice', 'weighted.Parts',
                 'lovasz._lovasz', 'cross_entropy.softmax_inputs'),
    'optimizer': ('optimizer.is_kernel', 'optimizer.RateState', 'optimizer.Decay',
                  'optimizer._clip', 'schedule.cosine', 'optimizer.scale_by_rate'),
    'schedule': ('schedule._after_warmup', 'optimizer.sgd', 'report.Report', 'loop.train',
                 'loop.Intervals', 'schedule.optax'),
    'task': ('semantic.Confusion', 'pixelwise.Pixelwise', 'pixelwise.Parts'),
    'inference': ('predictor.Predictor', 'images.check_image', 'sliding.starts', 'whole.WAITING'),
    'algorithm': ('supervised.TrainState', 'supervised.SOWN', 'supervised.Batch',
                  'checkpoint.Checkpoints', 'loop.train'),
    'preprocess': ('transforms.RandomFlip', 'device_transforms.jnp', 'spec.Fill'),
    'pretrained': ('convert.convert', 'tensors.read_tensors', 'torchvision.RULES',
                   'torch_file.read_torch', 'torchvision.Weights', 'convert.Weights')}
# Keys that the run sets itself.
GIVEN = {
    'model.classes': 3, 'model.head.classes': 3, 'task.classes': ['a'], 'task.terms': {},
    'task.overlapping': True, 'optimizer.schedule': {}, 'schedule.steps': 3, 'algorithm.model': {},
    'algorithm.task': {}, 'algorithm.optimizer': {}, 'algorithm.axis_name': 'data',
    'algorithm.preprocess': {}, 'inference.forward': 3, 'inference.task': {},
    'inference.batch_size': 4, 'inference.devices': 1, 'inference.place': 3,
    'preprocess.mean': [0], 'preprocess.std': [1], 'preprocess.value_range': [0, 1],
    'losses.cross_entropy.logits': 1, 'losses.cross_entropy.labels': 1,
    'losses.cross_entropy.valid': 1}
# Names of keys that no part has, at every level.
UNKNOWN = ('step', 'sead', 'optimiser', 'dta', 'model.encodr', 'model.encoder.dept',
           'model.encoder.parent', 'model.encoder.name', 'model.decoder.width', 'model.contxt',
           'data.sise', 'optimizer.lr', 'optimizer.learningrate', 'schedule.warm_up', 'task.weight',
           'losses.cross_entropy.smoothing', 'inference.windw', 'model.encoder.²', 'model.encoder.',
           'model.parent', 'model.name', 'task.auxilary_weight', 'data.a b')


def cases() -> Iterator[Case]:
    """All rows."""
    for key in ENTRIES:
        for value in NO_ENTRIES:
            if not (key in OPTIONAL and value in (None, []) or value == [] and key == 'losses.a'):
                # Of a list, its item may be shown.
                items = value if isinstance(value, list) else []
                yield _entry('no entry', key, value,
                             (*shown(value), *(f'got {item!r}' for item in items)))
        for name in NO_NAMES:
            yield _entry('no name of a part', key, {'type': name}, shown(name))
        for name in NO_PARTS:
            yield _entry('another symbol or module', key, {'type': name}, shown(name.split(':')[0]),
                         prepare=_write_modules)
    for kind, names in (('nearly a name', NEAR), ('another kind of symbol', OTHERS)):
        for key, wrong in names.items():
            for name in wrong:
                yield _entry(kind, key, {'type': name}, shown(name))
    yield from _containers()
    entries = {'model.head.classes': {'model.head': {'type': 'head.Head'}},
               'preprocess.': {'preprocess': {'type': 'device_transforms.Normalize'}},
               'algorithm.': {'algorithm': {'type': 'supervised.Supervised'}}}
    for key, value in GIVEN.items():
        first = next((entry for start, entry in entries.items() if key.startswith(start)), {})
        yield bad_config('set by the run', f'{key}={value!r}', {**first, key: value}, key)
    for key in UNKNOWN:
        yield bad_config('unknown key', key, {key: 3}, key)
    yield from _losses()
    yield from _batches_and_contexts()
    yield from _models()
    yield from _data()


def _entry(kind: str, key: str, value: Any, *words: Any, **more: Any) -> Case:
    place, _, index = key.rpartition('.')
    changes = {key: value}
    if index == '0':
        changes = {place: [value]}
    elif key == 'losses.a':
        changes = {'losses': {'a': value}}
    keys = (key, f'config.{place}') if index == '0' else key
    return bad_config(kind, shorten(f'{key}={value!r}'), changes, keys, *words, **more)


def _write_modules(folder):
    for name, text in MODULES.items():
        (folder / f'{name}.py').write_text(text + '\n')


def _containers() -> Iterator[Case]:
    """One part where several are expected, and the reverse."""
    flip = {'type': 'transforms.RandomFlip'}
    encoder = {'type': 'vgg_like.VGGLike', 'widths': [4]}
    for key, value in (
            ('transforms', flip), ('transforms', None), ('transforms', 'flip'), ('transforms', 3),
            ('transforms', [flip, 3]), ('transforms', [[flip]]), ('transforms', {'0': flip}),
            ('model.encoder', [encoder]), ('model.encoder', [encoder, encoder]),
            ('model.decoder', [{'type': 'fcn.FCN'}]), ('model.head', [{'type': 'head.Head'}]),
            ('model', [{'type': 'segmentation_model.SegmentationModel'}]),
            ('data', [{'type': 'synthetic.Shapes'}]), ('optimizer', [{'type': 'optimizer.sgd'}]),
            ('task', [{'type': 'semantic.Semantic'}]), ('inference', [{'type': 'whole.Whole'}]),
            ('schedule', [{'type': 'schedule.poly'}]), ('losses', []), ('losses', {}),
            ('losses', None), ('losses', 3), ('losses', 'dice'), ('losses',
                                                                  [{'type': 'dice.dice'}]),
            ('losses', {'type': 'dice.dice'}), ('model.encoder.widths', {'type': 'fcn.FCN'}),
            ('model.encoder.norm', {'type': 'norm.Norm'}), ('seed', flip),
            ('model.encoder.depth', flip), ('data.size', flip)):
        yield bad_config('container', shorten(f'{key}={value!r}'), {key: value}, key)


def _losses() -> Iterator[Case]:
    ce, bce = 'cross_entropy.cross_entropy', 'binary_cross_entropy.binary_cross_entropy'
    for name in ('loss', 'step', 'learning_rate', 'gradient_norm', 'images_per_second', 'val_miou',
                 'auxiliary0', 'auxiliary'):
        yield bad_config('losses', f'a loss named {name}', {'losses': {name: {'type': ce}}},
                         f'losses.{name}')
    for weights in ([0.0], [0.0, 0.0], [-1.0], [1.0, -0.5]):
        losses = {f'a{i}': {'type': ce, 'weight': weight} for i, weight in enumerate(weights)}
        yield bad_config('losses', f'weights {weights}', {'losses': losses}, 'losses')
    for part, option in ((ce, 'class_weights'), ('focal.focal', 'class_weights')):
        for values in ([1.0], [1.0] * 4, [1.0] * 6, [], [0.0] * 5, [1.0] * 4 + [-1.0]):
            yield bad_config('losses', f'{part} {option}={values}',
                             {'losses': {'a': {'type': part, option: values}}}, option)
    for values in ([1.0], [1.0] * 5, [], [0.0] * 4):
        changes = {**OVERLAPPING, 'losses': {'a': {'type': bce, 'pos_weight': values}}}
        yield bad_config('losses', f'pos_weight={values}', changes, 'pos_weight')
    for part in ('binary_dice.binary_dice', 'binary_focal.binary_focal', bce):
        yield bad_config('losses', f'{part} in semantic', {'losses': {'a': {'type': part}}},
                         part.split('.')[1], 'semantic')
    for part in ('dice.dice', 'focal.focal', ce, 'lovasz.lovasz_softmax'):
        yield bad_config('losses', f'{part} in multilabel',
                         {**OVERLAPPING, 'losses': {'a': {'type': part}}}, part.split('.')[1][:5],
                         'multilabel')


def row(name: str, changes: dict, *words: str) -> Case:
    """Two values that do not go together."""
    return bad_config('values that contradict each other', name, changes, *words)


def _batches_and_contexts() -> Iterator[Case]:
    for part in ('constant', 'poly', 'cosine'):
        for warmup in (2, 3, 100):
            yield row(f'{part} warm-up of {warmup} in 2 steps',
                      {'schedule': {'type': f'schedule.{part}', 'warmup': warmup}},
                      'schedule.warmup', str(warmup))
    for size in (1, 2, 3, 5, 6, 7):
        yield row(f'batch of {size} on 4 devices', {'batch_size': size}, 'batch_size', str(size))
        yield row(f'pmap, batch of {size}',
                  {'batch_size': size, 'parallel': {'strategy': 'pmap'}}, 'batch_size')
    for parallel, *words in (
            ({'fsdp': 3}, 'parallel', 'fsdp 3', '4 devices'),
            ({'data': 2, 'fsdp': 4}, 'parallel', '= 8', '4 devices'),
            ({'data': 1}, 'parallel', '= 1', '4 devices'), ({'tensor': 2}, 'parallel.tensor'),
            ({'data': -1, 'space': -1}, 'parallel', 'data and space'),
            ({'strategy': 'pmap', 'fsdp': 2}, 'parallel', 'fsdp is 2'),
            ({'strategy': 'pmap', 'space': 2}, 'parallel', 'space 2')):
        yield row(f'parallel {parallel}', {'parallel': parallel}, *words)
    yield row('images of height 34 on 4 devices of space',
              {'parallel': {'space': 4}, 'data.size': [34, 34]}, 'parallel.space', '34', '36')
    for part in ('axial.Axial', 'self_attention.SelfAttention', 'linear_attention.LinearAttention',
                 'window_attention.WindowAttention'):
        for more, word in (({'heads': 3}, 'heads'), ({'features': 6}, 'heads'),
                           ({'size': [8, 8]}, 'size'), ({'position': 'learned'}, 'size')):
            yield row(f'{part} {more}', {'model.context': [{'type': part, 'features': 8, **more}]},
                      f'context.{word}', str(next(iter(more.values()))).strip('[]'))
        if 'linear' not in part:
            entry = {'type': part, 'features': 8, 'position': 'rope'}
            yield row(f'{part} rope of 2 channels', {'model.context': [entry]}, 'rope', '2')


def _models() -> Iterator[Case]:
    for kernel in (2, 4, 10):
        yield row(f'head kernel {kernel}', {'model.head': {'type': 'head.Head', 'kernel': kernel}},
                  'head.kernel', str(kernel))
    for kernel, dilation in ((6, 3), (10, 3), (21, 6)):
        entry = {'type': 'large_kernel_attention.LargeKernelAttention', 'features': 4,
                 'kernel': kernel, 'dilation': dilation}
        yield row(f'large kernel {kernel} dilated {dilation}', {'model.context': [entry]},
                  'context.kernel', str(kernel))
    for stage in (2, -3, 7, -8):
        yield row(f'stage {stage} of 2', {'model.decoder': {'type': 'fcn.FCN', 'stage': stage}},
                  'decoder.stage', str(stage))
        yield row(f'context at stage {stage} of 2', {'model.context_stage': stage},
                  'context_stage', str(stage))
        yield row(f'auxiliary at stage {stage} of 2',
                  {'model.auxiliary': {'type': 'fcn.FCN', 'stage': stage}}, 'stage', str(stage))
    yield row('no widths', {'model.encoder.widths': []}, 'encoder.widths')
    empty = {'type': 'pyramid_pooling.PyramidPooling', 'features': 4, 'bins': []}
    yield row('no bins', {'model.context': [empty]}, 'context.bins')
    yield row('widths beyond stride 1', {'model.decoder': {'type': 'unet.UNet', 'widths': [4, 4]}},
              'decoder.widths', '(4, 4)')
    yield row('supervised steps beyond the first', {
        'model.decoder': {'type': 'unet.UNet', 'widths': [4], 'supervised_steps': 1}},
              'decoder.supervised_steps', '1')
    for cell in ('mingru', 'lru'):
        entry = {'type': 'renet.ReNet', 'features': 4, 'cell': cell, 'remat': 4}
        yield row(f'remat with {cell}', {'model.context': [entry]}, 'remat', cell)
    for norm in ({'knd': 'batch'}, {'kind': 'instance'}, {'kind': 3}, {'momentum': 2.0},
                 {'momentum': -0.1}, {'epsilon': 0.0}, {'epsilon': -1.0}, {'kind': 'group',
                                                                         'groups': 0},
                 {'groups': 2.5}, {'axis_name': 3}, {'kind': None}, {'epsilon': float('nan')}):
        last = list(norm)[-1]
        for key in ('encoder', 'decoder'):
            yield row(f'{key}.norm={norm}', {f'model.{key}.norm': norm}, f'norm.{last}')
    yield row('group norm of 1 channel', {'model.encoder.norm': 'group',
                                          'model.encoder.widths': [1]}, 'norm')


def _data() -> Iterator[Case]:
    yield row('overlapping data, semantic', {'data.overlapping': True}, 'task', 'semantic')
    yield row('multilabel without overlapping data', {
        'task': {'type': 'multilabel.Multilabel'},
        'losses': OVERLAPPING['losses']}, 'task', 'multilabel')
    scale = {'type': 'transforms.RandomScale', 'low': 2.0, 'high': 0.5}
    yield row('a scale from 2 to 0.5', {'transforms': [scale]}, 'RandomScale', '0.5')
    yield row('another split', {'data.samples': {'train': 4, 'vla': 4}}, 'data.samples', 'vla')
    yield row('no training samples', {'data.samples': {'train': 0, 'val': 4}}, 'train')
    yield row('no split train', {'data.samples': {'val': 4}}, 'train')
    yield row('no splits', {'data.samples': {}}, 'data.samples')
    yield row('an empty split val', {'data.samples': {'train': 4, 'val': 0}}, 'val')
    yield row('cues too far away', {'data': {'type': 'synthetic.DistantCue', 'distance': 40}},
              'data.size')
    yield row('random scales make no batch', {
        'transforms': [{'type': 'transforms.RandomScale'}]}, 'transform')
