"""Train and score one model a fold: every image is scored by a model that has not seen it."""

import argparse
import contextlib
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg.build import build
from jaxseg.commands import config as configs
from jaxseg.commands.ensemble import RECORD, fold_folder
from jaxseg.commands.paths import check_workdir, command, path_argument, with_absolute_paths
from jaxseg.commands.resume import check_same_run
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.scoring import ObservedMetrics
from jaxseg.commands.signals import stop_deferred
from jaxseg.commands.training import train_in
from jaxseg.commands.trust import foreign_packages
from jaxseg.commands.workdir import merged_config, open_workdir
from jaxseg.data.splits import check_source
from jaxseg.errors import InputError
from jaxseg.metrics.images import ImageCounts
from jaxseg.metrics.spread import spread
from jaxseg.processes import is_first
from jaxseg.records import write_record
from jaxseg.training.restore import list_checkpoints

FOLD = 'folds.Fold'
DEFAULT_FOLDS = 5
# Options of this subcommand that become fields of the data set.
OPTIONS = ('folds', 'group', 'blocks', 'stratify', 'seed')


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--config',
                        help='experiment file; without it the cross-validation in --workdir '
                             'continues')
    parser.add_argument('--workdir', required=True,
                        help='folder that receives fold0, fold1, ... and crossvalidation.json')
    parser.add_argument('--folds', type=int, help=f'number of folds (default: {DEFAULT_FOLDS})')
    parser.add_argument('--group', metavar='REGEX',
                        help="images of whose names it matches the same text, such as '^[^_]+', "
                             'stay in one fold')
    parser.add_argument('--blocks', action='store_true', default=None,
                        help='frames of videos: every group, in the order of its names, is cut '
                             'into one block for each fold')
    parser.add_argument('--stratify', action='store_true', default=None,
                        help='give every fold the same share of the images of every class')
    parser.add_argument('--seed', type=int, help='another seed deals differently (default: 0)')
    parser.add_argument('--checkpoint', default='latest', choices=('latest', 'best'),
                        help='that is scored; best was chosen on the images that it is scored on '
                             '(default: latest)')
    parser.epilog = 'Any key of the config: --config.optimizer.learning_rate=3e-4'


def main(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Runs the subcommand; 130 when a signal stopped it."""
    directory = path_argument(arguments.workdir, '--workdir')
    check_workdir(directory)
    if (directory / 'config.json').exists():
        raise InputError(f'--workdir={directory} holds a run; give another folder')
    first = fold_folder(directory, 0)
    if arguments.config is None and not (first / 'config.json').is_file():
        begin = command('crossvalidate', config='FILE', workdir=directory)
        raise InputError(f'--workdir={directory} holds no cross-validation that could continue; '
                         f'begin one: {begin}')
    config = merged_config(arguments.config, str(first), overrides, arguments.trust)
    given = {name: value for name in OPTIONS if (value := getattr(arguments, name)) is not None}
    config['data'] = _with_folds(config.get('data'), given)
    runs = _runs(config)
    for fold, run in enumerate(runs):
        check_same_run(fold_folder(directory, fold), run)
    scored = _train_and_score(directory, runs, arguments.checkpoint)
    if scored is None:
        continuing = command('crossvalidate', workdir=directory, checkpoint=arguments.checkpoint,
                             trust=foreign_packages(config))
        print(f'stopped and saved; continue with: {continuing}', flush=True)
        return 130
    if is_first():
        _report(directory, arguments.checkpoint, scored)
    return 0


class _Scored(NamedTuple):
    """The metric state of a fold, and the counts of each of its images."""

    state: Any
    images: ImageCounts


def _with_folds(data: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the data set, with its folds by the options that were given."""
    if not isinstance(data, Mapping):
        raise InputError(f"config.data: expected an entry with a type, got {data!r}")
    if data.get('type') == FOLD:
        if given:
            raise InputError(f'--{next(iter(given))}: has no effect, because the data of this '
                             f'config are {FOLD} already; remove it, or change the data')
        return dict(data)
    if {'blocks', 'stratify'} <= given.keys():
        raise InputError('--blocks and --stratify exclude each other: blocks are cut in the order '
                         'of the names; remove one')
    options = {'folds': DEFAULT_FOLDS} | {name: value for name, value in given.items()
                                          if name in ('folds', 'group', 'seed')}
    for name, assignment in (('blocks', 'blocks'), ('stratify', 'stratified')):
        if name in given:
            options['assignment'] = assignment
    return {'type': FOLD, 'data': dict(data), **options}


def _runs(config: Mapping[str, Any]) -> list[RunConfig]:
    """The run of every fold.

    Raises:
      InputError: the samples cannot be dealt into so many folds, or one of the errors of a config.
    """
    plain = with_absolute_paths(configs.plain(config))
    dataset = build('data', plain['data'])
    folds = int(dataset.assigned.max()) + 1
    return [RunConfig.from_mapping({**plain, 'data': {**plain['data'], 'fold': fold}})
            for fold in range(folds)]


def _train_and_score(directory: pathlib.Path, runs: Sequence[RunConfig], checkpoint: str
                     ) -> list[_Scored] | None:
    """The scores of every fold; None when a signal stopped it."""
    scored = []
    with stop_deferred() as stop_requested:
        for fold, config in enumerate(runs):
            folder = fold_folder(directory, fold)
            print(f'fold {fold} of {len(runs)}: {folder}', flush=True)
            checkpoints, _ = list_checkpoints(folder / 'checkpoints')
            finished = any(step >= config.steps and found.progress.validated == step
                           for step, found in checkpoints.items())
            if not finished:
                _, _, finished = train_in(folder, config,
                                          lambda: contextlib.nullcontext(stop_requested))
            found = None
            if finished:
                found = _score(folder, config, checkpoint, stop_requested)
            if found is None:
                return None
            scored.append(found)
    return scored


def _score(folder: pathlib.Path, config: RunConfig, checkpoint: str,
           stop_requested: Callable[[], bool]) -> _Scored | None:
    """The scores of a fold's own images; None when a stop was requested."""
    run = open_workdir(folder, trust=foreign_packages(config.to_dict()))
    _, variables = run.variables(checkpoint)
    source = check_source(build('data', run.config.data), 'val')
    observed = ObservedMetrics(run.spec.classes)
    state = run.parts.score(variables, source, run.spec, should_stop=stop_requested,
                            observe=observed)
    if state is None:
        return None
    observed.merge_processes()
    return _Scored(state, observed.images)


def _report(directory: pathlib.Path, checkpoint: str, scored: Sequence[_Scored]):
    """Writes crossvalidation.json, and prints the scores of all folds together and their spread.

    And the counts of every image, for `jaxseg compare`.
    """
    merged = functools.reduce(lambda one, other: one.merge(other), [fold.state for fold in scored])
    first, *others = (fold.images for fold in scored)
    images = first.merge(*others)
    images.write(directory / 'evaluation_val_images.csv')
    scores = [fold.state.json() for fold in scored]
    kept = [name for name in (*merged.summary(), 'classes') if name in scores[0]]
    by_fold = [{name: each[name] for name in kept} for each in scores]
    path, over_folds = directory / RECORD, spread(by_fold)
    write_record(path, {'folds': len(scored), 'checkpoint': checkpoint, **merged.json(),
                        'over_folds': over_folds, 'by_fold': by_fold})
    print(f'\nall folds together:\n{merged.table()}\n')
    for name in merged.summary():
        print(f'{name.replace("_", " ")} over folds: {_shown(over_folds[name]["mean"])} +- '
              f'{_shown(over_folds[name]["deviation"])} '
              f'({" ".join(_shown(fold[name]) for fold in by_fold)})')
    predict = command('predict', workdir=directory, checkpoint=checkpoint, input='IMAGES',
                      output='FOLDER')
    print(f'{path}; their mean as one model: {predict}', flush=True)


def _shown(value: float | None) -> str:
    return 'nan' if value is None else f'{value:.4f}'
