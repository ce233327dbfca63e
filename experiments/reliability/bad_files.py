"""Config files that do not run, hold no config, or hold what is no plain value."""

import pathlib
import shutil
from collections.abc import Iterator
from functools import partial

from experiments.reliability.cases import TINY, Case, bad_line

PATHS = ('none.py', '/none/none.py', 'folder.py', 'tiny', 'text.txt', 'tiny.yaml', 'TINY.PY ',
         'tiny.json', 'folder', '/', '/dev/null', 'archive.zip', 'tiny.pyc', 'broken.py/x.py')
# Text of the file, and a word of the error.
TEXTS = {
    'empty': ('', 'get_config'),
    'a comment': ('# nothing\n', 'get_config'),
    'a syntax error': ('def get_config(:\n    pass\n', 'SyntaxError'),
    'an unfinished string': ('x = "abc\n', 'SyntaxError'),
    'a wrong indentation': ('def get_config():\nreturn 3\n', 'IndentationError'),
    'tabs and spaces': ('def get_config():\n\tx = 1\n        return x\n', 'TabError'),
    'JSON': ('{"steps": true, "x": null}\n', 'NameError'),
    'YAML': ('steps: 3\nmodel:\n  a: 3\n', 'Error'),
    'prose': ('This is no Python file.\n', 'SyntaxError'),
    'only a dict': ('config = {"steps": 3}\n', 'get_config'),
    'another name': ('def get_confg():\n    return {}\n', 'get_config'),
    'no function': ('get_config = {"steps": 3}\n', 'TypeError'),
    'None as function': ('get_config = None\n', 'TypeError'),
    'an argument': ('def get_config(name):\n    return {}\n', 'TypeError'),
    'a class': ('class get_config:\n    pass\n', 'get_config'),
    'a generator': ('def get_config():\n    yield 3\n', 'generator'),
    'ValueError': ('def get_config():\n    raise ValueError("two\\nlines")\n', 'ValueError: two'),
    'KeyError': ('def get_config():\n    return {}["steps"]\n', 'KeyError'),
    'an empty error': ('def get_config():\n    raise RuntimeError\n', 'RuntimeError'),
    'AssertionError': ('def get_config():\n    assert False\n', 'AssertionError'),
    'ZeroDivisionError': ('x = 1 / 0\n', 'ZeroDivisionError'),
    'ImportError': ('import no_such_module\n', 'no_such_module'),
    'an import of a name': ('from os import no_such_name\n', 'no_such_name'),
    'OSError': ('open("none.txt")\n', 'none.txt'),
    'RecursionError': ('def get_config():\n    return get_config()\n', 'RecursionError'),
    'MemoryError': ('def get_config():\n    raise MemoryError\n', 'MemoryError'),
    'sys.exit': ('import sys\nsys.exit(0)\n', 'SystemExit'),
    'sys.exit with a text': ('def get_config():\n    raise SystemExit("bye")\n', 'SystemExit'),
    'StopIteration': ('def get_config():\n    return next(iter([]))\n', 'StopIteration'),
    'GeneratorExit': ('def get_config():\n    raise GeneratorExit\n', 'GeneratorExit'),
    'an experiment that is not there': ('from experiments.none import get_config\n', 'none'),
}
# What get_config() returns, and a word of the error.
RETURNS = {
    'None': 'NoneType', '3': 'int', '"steps"': 'str', '[]': 'list', '[("steps", 3)]': 'list',
    '()': 'tuple', 'dict': 'type', 'get_config': 'function', '{1, 2}': 'set', 'b"x"': 'bytes',
    'True': 'bool', 'float("nan")': 'float', 'object()': 'object', '{}': 'steps',
    '{"steps": 3}': 'needs', '{**TINY, 3: 4}': '3', '{**TINY, None: 4}': 'None',
    '{**TINY, "": 4}': 'config.', '{**TINY, "a b": 4}': 'a b', '{**TINY, (1, 2): 4}': '(1, 2)',
    '{**TINY, "config": {}}': 'config.config', '{"config": TINY}': 'config.config',
    '{**TINY, "model": print}': 'built-in', '{**TINY, "transforms": {1}}': '{1}',
    '{**TINY, "transforms": [print]}': 'built-in', '{**TINY, "data": numpy.zeros(2)}': 'array',
    '{**TINY, "steps": deep(100000)}': 'deep', '{**TINY, "steps": wide(100000)}': 'deep',
    '{**TINY, "steps": deep(60)}': 'config.steps', '{**TINY, "transforms": deep(30)}': 'transforms',
    'itself()': 'itself', 'listed()': 'itself', 'looped()': 'itself', 'reference()': 'config',
    '{**TINY, "steps": placeholder(int)}': 'config.steps',
    '{**TINY, "seed": required(int)}': 'config.seed',
    '{**TINY, "steps": "\\ud800"}': 'config.steps', '{**TINY, "steps": "a\\0b"}': 'config.steps',
    '{**TINY, "steps": "two\\nlines"}': 'config.steps', '{**TINY, "a\\nb": 3}': 'config.a',
    '{**TINY, "steps": "x" * 100000}': 'config.steps', '{**TINY, "s\\u00e9ed": 3}': 'config.s',
}
# Values of `steps` that no JSON holds.
NOT_PLAIN = ('print', 'lambda: 3', '{1, 2}', 'b"3"', '3j', 'object()', 'numpy.arange(3)', 'float',
             'numpy.int64(3)', 'numpy.array(3)', 'Path("a")', '...', 'range(3)', 'iter([])',
             'Decimal("3")', 'Fraction(3)')
HEADER = f'''"""Tiny."""
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy
from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder, required_placeholder as required

TINY = {TINY!r}


def deep(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


def wide(depth):
    found = {{}}
    for _ in range(depth):
        found = {{'a': found}}
    return found


def itself():
    config = ConfigDict(TINY)
    config.model.model = config
    return config


def listed():
    config = dict(TINY)
    config['transforms'] = [config]
    return config


def looped():
    config = dict(TINY, transforms=[])
    config['transforms'].append(config['transforms'])
    return config


def reference():
    return ConfigDict(dict(TINY, steps=FieldReference('three')))


'''


def cases() -> Iterator[Case]:
    """All rows."""
    for subcommand, place in (('train', '--workdir=new'), ('inspect', '--output=new')):
        def row(path, *words, prepare, name='', subcommand=subcommand, place=place):
            case = bad_line('config files', (subcommand, f'--config={path}', place), *words,
                            prepare=prepare)
            return case._replace(name=f'{subcommand}: {name}') if name else case

        for path in PATHS:
            yield row(path, '--config', path, prepare=_files)
        for name, (text, word) in TEXTS.items():
            yield row('bad.py', 'bad.py', word, prepare=partial(_write, text=text), name=name)
        for encoding in ('utf-16', 'latin-1'):
            yield row('bad.py', 'bad.py', 'SyntaxError', name=f'in {encoding}', prepare=partial(
                _write, text='x = "\u00e9"\n', encoding=encoding))
        yield row('bad.py', 'bad.py', 'SyntaxError', name='null bytes',
                  prepare=partial(_write, text='x = 3\0\n'))
        wrong = {f'{{**TINY, "steps": {value}}}': 'config.steps' for value in NOT_PLAIN}
        for value, words in {**RETURNS, **wrong}.items():
            text = f'{HEADER}def get_config():\n    return {value}\n'
            yield row('bad.py', words, ('config', 'bad.py'), prepare=partial(_write, text=text),
                      name=f'returns {value}')


def _write(folder: pathlib.Path, text: str, encoding: str = 'utf-8'):
    (folder / 'bad.py').write_text(text, encoding=encoding)


def _files(folder: pathlib.Path):
    (folder / 'folder.py').mkdir()
    (folder / 'folder').mkdir()
    for name in ('text.txt', 'tiny.yaml', 'tiny.json', 'archive.zip', 'tiny.pyc', 'broken.py'):
        shutil.copy(folder / 'tiny.py', folder / name)
