"""The architecture, checked by reading the code: imports, sizes, and what runs at import."""

import ast
import pathlib
import subprocess
import sys

import pytest

from jaxseg.commands import SUBCOMMANDS

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(path.relative_to(ROOT) for folder in ('jaxseg', 'experiments', 'tests')
               for path in (ROOT / folder).rglob('*.py'))
PACKAGES = {'layers', 'encoders', 'context', 'decoders', 'models', 'losses', 'metrics', 'tasks',
            'data', 'training', 'inference', 'explain', 'export', 'pretrained', 'commands',
            'report', 'classical'}
# What each package or file of jaxseg may import; those of `OPEN_TO_ALL` are open to all.
MAY_IMPORT = {
    'layers': {'layers'}, 'encoders': {'layers'}, 'context': {'layers'}, 'decoders': {'layers'},
    'models': {'layers'}, 'losses': {'losses'}, 'metrics': {'metrics'},
    'tasks': {'tasks', 'losses', 'metrics'}, 'data': {'data'}, 'training': {'training'},
    'inference': {'inference'}, 'explain': {'explain'}, 'export': {'export'},
    'pretrained': {'pretrained', 'layers'}, 'report': {'report'}, 'classical': {'classical'},
    'commands': PACKAGES | {'build'},
    'axis.py': set(), 'build.py': set(), 'cores.py': set(), 'errors.py': set(), 'fields.py': set(),
    'files.py': set(), 'memory.py': set(), 'processes.py': set(), 'records.py': set(),
    '__init__.py': set(),
    '__main__.py': {'commands'},
}
OPEN_TO_ALL = {'axis', 'cores', 'errors', 'fields', 'files', 'memory', 'processes', 'records'}
# The only file of a package that its other files may import.
SHARED_FILE = {'losses': 'pixels', 'metrics': 'report', 'tasks': 'pixelwise'}
# The keys of a config are fields of one class, the only one with more than 12.
SCHEMA = ('jaxseg/commands/run_config.py', 'RunConfig')
# What predictions and evaluations import, with the parts of a usual config, and what takes long to
# import and is not used there.
PREDICTION = ('jaxseg.commands.predict', 'jaxseg.commands.load', 'jaxseg.commands.evaluate',
              'jaxseg.models.segmentation_model', 'jaxseg.encoders.resnet',
              'jaxseg.decoders.unet', 'jaxseg.context.self_attention', 'jaxseg.tasks.semantic',
              'jaxseg.losses.weighted', 'jaxseg.losses.cross_entropy', 'jaxseg.losses.dice',
              'jaxseg.data.device_transforms')
UNUSED_IN_PREDICTIONS = ('optax', 'grain', 'scipy', 'tensorflow_datasets', 'matplotlib')
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FORBIDDEN_NAMES = {'utils', 'util', 'common', 'misc', 'base', 'helpers', 'helper'}


def imports(tree: ast.AST) -> set[str]:
    """Full names of all that is imported, inside functions, too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            module = f'{"." * node.level}{node.module or ""}'
            found |= {f'{module}.{alias.name}' for alias in node.names}
    return found


def wrong_imports(path: pathlib.PurePath, tree: ast.AST) -> list[str]:
    """Imports that this file's package may not have.

    Relative imports and those of `jaxseg` itself are wrong everywhere: they would not show which
    package they take from.
    """
    package, wrong = path.parts[1], []
    for name in imports(tree):
        parts = name.split('.')
        if not parts[0] or parts[0] in ('tensorflow', 'torch'):
            wrong.append(name)
        elif parts[0] == 'jaxseg':
            allowed = len(parts) > 1 and parts[1] in MAY_IMPORT[package] | OPEN_TO_ALL
            if not allowed or parts[1] == package and not may_import_sibling(package, parts[2:]):
                wrong.append(name)
    return wrong


def may_import_sibling(package: str, parts: list[str]) -> bool:
    """Whether files of a package may import this one of it; `parts` is its name in the package."""
    file = parts[0] if parts else ''
    if package == 'commands':
        return file.replace('_', '-') not in SUBCOMMANDS
    return package not in SHARED_FILE or file == SHARED_FILE[package]


def depth(node: ast.AST, inside: int = 0) -> int:
    """Blocks within blocks, at most, inside a node."""
    blocks = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try,
              ast.TryStar, ast.Match)
    deepest = inside
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, (*FUNCTIONS, ast.Lambda)):
                # `elif` is an If in the orelse of an If, in the same column: no deeper for readers.
                is_elif = (isinstance(node, ast.If) and field == 'orelse'
                           and isinstance(child, ast.If) and child.col_offset == node.col_offset)
                deeper = isinstance(child, blocks) and not is_elif
                deepest = max(deepest, depth(child, inside + deeper))
    return deepest


def over_limits(path: pathlib.PurePath, source: str) -> list[str]:
    """Files and functions that are too long, nesting that is too deep, classes with many fields."""
    wrong = []
    if len(source.splitlines()) > 300:
        wrong.append(f'{len(source.splitlines())} lines')
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTIONS):
            if node.end_lineno - node.lineno + 1 > 60:
                wrong.append(f'{node.name}: {node.end_lineno - node.lineno + 1} lines')
            if depth(node) > 3:
                wrong.append(f'{node.name}: nesting {depth(node)}')
        if (isinstance(node, ast.ClassDef) and (path.as_posix(), node.name) != SCHEMA
                and sum(isinstance(item, ast.AnnAssign) for item in node.body) > 12):
            wrong.append(f'{node.name}: more than 12 fields')
    return wrong


def reads_config_with_get(tree: ast.AST) -> bool:
    owners = [node.value for node in ast.walk(tree)
              if isinstance(node, ast.Attribute) and node.attr == 'get']
    return any(getattr(owner, 'id', getattr(owner, 'attr', '')).endswith('config')
               for owner in owners)


def parents(tree: ast.AST) -> set[str]:
    """The experiments that an experiment imports."""
    return {name.removesuffix('.get_config') for name in imports(tree)
            if name.startswith('experiments.')}


def is_experiment(path: pathlib.PurePath) -> bool:
    """Whether a file defines one run; studies, benchmarks and checks execute many."""
    return (path.parts[0] == 'experiments' and not path.stem.endswith('_study')
            and path.parts[1] not in ('benchmarks', 'cluster', 'reliability', 'mutations.py',
                                      'mutations_of_training.py', 'mutation_check.py'))


@pytest.mark.parametrize('path', FILES, ids=str)
def test_every_file_keeps_the_rules(path):
    source = (ROOT / path).read_text()
    tree = ast.parse(source)
    assert not over_limits(path, source)
    assert ast.get_docstring(tree) or not source.strip()
    assert not FORBIDDEN_NAMES & set(path.with_suffix('').parts)
    if path.parts[0] == 'jaxseg':
        assert not wrong_imports(path, tree)
        assert not reads_config_with_get(tree) or path.parts[1] in ('commands', 'build.py')
    if is_experiment(path):
        assert {name.split('.')[0] for name in imports(tree)} <= {'ml_collections', 'experiments'}
        for parent in parents(tree):
            parent_tree = ast.parse((ROOT / f'{parent.replace(".", "/")}.py').read_text())
            assert not parents(parent_tree), f'{parent} is made from another experiment itself'


def test_every_package_has_an_import_rule():
    found = {path.name for path in (ROOT / 'jaxseg').iterdir() if path.name != '__pycache__'}
    assert found == set(MAY_IMPORT)


@pytest.mark.parametrize('path, wrong, right', [
    ('jaxseg/encoders/new.py',
     ['from jaxseg.encoders.resnet import ResNet', 'import jaxseg.losses.dice', 'import torch',
      'import jaxseg', 'import tensorflow as tf', 'from .resnet import ResNet',
      'from . import resnet', 'from jaxseg import models',
      'def f():\n    from jaxseg.models.segmentation_model import SegmentationModel'],
     ['from jaxseg.layers.conv import Conv', 'from jaxseg.errors import InputError']),
    ('jaxseg/commands/predict.py',
     ['from jaxseg.commands.evaluate import main', 'from jaxseg.commands import train',
      'import jaxseg.commands.inspect', 'def f():\n    from jaxseg.commands.train import run'],
     ['from jaxseg.commands.workdir import open_workdir', 'from jaxseg.build import build',
      'from jaxseg.training.evaluation import evaluate']),
    ('jaxseg/losses/dice.py',
     ['from jaxseg.losses.focal import focal', 'import jaxseg.losses',
      'from jaxseg.metrics.report import text_table'],
     ['from jaxseg.losses.pixels import soft_dice', 'from jaxseg.losses import pixels']),
    ('jaxseg/tasks/semantic.py', ['from jaxseg.tasks.multilabel import Multilabel'],
     ['from jaxseg.tasks.pixelwise import Pixelwise', 'from jaxseg.losses.dice import dice']),
])
def test_wrong_imports_are_found(path, wrong, right):
    for line in wrong:
        assert wrong_imports(pathlib.PurePath(path), ast.parse(line)), line
    for line in right:
        assert not wrong_imports(pathlib.PurePath(path), ast.parse(line)), line


def test_what_exceeds_a_limit_is_found():
    path = pathlib.PurePath('jaxseg/commands/run_config.py')
    for deep in ('def f():\n for a in b:\n  if a:\n   while a:\n    with a:\n     pass',
                 'async def f():\n match a:\n  case 1:\n   if a:\n    pass\n   else:\n'
                 '    if a:\n     if a:\n      pass'):
        assert over_limits(path, deep) == ['f: nesting 4']
    assert not over_limits(path, 'def f():\n if a:\n  pass\n' + ' elif a:\n  pass\n' * 9)
    wide = '\n'.join(f' a{i}: int' for i in range(13))
    assert over_limits(path, f'class A:\n{wide}') == ['A: more than 12 fields']
    assert over_limits(path, f'class RunConfig:\n{wide}') == []
    elsewhere = pathlib.PurePath('jaxseg/models/new.py')
    assert over_limits(elsewhere, f'class RunConfig:\n{wide}') == ['RunConfig: more than 12 fields']
    assert over_limits(path, 'def f():\n' + ' x = 1\n' * 301) == ['302 lines', 'f: 302 lines']


def test_config_get_and_parents_are_found():
    for line in ("config.get('a')", "self.config.get('a')", "model_config.get('a')"):
        assert reads_config_with_get(ast.parse(line))
    assert not reads_config_with_get(ast.parse("counts.get('a')"))
    for line in ('from experiments.shapes import recurrent',
                 'from experiments.shapes.recurrent import get_config'):
        assert parents(ast.parse(line)) == {'experiments.shapes.recurrent'}


def test_imports_start_no_backend_and_bring_nothing_that_is_slow_and_unused():
    modules = [str(path.with_suffix('')).replace('/', '.').removesuffix('.__init__')
               for path in FILES if path.parts[0] == 'jaxseg' and path.name != '__main__.py']
    # Imported in this order: each must come without the names, which take long to import.
    without = {'jaxseg': ('argparse', 'numpy'), 'jaxseg.commands': ('numpy', 'jax'),
               **dict.fromkeys(PREDICTION, UNUSED_IN_PREDICTIONS)}
    code = (f'import importlib, sys\n'
            f'for name, unused in {without!r}.items():\n'
            f'    importlib.import_module(name)\n'
            f'    found = set(unused) & set(sys.modules)\n'
            f'    assert not found, f"{{name}} imports {{found}}"\n'
            f'for name in {modules!r}: importlib.import_module(name)\n'
            f'from jax._src import xla_bridge\n'
            f'assert not xla_bridge.backends_are_initialized(), "a JAX backend was started"\n'
            f'assert not {{"tensorflow", "torch"}} & set(sys.modules)\n')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
