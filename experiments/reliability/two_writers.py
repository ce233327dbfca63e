"""Several trainings in one work directory, and readers beside a training.

    python -m experiments.reliability.two_writers [--short]
        [--table=experiments/results/two_writers.md]

Two and eight trainings start at the same moment in one work directory, new or stopped, all of one
config or half of them of another. No step may be done twice: every step is printed by one process.
All others end with status 2 and one line, which names the process that holds the lock, or the key
that differs once the run is that of another config; or, where the run has ended, with status 0. At
the end the parameters are those of an undisturbed run, bit for bit. Beside that, a training that
was killed with SIGKILL leaves no lock, and `evaluate` and `predict` succeed, several times in a
row, while a training saves and deletes a checkpoint at every step.
"""

import collections
import contextlib
import itertools
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from experiments.reliability.cases import changed, write_config, write_image
from experiments.reliability.tiny_runs import parameters, quick, train_undisturbed
from experiments.reliability.trials import (
    Trial,
    finish,
    program,
    start,
    unexpected_text,
    wrong_refusal,
)
from jaxseg.records import read_record

STEPS, STOP = 40, 10
SETTINGS = {'steps': STEPS, 'evaluate_every': 10, 'report_every': 1}
READERS = {'evaluate': ('evaluate', '--workdir=work', '--checkpoint=latest'),
           'evaluate the best': ('evaluate', '--workdir=work'),
           'predict': ('predict', '--workdir=work', '--input=images', '--output=new')}


def trials(short: bool) -> Iterator[Trial]:
    """All of them; with `short` two trainings in a new directory, a killed one, and one reader."""
    with tempfile.TemporaryDirectory() as place:
        setting = _Setting(pathlib.Path(place))
        rows = list(itertools.product((2, 8), (False, True), ((0, 0), (0, 1))))
        for count, stopped, seeds in rows[:1] if short else rows:
            yield setting.together(count, seeds, stopped=stopped)
        yield setting.killed()
        yield from setting.readers(1 if short else 4)


class _Setting:
    """Undisturbed runs of both configs, and a folder for each trial."""

    def __init__(self, root: pathlib.Path):
        self._root, self._environment, self._count = root, quick(root / 'cache'), 0
        folder = self._folder()
        # By seed: another seed is another run.
        self._parameters = {seed: train_undisturbed(folder, f'work{seed}', self._environment,
                                                    f'--config.seed={seed}') for seed in (0, 1)}

    def together(self, count: int, seeds: Sequence[int], *, stopped: bool) -> Trial:
        """`count` trainings, of which half have each of two seeds."""
        folder = self._folder()
        if stopped:
            self._stop(folder)
        seeds = (list(seeds) * count)[:count]
        processes = [start((*_train(seed), '--config.workers=0'), folder, **self._environment)
                     for seed in seeds]
        ends = [(process.pid, seed, *process.communicate(), process.returncode)
                for process, seed in zip(processes, seeds, strict=True)]
        seed = read_record(folder / 'work' / 'config.json')['seed']
        failures, outcomes, steps = [], collections.Counter(), collections.Counter()
        trained = {pid for pid, *_, status in ends if status == 0}
        for _, own, out, error, status in ends:
            steps.update(set(re.findall(r'^step (\d+)/\d+  loss', out, re.MULTILINE)))
            outcomes[status] += 1
            failures += _wrong_writer(own == seed, status, error, trained)
        twice = [step for step, times in steps.items() if times > 1]
        if twice:
            failures.append(f'steps {", ".join(twice)} were done twice')
        if len(steps) != STEPS - STOP * stopped:
            failures.append(f'{len(steps)} steps were done')
        if parameters(folder / 'work') != self._parameters[seed]:
            failures.append('other parameters than undisturbed')
        name = (f'{count} in {"a stopped" if stopped else "a new"} directory, '
                f'{len(set(seeds))} config(s)')
        refused = f'{outcomes[2]} refused' if outcomes[2] else 'none refused'
        return Trial('together', name, f'{outcomes[0]} done, {refused}', failures)

    def killed(self) -> Trial:
        """SIGKILL, then the same command again, at once."""
        folder = self._folder()
        process = start(_train(0), folder, **self._environment)
        _read_until(process, f'step {STOP}/')
        process.kill()
        process.communicate()
        status, _, error = finish(_train(0), folder, **self._environment)
        failures = [] if status == 0 and not error else [f'status {status}', error[-400:]]
        if parameters(folder / 'work') != self._parameters[0]:
            failures.append('other parameters than undisturbed')
        return Trial('after SIGKILL', 'the lock is free', f'status {status}', failures)

    def readers(self, times: int) -> Iterator[Trial]:
        """`evaluate` and `predict`, beside a training that saves at every step."""
        folder = self._folder()
        process = start((*_train(0), '--config.steps=1000000', '--config.save_every=1'), folder,
                        **self._environment)
        _read_until(process, 'validation')
        # Its output is read, or it would wait for a full pipe.
        with (folder / 'output.txt').open('w') as file, _copied(process, file):
            for name, arguments in READERS.items():
                for index in range(times):
                    before = process.poll()
                    status, out, error = finish(arguments, folder, **self._environment)
                    failures = unexpected_text(error)
                    failures += [] if before is None else ['the training had ended']
                    failures += [] if status == 0 else [f'status {status}']
                    failures += [error[-400:]] if error else []
                    yield Trial('beside a training', f'{name}, {index}', f'status {status}',
                                failures)
            process.send_signal(signal.SIGTERM)
            status = process.wait()
        error = process.stderr.read()
        failures = unexpected_text(error) + ([] if status == 130 else [f'status {status}'])
        yield Trial('beside a training', 'the training itself', f'status {status}', failures)

    def _folder(self) -> pathlib.Path:
        folder = self._root / str(self._count)
        self._count += 1
        folder.mkdir()
        write_config(folder / 'tiny.py', changed(SETTINGS))
        write_image(folder / 'images' / 'a.png')
        return folder

    def _stop(self, folder: pathlib.Path):
        """Leaves a run at step `STOP`: killed after its checkpoint."""
        status, _, error = finish((*_train(0), f'--config.steps={STOP}'), folder,
                                  **self._environment)
        if status:
            raise SystemExit(f'the first part of the run fails: {error}')


def _train(seed: int) -> tuple[str, ...]:
    return 'train', '--config=tiny.py', '--workdir=work', f'--config.seed={seed}'


def _wrong_writer(own: bool, status: int, error: str, trained: set[int]) -> list[str]:
    """What is wrong with the end of one of several trainings; `own` if the run has its config."""
    if status == 0 and own:
        return [error[-400:]] if error else []
    if not own and 'holds a run with seed' in error:
        return wrong_refusal(status, error, '--workdir=work', 'seed')
    holder = re.search(r'process (\d+) on \S+ trains there', error)
    found = wrong_refusal(status, error, '--workdir=work', 'trains there')
    if not holder or int(holder[1]) not in trained:
        found.append(f'names no process that trained: {error[-400:]}')
    return found


def _read_until(process: subprocess.Popen, text: str):
    for line in process.stdout:
        if text in line:
            return
    raise SystemExit(f'{text!r} was never printed: {process.stderr.read()}')


@contextlib.contextmanager
def _copied(process: subprocess.Popen, file) -> Iterator[None]:
    """The rest of the output goes to a file, by a process of its own."""
    reader = subprocess.Popen(['cat'], stdin=process.stdout, stdout=file)
    try:
        yield
    finally:
        process.terminate()
        reader.wait()


if __name__ == '__main__':
    sys.exit(program('Several trainings in one work directory',
                     'experiments.reliability.two_writers', __doc__, trials))
