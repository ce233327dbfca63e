"""Several processes on one machine, beside one process that does the same.

    python -m experiments.reliability.processes [--short]
        [--table=experiments/results/processes.md]

Two and four processes, started by `experiments.cluster.local`, of one or two simulated devices
each, train with random augmentation, validate on a set that does not divide by them, and are
scored. Losses, validation scores and parameters must be those of one process with as many devices,
to rounding; the confusion matrix and the counts of every image equal; every row of metrics.csv and
every line of the output must be there once. SIGTERM and Ctrl-C go to one process or to all, in
training and in validation: all must end with status 130, and the same command must then end with
the parameters of an undisturbed run, bit for bit. A run of some processes continues with others.
A cross-validation by two processes is that of one, also where it was stopped. Where one process
fails, none may hang: all must end with one line of error and the documented status.
"""

import csv
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.cluster import local
from experiments.reliability import together
from experiments.reliability.cases import changed
from experiments.reliability.tiny_runs import quick
from experiments.reliability.together import End, read_until, wrong_end, wrong_stop
from experiments.reliability.trials import Trial, finish, program
from jaxseg.commands.workdir import open_workdir
from jaxseg.records import read_record

STEPS = 6
SETTINGS = {'steps': STEPS, 'evaluate_every': 3, 'report_every': 1,
            'data.samples': {'train': 16, 'val': 5, 'test': 3},
            'transforms': [{'type': 'transforms.RandomFlip'},
                           {'type': 'transforms.RandomCrop', 'size': [24, 24]}],
            'model.encoder.widths': [32], 'model.decoder.widths': [32]}
# In which one process may differ from the others.
CONFIG = """import os


def get_config():
    config = {config!r}
    config['seed'] = int(os.environ.get('SEED', 0))
    config['data']['samples']['train'] += int(os.environ.get('MORE_SAMPLES', 0))
    return config
"""
TRAIN = ('train', '--config=tiny.py', '--workdir=work')
EVALUATE = ('evaluate', '--workdir=work', '--num_images=3')
CROSSVALIDATE = ('crossvalidate', '--config=tiny.py', '--workdir=work', '--folds=2')
TIMED = ('images_per_second', 'data_wait')  # columns of metrics.csv that are of the clock
# Processes, devices of each, options.
SETS = ((2, 1, ()), (2, 2, ()), (4, 1, ()), (2, 2, ('--config.parallel.fsdp=4',)),
        (2, 2, ('--config.parallel.space=4',)), (4, 1, ('--config.parallel.space=2',)))
STOPS = (('step 2/', (1,), signal.SIGTERM), ('step 2/', (0,), signal.SIGTERM),
         ('step 1/', (0, 1), signal.SIGTERM), ('step 4/', (1,), signal.SIGINT),
         ('step 3/6  loss', (1,), signal.SIGTERM), ('validation', (0,), signal.SIGINT))
# What one of two processes has, or both; options; what the error names; status of all.
FAULTS = (('another config in one', {'SEED': '{process}'}, (), 'config.seed', 2),
          ('other data in one', {'MORE_SAMPLES': '{process}'}, (), 'config.data', 2),
          ('a wrong value in one', {'SEED': '-{process}'}, (), 'config.seed', 2),
          ('a wrong value in both', {'SEED': '-1'}, (), 'config.seed', 2),
          ('a loss that is not finite', {}, ('--config.optimizer.learning_rate=1e30',),
           'not finite', 1),
          ('pmap', {}, ('--config.parallel.strategy=pmap',), 'pmap', 2))


def trials(short: bool) -> Iterator[Trial]:
    """All of them; with `short` two processes with one device each, and one of every kind."""
    with tempfile.TemporaryDirectory() as place:
        setting = _Setting(pathlib.Path(place))
        for count, devices, options in SETS[:1] if short else SETS:
            yield from setting.equal(count, devices, options)
        for text, targets, number in STOPS[:1] if short else STOPS:
            yield setting.stopped(text, targets, number)
        for first, second in ((2, 1),) if short else ((2, 1), (1, 2), (4, 2), (2, 4)):
            yield setting.continued(first, second)
        for fault in FAULTS[:1] if short else FAULTS:
            yield setting.fault(*fault)
        yield setting.killed()
        for process in (1,) if short else (0, 1):
            yield setting.alone(process)
        yield setting.cross_validated()
        yield setting.cross_validation_stopped()


class _Setting:
    """A folder for each trial, and undisturbed runs to compare with."""

    def __init__(self, root: pathlib.Path):
        self._root, self._environment, self._count = root, quick(root / 'cache'), 0
        self._environment['PYTHONPATH'] = str(pathlib.Path(__file__).parents[2])
        # A busy machine is no failure, though XLA logs an error where it compiles for minutes.
        self._environment['TF_CPP_MIN_LOG_LEVEL'] = '3'
        self._undisturbed: dict[tuple, pathlib.Path] = {}

    def equal(self, count: int, devices: int, options: Sequence[str]) -> Iterator[Trial]:
        """A run and its scores, beside those of one process with as many devices."""
        folder, whole = self._folder(), self._whole(1, count * devices, options)
        name = ' '.join([f'{count} processes x {devices} device(s)', *options])
        ended = self._run(folder, (*TRAIN, *options), count, devices)
        failures = wrong_end(ended, 0) or _differences(folder, whole)
        lines = [line for line in ended.out.splitlines() if line.startswith('step ')]
        if len(lines) != len(set(lines)) or len(lines) != STEPS + 2:
            failures.append(f'{len(lines)} lines of progress')
        yield Trial('training', name, f'status {ended.status}', failures)
        # The same parameters are scored by both.
        shutil.rmtree(folder / 'work')
        shutil.copytree(whole / 'work', folder / 'work')
        scores = [path.name for path in (whole / 'work').glob('evaluation_*')]
        for path in scores:
            (folder / 'work' / path).unlink()
        shutil.rmtree(folder / 'work' / 'predictions')
        ended = self._run(folder, EVALUATE, count, devices)
        failures = wrong_end(ended, 0) or [
            f'{path} differs' for path in (*scores, 'predictions/val.png')
            if (whole / 'work' / path).read_bytes() != (folder / 'work' / path).read_bytes()]
        yield Trial('evaluation', name, f'status {ended.status}', failures)

    def stopped(self, text: str, targets: Sequence[int], number: int) -> Trial:
        """A signal to one of two processes, or to both, then the same command again."""
        folder, whole = self._folder(), self._whole(2, 1)
        started = self._start(folder, TRAIN, 2, 1)
        before = read_until(started[0], text)
        for target in targets:
            started[target].send_signal(number)
        ended = together.end(started, folder)
        failures = wrong_stop(ended)
        stated = re.search(r'stopped and saved step (\d+);', before + ended.out)
        if not stated:
            failures.append('states no step')
        again = self._run(folder, TRAIN, 2, 1)
        failures += wrong_end(again, 0) or _differences(folder, whole, exact=True)
        if stated and f'steps {stated[1]} to {STEPS}' not in again.out:
            failures.append(f'does not continue from step {stated[1]}')
        name = f'{signal.Signals(number).name} to {" and ".join(map(str, targets))} at {text}'
        return Trial('signals', name, f'status {ended.status}', failures)

    def continued(self, first: int, second: int) -> Trial:
        """Half of the steps by some processes, the rest by others."""
        folder, whole = self._folder(), self._whole(1, 4)
        for count, last in ((first, 'step 3/6  loss'), (second, '')):
            started = self._start(folder, TRAIN, count, 4 // count)
            if last:
                read_until(started[0], last)
                started[0].send_signal(signal.SIGTERM)
            ended = together.end(started, folder)
        failures = wrong_end(ended, 0) or _differences(folder, whole)
        return Trial('continued', f'{first} processes, then {second}', f'status {ended.status}',
                     failures)

    def fault(self, name: str, environment: Mapping[str, str], options: Sequence[str], words: str,
              expected: int) -> Trial:
        """What ends one process must end both, with one line of error."""
        folder = self._folder()
        ended = self._run(folder, (*TRAIN, *options), 2, 1, **environment)
        failures = wrong_end(ended, expected, words)
        return Trial('faults', name, f'status {ended.status}', failures)

    def killed(self) -> Trial:
        """SIGKILL of one process; the launcher ends the other."""
        folder = self._folder()
        started = self._start(folder, (*TRAIN, '--config.steps=100000'), 2, 1)
        read_until(started[0], 'step 2/')
        started[1].kill()
        begun = time.monotonic()
        ended = together.end(started, folder)
        seconds = time.monotonic() - begun
        failures = [] if ended.statuses == (75, -9) and seconds < local.GRACE else [
            f'{seconds:.0f} s, statuses {ended.statuses}', ended.error]
        return Trial('faults', 'SIGKILL of one', f'status {ended.status}', failures)

    def alone(self, process: int) -> Trial:
        """One of two processes, without the other."""
        folder = self._folder()
        status, out, error = finish(
            (*TRAIN, f'--coordinator=127.0.0.1:{local.free_port()}', '--processes=2',
             f'--process={process}', '--coordinator_timeout=2'), folder, **self._environment)
        return Trial('faults', f'process {process} alone', f'status {status}',
                     wrong_end(End(status, out, error, (status,)), 2, 'within 2 s'))

    def cross_validated(self) -> Trial:
        """Two processes, beside one with as many devices."""
        folder, whole = self._folder(), self._whole(1, 2, commands=(CROSSVALIDATE,))
        ended = self._run(folder, CROSSVALIDATE, 2, 1)
        failures = wrong_end(ended, 0) or _fold_differences(folder, whole)
        return Trial('cross-validation', '2 processes', f'status {ended.status}', failures)

    def cross_validation_stopped(self) -> Trial:
        """SIGTERM to one of two processes in the second fold, then the same command again."""
        folder, whole = self._folder(), self._whole(2, 1, commands=(CROSSVALIDATE,))
        started = self._start(folder, CROSSVALIDATE, 2, 1)
        before = read_until(started[0], 'fold 1 of 2')
        started[1].send_signal(signal.SIGTERM)
        ended = together.end(started, folder)
        failures = wrong_stop(ended)
        remedy = 'continue with: jaxseg crossvalidate --workdir=work'
        failures += [] if remedy in before + ended.out else [f'no {remedy!r} in the output']
        again = self._run(folder, CROSSVALIDATE, 2, 1)
        failures += wrong_end(again, 0) or _fold_differences(folder, whole, exact=True)
        return Trial('cross-validation', 'SIGTERM to 1 in the second fold',
                     f'status {ended.status}', failures)

    def _whole(self, count: int, devices: int, options: Sequence[str] = (),
               commands: Sequence[Sequence[str]] = ()) -> pathlib.Path:
        """The folder of undisturbed commands, by default a training and its evaluation."""
        commands = commands or ((*TRAIN, *options), EVALUATE)
        key = count, devices, commands
        if key not in self._undisturbed:
            folder = self._undisturbed[key] = self._folder()
            for arguments in commands:
                ended = self._run(folder, arguments, count, devices)
                if ended.status:
                    raise SystemExit(f'the undisturbed run fails: {ended.error}')
        return self._undisturbed[key]

    def _folder(self) -> pathlib.Path:
        folder = self._root / str(self._count)
        self._count += 1
        folder.mkdir()
        (folder / 'tiny.py').write_text(CONFIG.format(config=changed(SETTINGS)))
        return folder

    def _run(self, folder: pathlib.Path, arguments: Sequence[str], count: int, devices: int,
             **environment: str) -> End:
        return together.end(self._start(folder, arguments, count, devices, **environment), folder)

    def _start(self, folder: pathlib.Path, arguments: Sequence[str], count: int, devices: int,
               **environment: str) -> list[subprocess.Popen]:
        return together.start(folder, arguments, count, {
            **self._environment, 'JAX_NUM_CPU_DEVICES': str(devices), **environment})


def _differences(folder: pathlib.Path, whole: pathlib.Path, *, exact: bool = False) -> list[str]:
    """Where a run is not the other: losses and parameters, to rounding, and its files."""
    tolerance = 0 if exact else 1e-4
    found = []
    one, other = (_rows(place / 'work' / 'metrics.csv') for place in (folder, whole))
    if [row['step'] for row in one] != [row['step'] for row in other]:
        found.append(f'metrics.csv has steps {[row["step"] for row in one]}')
    else:
        found += [f'{key} of step {mine["step"]}: {mine[key]} and {value}'
                  for mine, theirs in zip(one, other, strict=True) for key, value in theirs.items()
                  if key not in TIMED and abs(mine[key] - value) > tolerance]
    (step, mine), (last, theirs) = (open_workdir(place / 'work').variables('latest')
                                    for place in (folder, whole))
    largest = _largest(mine, theirs)
    if step != last or largest > tolerance:
        found.append(f'parameters of step {step} and {last} differ by {largest:.2g}')
    names = [sorted(path.name for path in (place / 'work').iterdir()
                    if not path.name.startswith('evaluation') and path.name != 'predictions')
             for place in (folder, whole)]
    return found if names[0] == names[1] else [*found, f'files {names[0]} and {names[1]}']


def _fold_differences(folder: pathlib.Path, whole: pathlib.Path, *, exact: bool = False
                      ) -> list[str]:
    """Where a cross-validation is not the other: parameters of the folds, scores and files."""
    tolerance = 0 if exact else 1e-4
    places = [place / 'work' for place in (folder, whole)]
    found = []
    for fold in ('fold0', 'fold1'):
        (step, mine), (last, theirs) = (open_workdir(place / fold).variables('latest')
                                        for place in places)
        largest = _largest(mine, theirs)
        if step != last or largest > tolerance:
            found.append(f'parameters of {fold}, steps {step} and {last}, differ by {largest:.2g}')
    # A pixel near the border of two classes may change with the rounding.
    one, other = (read_record(place / 'crossvalidation.json') for place in places)
    if one.keys() != other.keys() or abs(one['miou'] - other['miou']) > 10 * tolerance:
        found.append(f'scores {one} and {other}')
    names = [sorted(str(path.relative_to(place)) for path in place.glob('*')) for place in places]
    return found if names[0] == names[1] else [*found, f'files {names[0]} and {names[1]}']


def _largest(one: Any, other: Any) -> float:
    return max(float(np.abs(a - b).max()) for a, b in
               zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def _rows(path: pathlib.Path) -> list[dict[str, float]]:
    """Without validations before the last: one that is due where a run stops is left out."""
    with path.open(newline='') as file:
        rows = [{key: float(value) for key, value in row.items() if value}
                for row in csv.DictReader(file)]
    return [row for row in rows if 'loss' in row or row['step'] == STEPS]


if __name__ == '__main__':
    sys.exit(program('Several processes', 'experiments.reliability.processes', __doc__, trials))
