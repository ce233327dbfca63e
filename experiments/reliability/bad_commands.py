"""Command lines: arguments, overrides and paths."""

import functools
import pathlib
from collections.abc import Iterator

from experiments.reliability.cases import Case, bad_line, write_image

TRAIN, EVALUATE = ('train', '--config=tiny.py', '--workdir=new'), ('evaluate', '--workdir=work')
PREDICT = ('predict', '--workdir=work', '--input=images', '--output=new')
INSPECT = ('inspect', '--config=tiny.py', '--output=new')
REPORT = ('report', '--workdir=work', '--output=new.html')
EXPLAIN = ('explain', '--workdir=work', '--input=images/a.png', '--output=new', '--class=star')
CROSSVALIDATE = ('crossvalidate', '--config=tiny.py', '--workdir=new')
BASELINE = ('baseline', '--config=tiny.py', '--output=new', '--classifier=kmeans.KMeans')
EXPORT = ('export', '--workdir=work', '--format=onnx', '--output=new.onnx')
LONG = 'a' * 300
DIGITS = ('²', '٣', '１', '1²', '-1²', '½')


def cases() -> Iterator[Case]:
    """All rows."""
    yield from _arguments()
    yield from _overrides()
    yield from _paths()
    yield from _numbers()
    yield from _exports()
    yield from _baselines()


def _arguments() -> Iterator[Case]:
    """Subcommands and arguments that do not exist, or are not there."""
    def row(arguments, *words, **more):
        return bad_line('arguments', arguments, *words, **more)

    for name in ('trian', 'Train', 'TRAIN', '', ' ', 'évaluer', '²', 'train ', '--train', 'help'):
        yield row((name,), (name.strip() or 'jaxseg', 'SUBCOMMAND'))
    yield row((), 'SUBCOMMAND')
    for base in (TRAIN, EVALUATE, PREDICT, INSPECT, REPORT, CROSSVALIDATE, EXPLAIN):
        for bad in ('--workdri=x', 'x', '--', '-x', '--confg.steps=3', '--steps=3',
                    '--conf=tiny.py',
                    '--config.', '--config', '--out=x', '--é=3', '--Workdir=x', '---config=x', '-',
                    '--config-steps=3', ''):
            yield row((*base, bad), (bad, 'expected one argument') if bad else "''")
    yield row('train', '--workdir')
    yield row('train --config=tiny.py', '--workdir')
    yield row('train --workdir', '--workdir')
    yield row('evaluate', '--workdir')
    yield row('evaluate --split=val', '--workdir')
    yield row('predict', '--workdir')
    yield row('predict --workdir=work', '--input')
    yield row('predict --workdir=work --input=images', '--output')
    yield row('inspect', '--config')
    yield row('inspect --output=new', '--config')


def _overrides() -> Iterator[Case]:
    """`--config.key=value` in ways that mean nothing."""
    def row(base, text, *words):
        return bad_line('overrides', (*base, text), *words)

    for base in (TRAIN, INSPECT):
        for text in ('--config.=3', '--config..=3', '--config.a..b=3', '--config..steps=3',
                     '--config.steps.=3', '--config.steps', '--config.model', '--config. =3',
                     '--config.steps.x=3', '--config.steps.x.y=3', '--config.modle.dtype=3',
                     '--config.model.encodr.depth=3', '--config.transforms.0=3',
                     '--config.transforms.0.size=[3,3]', '--config.transforms.-1.size=3',
                     '--config.transforms.²=3', '--config.transforms.x=3', '--config.=',
                     '--config.model.encoder.widths.9=3', '--config.model.encoder.widths.²=3',
                     '--config.model.encoder.widths.-1=3', '--config.model.encoder.widths.0.x=3',
                     '--config.steps=', '--config.steps=x', '--config.steps=3.5',
                     '--config.steps=None', '--config.steps=true', '--config.steps=[3]',
                     '--config.steps=1e3', '--config.steps=0x', '--config.steps=3 3',
                     '--config.steps=nan', '--config.steps==3', '--config.steps=__import__("os")',
                     '--config.batch_size=-4', '--config.batch_size={}', '--config.data=shapes',
                     '--config.model=3', '--config.losses=[]', '--config.transforms=flip',
                     '--config.optimizer=None', '--config.steps=' + '(' * 300,
                     '--config.steps=' + '9' * 5000, '--config.' + '.'.join('a' * 200) + '=3'):
            key = text.removeprefix('--').partition('=')[0]
            if base is TRAIN or not key.startswith('config.model'):
                yield row(base, text, tuple({key[:60], key.removeprefix('config.')[:60]} - {''}))
    for digit in DIGITS:
        yield row(TRAIN, f'--config.steps={digit}', 'config.steps', digit)
        yield row(TRAIN, f'--config.model.encoder.widths.{digit}=3', 'config.model.encoder.widths')
    for base in (EVALUATE, PREDICT, REPORT):
        for key in ('steps', 'seed', 'batch_size', 'transforms', 'losses', 'optimizer',
                    'optimizer.learning_rate', 'schedule.warmup', 'algorithm', 'evaluate_every',
                    'save_every', 'report_every', 'workers', 'parallel', 'step', 'a', '', '.', '..',
                    'Model', 'datas.root'):
            yield row(base, f'--config.{key}=3', f'--config.{key}')
        for text, key in (('inference.type=x', 'inference'), ('inference.window=3', 'inference'),
                          ('inference=none', 'inference'), ('inference={}', 'inference'),
                          ('inference.type=sliding.SlidingWindw', 'inference'),
                          ('model.encoder.widths=[8]', 'widths'), ('model.dtype=float8', 'dtype'),
                          ('model.encoder.depth=2', 'depth'), ('model.classes=3', 'model.classes'),
                          ('eval_batch_size=0', 'eval_batch_size'), ('task.type=x', 'task'),
                          ('task=3', 'task'),
                          ('preprocess.type=x', 'preprocess'), ('model.encoder', 'model.encoder'),
                          ('task.type=multilabel.Multilabel', 'task')):
            yield row(base, f'--config.{text}', ('fit', key) if key in ('widths', 'depth') else key)
        for overlap in ('1', '1.0', '-0.1', 'x', 'nan', 'None', '2'):
            yield bad_line('overrides', (*base, '--config.inference.type=sliding.SlidingWindow',
                                         f'--config.inference.overlap={overlap}'),
                           'inference.overlap', overlap)
        for window in ('0', '[0,32]', '[32,0]', '[-1,32]', '[32]', '[32,32,32]', 'x', '[]', 'None'):
            yield bad_line('overrides', (*base, '--config.inference.type=sliding.SlidingWindow',
                                         f'--config.inference.window={window}'), 'inference.window')
    for text in ('data.type=x', 'data.type=folder.Folder', 'data.size=[3,3]', 'data=3', 'data={}',
                 'data.samples={"val": -1}', 'data.samples={"vla": 1}', 'data.overlapping=true'):
        yield row(EVALUATE, f'--config.{text}', ('data', 'overlapping'))


def _paths() -> Iterator[Case]:
    """Paths that are empty, too long, files, patterns, or of the system."""
    def row(arguments, *words, prepare=None):
        return bad_line('paths', arguments, *words, prepare=prepare)

    # What may stand before the path, and after it.
    writes = ((('train', '--config=tiny.py'), '--workdir', ()),
              (('crossvalidate', '--config=tiny.py'), '--workdir', ()),
              (EXPLAIN[:3], '--output', EXPLAIN[4:]),
              (('predict', '--workdir=work', '--input=images'), '--output', ()),
              (('inspect', '--config=tiny.py'), '--output', ()))
    reads = ((('train',), '--workdir', ()), (('evaluate',), '--workdir', ()),
             (('predict',), '--workdir', ('--input=images', '--output=new')),
             (('report',), '--workdir', ('--output=new.html',)),
             (('inspect',), '--workdir', ('--output=new',)),
             (('crossvalidate',), '--workdir', ()), (('train',), '--config', ('--workdir=new',)),
             (('crossvalidate',), '--config', ('--workdir=new',)),
             (('explain',), '--workdir', EXPLAIN[2:]), (EXPLAIN[:2], '--input', EXPLAIN[3:]),
             (('inspect',), '--config', ('--output=new',)),
             (('predict', '--workdir=work'), '--input', ('--output=new',)))
    for before, name, after in (*writes, *reads):
        for path in ('', ' ', '\t'):
            yield row((*before, f'{name}={path}', *after), name)
        for path in (LONG, f'a/{LONG}/b', 'a\0b', '/'.join([LONG[:200]] * 30)):
            yield row((*before, f'{name}={path}', *after), name)
    for before, name, after in writes:
        for path in ('/proc/x', '/proc/self/x', '/sys/x/y', '/dev/null', '/dev/null/x',
                     '/proc/version/x', 'tiny.py', 'tiny.py/x', 'loop/x', 'loop', 'dangling/x'):
            yield row((*before, f'{name}={path}', *after), name, path, prepare=_links)
    for before, name, after in reads:
        for path in ('none', '/none/x', '/dev/null', '/proc', 'tiny.py/x', 'tiny.py', 'empty',
                     'loop', 'dangling', '/proc/self/mem', '.', '..'):
            # A config that is one, and folders with images somewhere below.
            if not (path == 'tiny.py' and name == '--config'
                    or path in ('/proc', '.', '..') and name == '--input'):
                yield row((*before, f'{name}={path}', *after),
                          (name, f'failed: {path}', f'explain: {path}'), path,
                          prepare=_links)
    for path in ('new', 'new.png', 'tiny.py', 'images', '/dev/null', '/proc/x.html', '/sys/x.html',
                 'tiny.py/x.html', 'loop/x.html', 'dangling/x.html', 'folder.html', '.', '..'):
        yield row(('report', '--workdir=work', f'--output={path}'), '--output', path,
                  prepare=_links)
    for path in ('a[1]', 'a]', '[', 'a*', '*/b', 'a?b', 'x/[0-9]/y', '**'):
        yield row(('train', '--config=tiny.py', f'--workdir={path}'), '--workdir', path)
        yield row(('train', '--config=tiny.py', f'--workdir={path}/deeper'), '--workdir', path)
        yield row(('evaluate', f'--workdir={path}'), '--workdir', path)
    for given, output in (('images', 'images'), ('images', 'images/new'), ('.', 'new'), ('.', '.'),
                          ('images', './images/../images'), ('images/a.png', 'images'),
                          ('images', 'link'), ('twice', 'new'), ('nested', '.'),
                          ('overlay', 'new')):
        yield row(('predict', '--workdir=work', f'--input={given}', f'--output={output}'),
                  ('--output', '--input'), prepare=_inputs)


def _links(folder: pathlib.Path):
    (folder / 'loop').symlink_to('loop')
    (folder / 'dangling').symlink_to('nowhere')
    (folder / 'empty').mkdir()
    (folder / 'folder.html').mkdir()


def _inputs(folder: pathlib.Path):
    for name in ('images/a.png', 'twice/a.png', 'twice/a.bmp', 'nested/b.png',
                 'nested/nested/b.png',
                 'nested/nested/b.bmp', 'overlay/a.png', 'overlay/a_overlay.png'):
        write_image(folder / name)
    (folder / 'link').symlink_to('images')


def _numbers() -> Iterator[Case]:
    """Splits, parts of splits, checkpoints and counts."""
    for split in ('', ' ', 'vla', 'Val', 'train ', '²', '../val', LONG, 'val\n', 'all', '0'):
        for base in (EVALUATE, REPORT):
            yield bad_line('evaluate and predict', (*base, f'--split={split}'),
                           split.strip()[:50] or 'split')
    for match in ('zebra', ' ', 'VAL', LONG, '²', 'val_00000[01]', 'val*', '../'):
        yield bad_line('evaluate and predict', (*EVALUATE, f'--match={match}'), '--match',
                       match[:50])
    for which in ('', ' ', 'bst', 'Best', 'last', '1', '-1', '0', '1.0', '2.0', '²', '²2', '02 ',
                  '1' * 5000, 'None', '../2', LONG, '٢', '２', '+2', '2_0', '99999999999999999999'):
        for base in (EVALUATE, PREDICT, REPORT):
            yield bad_line('evaluate and predict', (*base, f'--checkpoint={which}'),
                           'checkpoint', which[:50])
    for number in ('-1', '-100', 'x', '', ' ', '1.5', '²', 'nan', 'None', '1e3', '0x1', '9' * 5000):
        for base in (EVALUATE, REPORT):
            yield bad_line('evaluate and predict', (*base, f'--num_images={number}'),
                           'num_images', number[:20])
    for metrics in (' ', ',', 'x', 'boundry', 'Boundary', 'all,x', 'all,all', 'boundary,', '²', '1',
                    'boundary calibration', LONG, '[boundary]'):
        yield bad_line('evaluate and predict', (*EVALUATE, f'--metrics={metrics}'), '--metrics',
                       metrics[:50])
    for outputs in ('', ' ', 'masks', 'indices,', 'color', 'Indices', 'indices;colors', LONG):
        yield bad_line('evaluate and predict', (*PREDICT, f'--outputs={outputs}'), '--outputs')
    for kind in ('', 'png', 'npy16', 'PNG16', '16'):
        yield bad_line('evaluate and predict', (*PREDICT, f'--probabilities={kind}'),
                       'probabilities')
    yield bad_line('evaluate and predict', (*PREDICT, '--resume=yes'), 'resume')
    yield bad_line('evaluate and predict', (*PREDICT, '--postprocess'), 'postprocess.json')
    yield bad_line('evaluate and predict', (*EVALUATE, '--postprocess'), 'postprocess.json')
    yield bad_line('evaluate and predict', (*EVALUATE, '--split=test', '--choose_postprocessing'),
                   '--choose_postprocessing', '--split=test')
    for damage in ('', '{}', '[1]\n', 'x\ny\n'):
        yield bad_line('evaluate and predict', (*PREDICT, '--resume'), '--resume', 'predict.jsonl',
                       prepare=functools.partial(_record, text=damage))


def _record(folder: pathlib.Path, text: str):
    (folder / 'new').mkdir()
    (folder / 'new' / 'predict.jsonl').write_text(text)


def _exports() -> Iterator[Case]:
    """Formats, files, sizes and batches of `jaxseg export`."""
    def row(argument, *words):
        return bad_line('export', (*EXPORT, argument), *words)

    for size in ('', '3', '0,3', '3,0', '-1,3', '3,4,5', 'x', '3x4', '²,3', '1.5,3', '999999,3'):
        yield row(f'--size={size}', '--size')
    for batch in ('0', '-1', 'x', '', '1.5', 'any'):
        yield row(f'--batch={batch}', 'batch', batch)
    for name in ('', 'ONNX', 'torch', 'onx'):
        yield row(f'--format={name}', '--format', 'stablehlo')
    for name in ('', 'masks', 'logits'):
        yield row(f'--outputs={name}', '--outputs', 'probabilities')
    for output in ('', 'new.zip', 'new', 'tiny.py/new.onnx', '/proc/new.onnx'):
        yield row(f'--output={output}', '--output')
    for which in ('', '7', 'bst'):
        yield row(f'--checkpoint={which}', 'checkpoint', which)
    for key in ('inference.type=sliding.SlidingWindow', 'data.type=x', 'steps=3', 'seed=1'):
        yield row(f'--config.{key}', f'--config.{key.partition("=")[0]}', 'export')


def _baselines() -> Iterator[Case]:
    """Classifiers, splits, folders and keys of `jaxseg baseline`."""
    def row(argument, *words):
        return bad_line('baseline', (*BASELINE, argument), *words)

    for name in ('', 'kmeans', 'kmeans.Kmeans', 'forest.Forest', 'features.PixelFeatures',
                 'kmeans.NamedClusters', 'none:Forest', 'os:path'):
        yield row(f'--classifier={name}', 'classifier')
    for split in ('', 'vla', 'val,', ',val', 'val, test', 'val;test'):
        yield row(f'--split={split}', 'split', split.strip(',')[-3:])
    for option in ('pixels', 'seed', 'num_images'):
        for number in ('-1', 'x', '', '1.5', '9' * 5000):
            yield row(f'--{option}={number}', option, number[:20])
    yield row('--pixels=0', '--pixels=0')
    for output in ('', '/proc/x', 'tiny.py', 'tiny.py/x'):
        yield row(f'--output={output}', '--output')
    for key in ('steps=3', 'model.dtype=bfloat16', 'seed=1', 'classifer.trees=3'):
        yield row(f'--config.{key}', f'--config.{key.partition("=")[0]}', 'baseline')
    for key, word in (('classifier.trees=3', 'trees'), ('classifier=3', 'classifier'),
                      ('classifier={}', 'classifier'), ('pixel_features.scale=[1]', 'scales'),
                      ('data.overlapping=true', 'overlap'), ('data.type=x', 'data'),
                      ('task.type=multilabel.Multilabel', 'task'),
                      ('pixel_features.type=kmeans.KMeans', 'pixel_features')):
        yield row(f'--config.{key}', word)
    yield row('--match=zebra', '--match', 'zebra')
    yield row('--workdir=work', '--workdir')
    yield bad_line('baseline', BASELINE[:1] + BASELINE[2:], '--config')
    yield bad_line('baseline', BASELINE[:3], '--classifier')
