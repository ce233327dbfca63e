"""Work directories whose files are damaged, missing, or of another run."""

import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from experiments.reliability.cases import Case, bad_line, changed, write_config
from jaxseg.records import read_record, write_record

# What stands in a JSON file instead.
CONTENTS = {
    'missing': None, 'empty': b'', 'a blank': b' \n', 'half of it': b'{"steps": 2, "mod',
    'a list': b'[]', 'a number': b'3', 'null': b'null', 'a text': b'"x"', 'no keys': b'{}',
    'no JSON': b'steps: 3\n', 'bytes': bytes(range(256)), 'UTF-16': '{"steps": 2}'.encode('utf-16'),
    'one key': b'{"seed": 0}', 'an unknown key': b'{"sead": 0}', 'deep': b'[' * 100000,
    'deep braces': b'{"a":' * 100000, 'NaN': b'NaN', 'two values': b'{} {}',
    'a huge number': b'{"steps": ' + b'9' * 5000 + b'}', 'a null byte': b'{"steps": 2\0}'}
RUNS = {'evaluate': ('evaluate', '--workdir=work'),
        'predict': ('predict', '--workdir=work', '--input=images', '--output=new'),
        'train': ('train', '--workdir=work'), 'inspect': ('inspect', '--workdir=work',
                                                          '--output=new')}
# A key of a JSON file and a value that it cannot have.
VALUES = {
    'config.json': (('steps', 'x'), ('steps', -1), ('steps', None), ('batch_size', 3.5),
                    ('batch_size', 0), ('model', None), ('model', {}), ('data', 3), ('losses', {}),
                    ('task', {'type': 'x'}), ('inference', {'type': 'os:system'}),
                    ('parallel', 'jit'), ('parallel', {'fsdp': 0}), ('seed', [1]),
                    ('transforms', {})),
    'dataset.json': (('name', 3), ('classes', []), ('classes', 'abc'), ('classes', ['a', 'a']),
                     ('classes', None), ('classes', [1, 2]), ('colors', [[1, 2]]), ('colors', 3),
                     ('colors', [[0, 0, 0]]), ('colors', [[256, 0, 0]] * 5), ('ignore_index', 'x'),
                     ('ignore_index', 0), ('ignore_index', -1), ('ignore_index', 10 ** 21),
                     ('ignore_index', 65536), ('mean', []), ('mean', ['x'] * 3), ('mean',
                                                                                  [2.0] * 3),
                     ('mean', [0.5]), ('std', [0.0] * 3), ('std', [-1.0] * 3), ('std', None),
                     ('splits', 3), ('splits', [1]), ('value_range', [1, 0]), ('value_range', [1]),
                     ('value_range', ['a', 'b']), ('value_range', [0, 0]), ('overlapping', 1),
                     ('overlapping', 'no'), ('clases', [])),
    'model.json': (('mean', []), ('mean', 'x'), ('mean', [0.5]), ('mean', None), ('mean',
                                                                                  ['x'] * 3),
                   ('std', [0.0] * 3), ('std', [-1.0] * 3), ('std', [1.0]), ('std', []),
                   ('value_range', [1, 0]), ('value_range', [0, 0]), ('value_range', [1]),
                   ('value_range', 'x'), ('input_shape', [32, 32]), ('input_shape', [0, 32, 3]),
                   ('input_shape', [-1, 32, 3]), ('input_shape', ['x', 32, 3]),
                   ('input_shape', [32, 32, 1]), ('input_shape', None), ('shape', 3),
                   ('dtype', 'int8'), ('dtype', None), ('pretrained', 3),
                   ('pretrained', {'type': 'x'}))}
DAMAGED = {
    'no checkpoints': lambda folder: shutil.rmtree(folder),
    'empty checkpoints': lambda folder: [shutil.rmtree(folder), folder.mkdir()],
    'a file': lambda folder: [shutil.rmtree(folder), folder.write_text('x')],
    'an empty checkpoint': lambda folder: [shutil.rmtree(folder / '2'), (folder / '2').mkdir()],
    'a file as checkpoint': lambda folder: [shutil.rmtree(folder / '2'),
                                            (folder / '2').write_text('x')],
    'no model': lambda folder: shutil.rmtree(folder / '2/model'),
    'an empty model': lambda folder: [shutil.rmtree(folder / '2/model'),
                                      (folder / '2/model').mkdir()],
    'no values': lambda folder: [path.unlink() for path in folder.glob('2/model/**/d/*')],
}
# Files of a checkpoint that are cut short, made empty, or replaced by other bytes.
PARTS = ('2/model/manifest.ocdbt', '2/model/d/*', '2/model/_METADATA', '2/model/_sharding',
         '2/model/array_metadatas/*', '2/metrics/metrics')


def cases() -> Iterator[Case]:
    """All rows."""
    for file in ('config.json', 'dataset.json', 'model.json'):
        # Training writes descriptions again; an inspection reads the config alone.
        readers = RUNS if file == 'config.json' else ('evaluate', 'predict')
        for (name, content), subcommand in itertools.product(CONTENTS.items(), readers):
            yield _row(f'{subcommand}: {file} is {name}', RUNS[subcommand], file,
                       partial(_write, file=file, content=content))
        for key, value in VALUES[file]:
            # A row of its own for each subcommand that reads the file.
            for subcommand in ('evaluate', 'predict'):
                yield _row(f'{subcommand}: {file} with {key}={value!r}'[:76], RUNS[subcommand],
                           (file, key), partial(_change, file=file, key=key, value=value))
        for name, link in (('a folder', None), ('a loop', file), ('a broken link', 'none')):
            yield _row(f'evaluate: {file} is {name}', RUNS['evaluate'], file,
                       partial(_replace, file=file, link=link))
    yield from _checkpoints()
    yield from _other_runs()


def _row(name: str, arguments: tuple[str, ...], word: Any, damage: Callable) -> Case:
    case = bad_line('work directories', arguments, word, prepare=damage)
    return case._replace(name=name)


def _write(folder: pathlib.Path, file: str, content: bytes | None):
    path = folder / 'work' / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def _change(folder: pathlib.Path, file: str, key: str, value: Any):
    path = folder / 'work' / file
    # With a digest that matches, as no damage but only a hand could write it.
    write_record(path, {**read_record(path), key: value})


def _replace(folder: pathlib.Path, file: str, link: str | None):
    path = folder / 'work' / file
    path.unlink()
    path.mkdir() if link is None else path.symlink_to(link)


def _checkpoints() -> Iterator[Case]:
    for subcommand in ('evaluate', 'predict'):
        for name, damage in DAMAGED.items():
            yield _row(f'{subcommand}: {name}', RUNS[subcommand], 'checkpoint',
                       lambda folder, damage=damage: damage(folder / 'work/checkpoints'))
        for part in PARTS:
            for name, kept in (('half', 0.5), ('a tenth', 0.1), ('nothing', 0)):
                yield _row(f'{subcommand}: {name} of {part}', RUNS[subcommand], 'checkpoint',
                           partial(_cut, part=part, kept=kept))
    for part in ('2/training/manifest.ocdbt', '2/training/d/*', '2/training/_METADATA',
                 '2/model/manifest.ocdbt'):
        yield _row(f'train: a tenth of {part}', RUNS['train'], 'checkpoint',
                   partial(_cut, part=part, kept=0.1))


def _cut(folder: pathlib.Path, part: str, kept: float):
    paths = list((folder / 'work/checkpoints').glob(part))
    for path in paths:
        content = path.read_bytes()
        path.write_bytes(content[:int(kept * len(content))])
    assert paths, part


def _other_runs() -> Iterator[Case]:
    """A config or data that are not those of the run."""
    for key, value in (('seed', 1), ('steps', 1), ('batch_size', 8), ('evaluate_every', 1),
                       ('model.encoder.widths', [8]), ('model.decoder.widths', [8]),
                       ('model.dtype', 'bfloat16'), ('optimizer.learning_rate', 0.1),
                       ('optimizer.type', 'optimizer.lion'), ('losses.cross_entropy.weight', 2.0),
                       ('data.seed', 1), ('data.size', [32, 64]), ('data.samples', {'train': 8}),
                       ('transforms', [{'type': 'transforms.RandomFlip'}]),
                       ('schedule.type', 'schedule.poly'), ('task.auxiliary_weight', 0.1)):
        def prepare(folder: pathlib.Path, key=key, value=value):
            write_config(folder / 'tiny.py', changed({key: value}))

        yield _row(f'train: the run had another {key}',
                   ('train', '--config=tiny.py', '--workdir=work'), (key, key.split('.')[0]),
                   prepare)
    for file, key, value in (('dataset.json', 'classes', ['a', 'b', 'c', 'd', 'e']),
                             ('dataset.json', 'ignore_index', 254)):
        for subcommand in ('evaluate', 'train'):
            yield _row(f'{subcommand}: the data had another {key}', RUNS[subcommand], file,
                       partial(_change, file=file, key=key, value=value))
    splits = {'train': {'count': 1, 'names': ['a'], 'sha256': 'x'}}
    yield _row('train: the run had other samples', RUNS['train'], 'splits.json',
               lambda folder: write_record(folder / 'work/splits.json', splits))
    for name in ('config.json', 'checkpoints'):
        yield _row(f'evaluate: only {name} is there', RUNS['evaluate'], ('work', 'json'),
                   partial(_keep, name=name))


def _keep(folder: pathlib.Path, name: str):
    for path in (folder / 'work').iterdir():
        if path.name != name:
            shutil.rmtree(path) if path.is_dir() else os.remove(path)
