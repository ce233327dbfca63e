"""Write an experiment file for a folder: what is in it, and a reason for every choice."""

import argparse
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxseg.build import build
from jaxseg.commands.choices import Choice, apply
from jaxseg.commands.config import override
from jaxseg.commands.experiment_file import experiment_text
from jaxseg.commands.fitting import Budget, fit
from jaxseg.commands.paths import check_folder, command, path_argument
from jaxseg.commands.step_cost import step_cost
from jaxseg.data.fingerprint import Fingerprint, fingerprint
from jaxseg.data.inspection import listing_problems, split_to_score
from jaxseg.data.mask_survey import Finding, Findings
from jaxseg.data.proposal import propose
from jaxseg.data.splits import STANDARD_SPLITS
from jaxseg.errors import InputError, printable
from jaxseg.fields import Positive, check_value
from jaxseg.files import replacing
from jaxseg.memory import available_bytes

# What the overrides of this subcommand begin with.
OVERRIDES = '--data.'
GIB = 2 ** 30


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--data.root', dest='root', required=True, metavar='FOLDER',
                        help='folder of images and masks, or of images and annotations')
    parser.add_argument('--output', required=True, help='experiment file to write (.py)')
    parser.add_argument('--force', action='store_true', help='replace the file if it exists')
    parser.add_argument('--pretrained', metavar='FILE',
                        help='weights of another library for the encoder')
    parser.add_argument('--pretrained_type', metavar='TYPE',
                        help='how their tensors are named, such as torchvision.ResNet (default: '
                             'found by trying)')
    parser.add_argument('--minutes', type=float,
                        help='time of a training on this machine; by default the steps follow from '
                             'the number of images')
    parser.add_argument('--memory', type=float,
                        help='GiB that training may take (default: what is available)')
    parser.epilog = ('Any field of the data, which is then not looked for: --data.channels=3, '
                     '--data.type=folder.Folder')


def main(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Runs the subcommand; the exit status is 2 when there are problems."""
    output = path_argument(arguments.output, '--output')
    check_output(output, force=arguments.force)
    for name in ('minutes', 'memory'):
        if getattr(arguments, name) is not None:
            check_value(f'--{name}', getattr(arguments, name), Positive)
    stated = override({}, overrides, OVERRIDES)
    if arguments.pretrained_type and arguments.pretrained is None:
        raise InputError('--pretrained_type: has no effect without --pretrained; give the file')
    if arguments.pretrained is not None:
        path_argument(arguments.pretrained, '--pretrained')
    budget = Budget(arguments.minutes, arguments.memory and arguments.memory * GIB
                    or 0.8 * available_bytes(), jax.default_backend() != 'cpu',
                    jax.device_count(), arguments.pretrained, arguments.pretrained_type)
    problems = plan(arguments.root, output, stated=stated, budget=budget)
    if problems:
        print(f'\n{len(problems)} problems:', *map(printable, problems), sep='\n  ',
              file=sys.stderr)
    return 2 if problems else 0


def check_output(output: pathlib.Path, *, force: bool):
    """Raises InputError unless the file can be written."""
    if output.suffix != '.py':
        raise InputError(f'--output={output}: not a Python file; an experiment is a .py file')
    if os.path.lexists(output) and (not force or not output.is_file()):
        raise InputError(f'--output={output}: exists; give another name, or --force to replace it')
    check_folder(output.absolute().parent, '--output')


def plan(root: str, output: pathlib.Path, *, stated: dict[str, Any], budget: Budget,
         cost: Callable = step_cost) -> list[str]:
    """Prints the fingerprint of a folder, and writes an experiment file for it.

    Args:
      root: the folder, as it will stand in the file.
      stated: fields of the data that are not looked for.
      budget: time, memory and devices of a training.
      cost: `step_cost`, or what stands for it.

    Returns:
      All problems of the data; where there are some, nothing is written.

    Raises:
      InputError: nothing in the folder is recognised, or no model fits into the budget.
    """
    choices = data_choices(root, stated)
    entry = apply(choices)['data']
    dataset = build('data', entry)
    # Other splits, such as the trainval of VOC, are of no use here.
    splits = [split for split in STANDARD_SPLITS if split in ('train', *dataset.spec.splits)]
    problems = [problem for split in splits for problem in listing_problems(dataset, split)]
    if problems:
        return problems
    found = fingerprint({split: dataset.source(split) for split in splits}, dataset.spec)
    print(found.table(), flush=True)
    if found.problems or not found.frequencies.labelled:
        return list(found.problems) or ['no pixel of the training masks is labelled']
    fitted = fit(entry, dataset.spec, found, budget, cost)
    commands = _commands(output, split_to_score(dataset))
    text = _text(root, found, [*choices, *fitted.choices], commands)
    with replacing(output) as partial:
        partial.write_text(text, encoding='utf-8')
    print(f'\n{fitted.summary()}\nwritten: {output}; train: {commands[0]}')
    return []


def data_choices(root: str, stated: dict[str, Any]) -> list[Choice]:
    """The fields of the entry `data`, found in the folder or stated by the user."""
    path = pathlib.Path(os.path.expanduser(root))
    if not root.strip() or not os.path.isdir(path):
        raise InputError(f'--data.root={root}: no such folder; give the folder that holds the '
                         f'images and their masks or annotations')
    given = {key: Finding(value, 'stated on the command line') for key, value in stated.items()}
    found, fold = propose(path, stated)
    # As the user wrote it: `~` and relative paths stay.
    inner = os.path.relpath(found['root'].value, path)
    found['root'] = found['root']._replace(value=root if inner == '.' else
                                           os.path.join(root, inner))
    return [*_choices('data.', fold),
            *_choices('data.data.' if fold else 'data.', {**given, **found})]


def _choices(prefix: str, findings: Findings) -> list[Choice]:
    return [Choice(f'{prefix}{key}', *finding) for key, finding in findings.items()]


def _text(root: str, found: Fingerprint, choices: Sequence[Choice], commands: Sequence[str]
          ) -> str:
    title = f'{printable(pathlib.Path(root).name or root)}: an experiment planned for this folder.'
    return experiment_text(title, found.table().splitlines(), choices, commands)


def _commands(output: pathlib.Path, split: str) -> list[str]:
    """What to run next, with scores of a split."""
    workdir = os.path.join('runs', output.stem)
    return [command('train', config=output, workdir=workdir),
            command('evaluate', workdir=workdir, split=split),
            command('report', workdir=workdir, split=split),
            command('export', workdir=workdir, format='stablehlo',
                    output=os.path.join(workdir, 'model.zip'))]
