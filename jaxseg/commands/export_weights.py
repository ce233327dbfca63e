"""Write the weights of a trained model to one file, under our names or another library's."""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxseg.build import build
from jaxseg.commands.overrides import check_overrides
from jaxseg.commands.paths import check_file, path_argument
from jaxseg.commands.workdir import Workdir, open_workdir
from jaxseg.errors import InputError
from jaxseg.pretrained.revert import revert
from jaxseg.pretrained.tensors import Tensors
from jaxseg.pretrained.write import check_output, write_tensors

OURS = 'ours'
# Keys of the config that say what the model computes; the others name files of this machine.
KEPT = ('model', 'task', 'preprocess')


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--output', required=True, help='file, .safetensors or .npz')
    parser.add_argument('--checkpoint', default='best',
                        help='best, latest, or a step (default: best)')
    parser.add_argument('--names', default=OURS,
                        help='ours, or a table of names such as torchvision.ResNet, which writes '
                             'the part of the model that it names (default: ours)')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand."""
    check_overrides('export-weights', overrides, ())
    path_argument(arguments.workdir, '--workdir')
    output = path_argument(arguments.output, '--output')
    check_output(output, f'--output={output}')
    check_file(output, '--output')
    table = _table(arguments.names, output)
    run = open_workdir(arguments.workdir, trust=arguments.trust)
    step, variables = run.variables(arguments.checkpoint)
    if table is None:
        tensors = {name: np.asarray(value)
                   for name, value in flatten_dict(variables, sep='/').items()}
    else:
        tensors = _named(arguments.names, table, variables)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(output, tensors, _metadata(run, step, table is None))
    count = sum(tensor.size for tensor in tensors.values())
    print(f'checkpoint {step}: {len(tensors)} tensors of {count / 1e6:.2f} M numbers, '
          f'names {arguments.names}: {output}')


def _table(names: str, output: pathlib.Path) -> Any | None:
    """The table of another library's names; None stands for our own."""
    if names == OURS:
        return None
    try:
        return build('pretrained', {'type': names, 'path': str(output)})
    except InputError as error:
        raise InputError(f'--names={names}: {error}, {OURS}') from error


def _named(names: str, table: Any, variables: Any) -> Tensors:
    """The tensors of the part that a table names."""
    part = table.part
    if part is not None:
        variables = {collection: tree[part] for collection, tree in variables.items()
                     if part in tree}
    try:
        return revert(variables, getattr(table, 'rules', ()))
    except InputError as error:
        raise InputError(f'--names={names}: {error}') from error


def _metadata(run: Workdir, step: int, ours: bool) -> dict[str, str]:
    """What the file says of the model, as JSON; `format` is what transformers looks for."""
    config, record = run.config.to_dict(), dataclasses.asdict(run.record)
    values = {**record, 'classes': run.spec.classes, 'checkpoint': step,
              'config': {key: config[key] for key in KEPT}}
    return {'format': 'flax' if ours else 'pt',
            **{key: json.dumps(value) for key, value in values.items()}}
