"""What it takes to make a result again: command, checkpoint, versions, data, config."""

import argparse
import collections
import datetime
import json
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.commands.environment import environment
from jaxseg.commands.paths import command
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.scoring import checkpoint_selection
from jaxseg.commands.trust import foreign_packages
from jaxseg.commands.workdir import Workdir
from jaxseg.data.spec import Source
from jaxseg.data.splits import split_identity
from jaxseg.errors import InputError
from jaxseg.records import SEAL, read_record, sealed, write_record

# In a work directory: under `starts`, one entry for each time that training began or continued.
FILE = 'provenance.json'


def record_start(workdir: pathlib.Path, config: RunConfig, first: int):
    """Adds to the work directory what a training that begins at step `first` runs on.

    No command depends on the file: one that is damaged begins again, with this start. That entries
    are missing shows in the `first_step` of the first one.
    """
    values = config.to_dict()
    start = {
        'date': _now('seconds'), 'first_step': first, 'command': shlex.join(sys.argv),
        'config_sha256': sealed(values)[SEAL], 'seed': config.seed,
        **environment(foreign_packages(values))}
    try:
        starts = recorded_starts(workdir)
    except InputError:
        starts = []
    write_record(workdir / FILE, {'starts': [*starts, start]})


def recorded_starts(workdir: pathlib.Path) -> list[Any]:
    """What `record_start` recorded, the first start first.

    Raises:
      InputError: the file is missing or damaged.
    """
    starts = read_record(workdir / FILE).get('starts')
    if not isinstance(starts, list):
        raise InputError(f'{workdir / FILE}: holds no list of starts; remove the file')
    return starts


def _now(precision: str) -> str:
    return datetime.datetime.now().astimezone().isoformat(' ', precision)


def provenance(run: Workdir, arguments: argparse.Namespace, overrides: Sequence[str],
               source: Source, step: int | tuple[int, ...]) -> list[tuple[str, str]]:
    """Names and values, in the order in which they are shown.

    Args:
      source: what was scored.
      step: of the checkpoint, or of that of every model of an ensemble.
    """
    given = command(arguments.subcommand, workdir=arguments.workdir, split=arguments.split,
                    checkpoint=arguments.checkpoint, trust=arguments.trust)
    shown = ', '.join(map(str, step if isinstance(step, tuple) else (step,)))
    origin = run.record.pretrained
    return [
        ('command', ' '.join([given, *overrides])),
        ('date', _now('minutes')),
        ('work directory', str(run.path.resolve())),
        ('checkpoint', f'step {shown} of {run.config.steps}, '
                       f'{checkpoint_selection(run, arguments.checkpoint, step)}'),
        ('first weights', 'random' if origin is None else str(origin)),
        ('data', json.dumps(run.config.data)),
        ('scored images', _identity(split_identity(source))),
        *_splits(run),
        *((name, _text(value)) for name, value
          in environment(foreign_packages(run.config.to_dict())).items()),
        *_starts(run)]


def _starts(run: Workdir) -> list[tuple[str, str]]:
    """Every start of the training, with what it ran on."""
    found = []
    for folder in run.members or (run.path,):
        model = f' of {folder.name}' if run.members else ''
        try:
            starts = recorded_starts(folder)
        except InputError as error:
            return [('training', str(error))]
        found += [(f'training{model}, start {number}', _text(start))
                  for number, start in enumerate(starts, 1)]
    return found


def _splits(run: Workdir) -> list[tuple[str, str]]:
    """Number of samples and digest of the names of every split, as the training found them."""
    found = []
    for folder in run.members or (run.path,):
        model = f' of {folder.name}' if run.members else ''
        try:
            splits = read_record(folder / 'splits.json')
        except InputError as error:
            return [('splits', str(error))]
        found += [(f'split {name}{model}', _identity(identity))
                  for name, identity in splits.items()]
    return found


def _text(value: Any) -> str:
    """Values in words: names before values, and of equal items one with their number."""
    if isinstance(value, Mapping):
        return ', '.join(f'{name} {_text(item)}' for name, item in value.items())
    if isinstance(value, list):
        counts = collections.Counter(map(_text, value))
        return ', '.join(f'{number} x {item}' for item, number in counts.items())
    return 'unknown' if value is None else str(value)


def _identity(identity: Mapping[str, Any]) -> str:
    return f'{identity["count"]} samples, SHA-256 of their names {identity["sha256"]}'


def config_lines(config: RunConfig) -> list[tuple[str, bool]]:
    """The lines of the config as JSON, and whether each belongs to a key that is no default."""
    values, defaults, lines = config.to_dict(), RunConfig.defaults(), []
    for key, value in values.items():
        text = json.dumps({key: value}, indent=1, ensure_ascii=False).splitlines()[1:-1]
        changed = key not in defaults or defaults[key] != value
        lines += [(line[1:], changed) for line in text]
    return lines
