"""What it takes to make a result again: command, checkpoint, versions, data, config."""

import argparse
import datetime
import importlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxseg.commands.paths import command
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.workdir import Workdir
from jaxseg.data.spec import Source
from jaxseg.data.splits import split_identity
from jaxseg.errors import InputError
from jaxseg.records import read_record

PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'pillow')


def provenance(run: Workdir, arguments: argparse.Namespace, overrides: Sequence[str],
               source: Source, step: int | tuple[int, ...]) -> list[tuple[str, str]]:
    """Names and values, in the order in which they are shown.

    Args:
      source: what was scored.
      step: of the checkpoint, or of that of every model of an ensemble.
    """
    given = command(arguments.subcommand, workdir=arguments.workdir, split=arguments.split,
                    checkpoint=arguments.checkpoint, trust=arguments.trust)
    versions = [f'{name} {importlib.metadata.version(name)}' for name in PACKAGES]
    devices = jax.devices()
    shown = ', '.join(map(str, step if isinstance(step, tuple) else (step,)))
    origin = run.record.pretrained
    return [
        ('command', ' '.join([given, *overrides])),
        ('date', datetime.datetime.now().astimezone().isoformat(' ', 'minutes')),
        ('work directory', str(run.path.resolve())),
        ('checkpoint', f'step {shown} of {run.config.steps}'),
        ('first weights', 'random' if origin is None else str(origin)),
        ('data', json.dumps(run.config.data)),
        ('scored images', _identity(split_identity(source))),
        *_splits(run),
        ('jaxseg', importlib.import_module('jaxseg').__version__),
        ('packages', ', '.join([f'Python {platform.python_version()}', *versions])),
        ('devices', f'{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), '
                    f'{platform.platform(terse=True)}')]


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
