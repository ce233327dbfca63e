"""Whether a run may continue in a work directory: the same config, the same data."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from jaxseg.commands import config as configs
from jaxseg.commands.assemble import ModelRecord
from jaxseg.commands.caller import next_command
from jaxseg.commands.ensemble import is_crossvalidation
from jaxseg.commands.paths import PATH_KEYS
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.workdir import read_config
from jaxseg.data.faults import SHARE, Policy
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from jaxseg.processes import gathered
from jaxseg.records import read_record
from jaxseg.training.restore import list_checkpoints

# What may differ when a stopped run continues, beside the paths of its data and of the weights that
# it began with: how its work is distributed, reported and evaluated. `steps` may grow, too.
RESUMABLE_KEYS = ('parallel', 'workers', 'report_every', 'eval_batch_size', 'inference',
                  'damaged_samples', 'early_stopping')
# Fields of a data set's description that the parameters depend on.
DATA_FIELDS = ('classes', 'ignore_index', 'mean', 'std', 'value_range', 'overlapping')


def check_same_run(workdir: pathlib.Path, config: RunConfig):
    """Raises InputError if `workdir` holds a run of another config, whose checkpoints would mix.

    Or if it holds a cross-validation, which is an ensemble for all who read it.
    """
    if is_crossvalidation(workdir):
        raise InputError(f'--workdir={workdir} holds a cross-validation; give another --workdir')
    if not (workdir / 'config.json').is_file():
        return
    before = read_config(workdir)
    different = configs.difference(before, config.to_dict())
    changed = {key: values for key, values in different.items() if not _resumable(key, *values)}
    if changed:
        key, (old, new) = next(iter(changed.items()))
        following = next_command('or continue that run', 'train', before, workdir=workdir)
        more = f' and {len(changed) - 1} more keys differ' if len(changed) > 1 else ''
        raise InputError(f'--workdir={workdir} holds a run with {key} = {old!r}, '
                         f'this config has {new!r}{more}; give another --workdir; {following}')


def _resumable(key: str, old: Any, new: Any) -> bool:
    if key == 'steps':
        return new >= old
    return _is_path(key) or any(key == known or key.startswith(f'{known}.')
                                for known in RESUMABLE_KEYS)


def _is_path(key: str) -> bool:
    # A data set within a data set, such as that of a fold, has the same keys.
    return re.sub(r'^(data\.)+', 'data.', key) in [
        f'{part}.{name}' for part, names in PATH_KEYS.items() for name in names]


def check_same_processes(config: RunConfig, splits: Mapping[str, Any]):
    """Raises InputError if processes of one run have other configs or other data.

    The same data may lie in another place for each.
    """
    every = gathered((config.to_dict(), {name: (identity['count'], identity['sha256'])
                                         for name, identity in splits.items()}))
    (first, data), remedy = every[0], 'start all with the same command, on the same files'
    for process, (other, others_data) in enumerate(every):
        for key, (value, different) in configs.difference(first, other).items():
            if not _is_path(key):
                raise InputError(f'config.{key}: {value!r} in process 0 and {different!r} in '
                                 f'process {process}; {remedy}')
        for split, (count, _) in data.items():
            if others_data[split] != data[split]:
                raise InputError(f'config.data: split {split!r} has {count} samples in process 0 '
                                 f'and {others_data[split][0]}, or others, in process {process}; '
                                 f'{remedy}')


def model_of_run(workdir: pathlib.Path) -> ModelRecord | None:
    """What the model of a run with a checkpoint expects, if its model.json can be read.

    Its weights need not be there any more: they are in the checkpoint.
    """
    checkpoints, _ = list_checkpoints(workdir / 'checkpoints')
    try:
        return ModelRecord.load(workdir / 'model.json') if checkpoints else None
    except InputError:
        return None


def check_same_data(workdir: pathlib.Path, spec: DatasetSpec, splits: Mapping[str, Any],
                    damaged: Policy) -> dict[str, Any]:
    """Raises InputError if the data differ, in meaning or samples, from those of the run so far.

    Records that cannot be read are not compared; training writes them again. Where damaged samples
    are skipped, as many files of training images as may be skipped may have another size.

    Returns:
      The identities of the splits when the run began.
    """
    began = dict(splits)
    try:
        trained = DatasetSpec.load(workdir / 'dataset.json')
        known = read_record(workdir / 'splits.json')
    except InputError:
        return began
    check_same_meaning(workdir, trained, spec, DATA_FIELDS)
    for split, identity in splits.items():
        before = known.get(split)
        if isinstance(before, Mapping) and before != identity:
            if damaged == 'skip' and split == 'train' and _few_are_replaced(before, identity):
                began[split] = dict(before)
                continue
            raise InputError(f'{workdir / "splits.json"}: split {split!r} '
                             f'{_difference(before, identity)}; '
                             f'give the data of the run, or train on these in another --workdir')
    return began


def _few_are_replaced(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether all that differs between two identities of a split is the size of a few files."""
    if (before.get('names'), before.get('sha256')) != (now['names'], now['sha256']):
        return False
    if len(before.get('bytes', ())) != len(now.get('bytes', ())):
        return False
    return len(_replaced(before, now)) <= SHARE * now['count']


def _replaced(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Name, bytes before and bytes now of every sample whose files have another size."""
    sizes = zip(now['names'], before.get('bytes', ()), now.get('bytes', ()), strict=False)
    return [(name, old, new) for name, old, new in sizes if old != new]


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is different between two identities of a split."""
    names, earlier = set(now['names']), set(before.get('names', ()))
    if names != earlier:
        return (f'had {before.get("count")} samples when the run began, and has {now["count"]} now '
                f'({len(names - earlier)} new, {len(earlier - names)} missing, such as '
                f'{min(names ^ earlier)!r})')
    changed = _replaced(before, now)
    if not changed:
        return 'was read from another kind of source when the run began'
    name, old, new = changed[0]
    return (f'has {len(changed)} samples whose files were replaced since the run began, such as '
            f'{name!r} with {new} bytes instead of {old}')


def check_same_meaning(workdir: pathlib.Path, trained: DatasetSpec, spec: DatasetSpec,
                       fields: tuple[str, ...]):
    """Raises InputError if one of `fields` differs between the data of a run and `spec`."""
    for field in fields:
        before, now = getattr(trained, field), getattr(spec, field)
        if before != now:
            raise InputError(f'{workdir / "dataset.json"}: the run began with {field} {before!r}, '
                             f'and the data have {now!r}; '
                             f'give the data of the run, or train on these in another --workdir')
