"""The plan of the house, held by reading the code: who imports whom, how long things are, what runs at import."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(path.relative_to(ROOT) for folder in ('jaxseg', 'experiments', 'tests') for path in (ROOT / folder).rglob('*.py'))
ROOMS = {'layers', 'encoders', 'context', 'decoders', 'models', 'losses', 'metrics', 'tasks', 'data', 'training', 'inference', 'explain',
         'commands'}
# What a room may import besides itself; jaxseg.errors is open to all.
MAY_IMPORT = {
    'layers': {'layers'}, 'encoders': {'layers'}, 'context': {'layers'}, 'decoders': {'layers'}, 'models': {'layers'},
    'losses': {'losses'}, 'metrics': {'metrics'}, 'tasks': {'tasks', 'losses', 'metrics'}, 'data': {'data'}, 'training': {'training'}, 'inference': {'inference'},
    'explain': {'explain'}, 'commands': ROOMS | {'build'}, 'build.py': {'fields'}, 'errors.py': set(), 'fields.py': set(), '__init__.py': set(),
    '__main__.py': {'commands'},
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FORBIDDEN_NAMES = {'utils', 'util', 'common', 'misc', 'base', 'helpers', 'helper'}


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found |= {f'{"." * node.level}{node.module or ""}.{alias.name}' for alias in node.names}
    return found


def wrong_imports(path: pathlib.PurePath, tree: ast.AST) -> list[str]:
    """Imports of rooms that this file's room may not see; relative ones and the bare package, which would hide them, too."""
    allowed, wrong = MAY_IMPORT[path.parts[1]], []
    for name in imports(tree):
        parts = name.split('.')
        if not parts[0] or parts[0] == 'jaxseg' and (len(parts) == 1 or parts[1] not in allowed | {'errors', 'fields'}):
            wrong.append(name)
        if parts[0] in ('tensorflow', 'torch'):
            wrong.append(name)
    return wrong


def depth(node: ast.AST, inside: int = 0) -> int:
    blocks = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
    deepest = inside
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, (*FUNCTIONS, ast.Lambda)):
                # `elif` is an If in the orelse of an If, in the same column, and no deeper for a reader.
                elif_ = (isinstance(node, ast.If) and field == 'orelse' and isinstance(child, ast.If)
                         and child.col_offset == node.col_offset)
                deepest = max(deepest, depth(child, inside + (isinstance(child, blocks) and not elif_)))
    return deepest


def over_budget(source: str, tree: ast.AST) -> list[str]:
    """What is longer, deeper or wider than the house allows."""
    wrong = []
    if len(source.splitlines()) > 300:
        wrong.append(f'{len(source.splitlines())} lines')
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            if node.end_lineno - node.lineno + 1 > 60:
                wrong.append(f'{node.name}: {node.end_lineno - node.lineno + 1} lines')
            if depth(node) > 3:
                wrong.append(f'{node.name}: nesting {depth(node)}')
        if isinstance(node, ast.ClassDef) and sum(isinstance(item, ast.AnnAssign) for item in node.body) > 12:
            wrong.append(f'{node.name}: more than 12 fields')
    return wrong


def reads_config_with_get(tree: ast.AST) -> bool:
    owners = [node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == 'get']
    return any(getattr(owner, 'id', getattr(owner, 'attr', '')).endswith('config') for owner in owners)


def parents(tree: ast.AST) -> set[str]:
    """The experiments that an experiment is made from."""
    return {name.removesuffix('.get_config') for name in imports(tree) if name.startswith('experiments.')}


@pytest.mark.parametrize('path', FILES, ids=str)
def test_every_file_keeps_to_the_plan(path):
    source = (ROOT / path).read_text()
    tree = ast.parse(source)
    assert not over_budget(source, tree)
    assert ast.get_docstring(tree) or not source.strip()
    assert not FORBIDDEN_NAMES & set(path.with_suffix('').parts)
    if path.parts[0] == 'jaxseg':
        assert not wrong_imports(path, tree)
        assert not reads_config_with_get(tree) or path.parts[1] in ('commands', 'build.py')
    # A study runs many experiments; an experiment is a record.
    if (path.parts[0] == 'experiments' and path.parts[1] not in ('benchmarks', 'mutation_check.py')
            and not path.stem.endswith('_study')):
        assert {name.split('.')[0] for name in imports(tree)} <= {'ml_collections', 'experiments'}
        for parent in parents(tree):
            assert not parents(ast.parse((ROOT / f'{parent.replace(".", "/")}.py').read_text())), f'two hops over {parent}'


def test_every_room_of_the_package_is_in_the_plan():
    assert {path.name for path in (ROOT / 'jaxseg').iterdir() if path.name != '__pycache__'} == set(MAY_IMPORT)


def test_the_checks_can_fail():
    path = pathlib.PurePath('jaxseg/encoders/new.py')
    for line in ('from jaxseg.encoders.resnet import ResNet', 'import jaxseg.losses.dice', 'import torch', 'import jaxseg',
                 'import tensorflow as tf', 'from .resnet import ResNet', 'from . import resnet', 'from jaxseg import models',
                 'def f():\n    from jaxseg.models.segmentation_model import SegmentationModel'):
        assert wrong_imports(path, ast.parse(line))
    for line in ('from jaxseg.layers.conv import Conv', 'from jaxseg.errors import InputError'):
        assert not wrong_imports(path, ast.parse(line))
    for deep in ('def f():\n for a in b:\n  if a:\n   while a:\n    with a:\n     pass',
                 'async def f():\n match a:\n  case 1:\n   if a:\n    pass\n   else:\n    if a:\n     if a:\n      pass'):
        assert over_budget(deep, ast.parse(deep)) == ['f: nesting 4']
    flat = 'def f():\n if a:\n  pass\n' + ' elif a:\n  pass\n' * 9
    assert not over_budget(flat, ast.parse(flat))
    wide = 'class A:\n' + '\n'.join(f' a{i}: int' for i in range(13))
    assert over_budget(wide, ast.parse(wide)) == ['A: more than 12 fields']
    long = 'def f():\n' + ' x = 1\n' * 301
    assert over_budget(long, ast.parse(long)) == ['302 lines', 'f: 302 lines']
    for line in ("config.get('a')", "self.config.get('a')", "model_config.get('a')"):
        assert reads_config_with_get(ast.parse(line))
    assert not reads_config_with_get(ast.parse("counts.get('a')"))
    for line in ('from experiments.shapes import recurrent', 'from experiments.shapes.recurrent import get_config'):
        assert parents(ast.parse(line)) == {'experiments.shapes.recurrent'}


def test_importing_every_module_starts_no_backend_and_imports_neither_tensorflow_nor_torch():
    modules = [str(path.with_suffix('')).replace('/', '.').removesuffix('.__init__') for path in FILES
               if path.parts[0] == 'jaxseg' and path.name != '__main__.py']
    code = (f'import importlib, sys\n'
            f'for name in {modules!r}: importlib.import_module(name)\n'
            f'from jax._src import xla_bridge\n'
            f'assert not xla_bridge.backends_are_initialized(), "a JAX backend was started"\n'
            f'assert not {{"tensorflow", "torch"}} & set(sys.modules)\n')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
