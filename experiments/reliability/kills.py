"""Trainings that are killed at any moment, and started again, end as if nothing had happened.

    python -m experiments.reliability.kills [--short] [--table=experiments/results/kills.md]

A tiny training that saves after every step is killed by SIGKILL: at a random moment from its lock
file on, as a folder appears among the checkpoints, or as a checkpoint that is no longer kept
disappears. The library must be able to read every checkpoint that is left. The same command then
runs again without interruption. It must end with status 0 and nothing on stderr, its last
checkpoint must hold the arrays of an undisturbed run, bit for bit, every checkpoint must be
readable, and nothing half written or half deleted may be left. The outcome of a trial is what was
found after the kill. Exits 1 with failures.
"""

import contextlib
import itertools
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.reliability.cases import changed, write_config
from experiments.reliability.saved import arrays, leftovers, steps, unreadable, wrong_end
from experiments.reliability.tiny_runs import quick
from experiments.reliability.trials import Trial, finish, program, start, unexpected_text
from jaxseg.training.checkpoint import DELETED

STEPS = 12
CONFIG = changed({'steps': STEPS, 'save_every': 1, 'evaluate_every': 4, 'report_every': 1})
COMMAND = ('train', '--config=tiny.py', '--workdir=work')
MOMENTS = {'at a random moment': 25, 'as a folder appears': 12, 'as a checkpoint disappears': 13}
# Between two looks at the folder of checkpoints.
PAUSE = 2e-4


class Truth(NamedTuple):
    """An undisturbed run: what it saved last, and its seconds from the lock file to the end."""

    arrays: dict[str, np.ndarray]
    seconds: float


def trials(short: bool) -> Iterator[Trial]:
    """All moments, as often as they are listed."""
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        environment = quick(root / 'cache')
        for _ in range(1 if short else 2):  # the time is that of a run whose programs are compiled
            truth = undisturbed(new_folder(root / 'undisturbed'), environment)
        for kind, number in list(MOMENTS.items())[2 if short else 0:]:
            for index in range(1 if short else number):
                yield killed(new_folder(root / 'trial'), kind, index, truth, environment)


def new_folder(folder: pathlib.Path) -> pathlib.Path:
    """A folder with nothing but the config."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_config(folder / 'tiny.py', CONFIG)
    return folder


def undisturbed(folder: pathlib.Path, environment: dict[str, str]) -> Truth:
    """Trains without interruption."""
    process = start(COMMAND, folder, **environment)
    begun = wait_for_lock(folder, process)
    _, error = process.communicate()
    if process.returncode or error:
        raise SystemExit(f'the undisturbed run ends with status {process.returncode}\n{error}')
    return Truth(arrays(folder / 'work', STEPS), time.perf_counter() - begun)


def killed(folder: pathlib.Path, kind: str, index: int, truth: Truth, environment: dict[str, str]
           ) -> Trial:
    """One kill, and the run that follows it."""
    chance = random.Random(f'{kind} {index}')
    process = start(COMMAND, folder, **environment)
    wait_for_lock(folder, process)
    if kind == 'at a random moment':
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, truth.seconds))
    else:
        wait_for_change(folder / 'work' / 'checkpoints', process, chance.randrange(1, STEPS - 2),
                        appears=kind == 'as a folder appears')
        time.sleep(chance.choice((0, 0, 1e-3, 3e-3)))
    process.kill()
    process.communicate()
    found, before = state(folder / 'work', process.returncode), steps(folder / 'work')
    failures = [f'after the kill: {error}' for error in unreadable(folder / 'work')]
    status, out, error = finish(COMMAND, folder, **environment)
    failures += [f'status {status}'] if status else []
    failures += unexpected_text(error) or ([f'on stderr: {error}'] if error else [])
    if before and 'steps 0 to' in out:
        failures.append(f'begins again, with checkpoints {before}')
    failures += wrong_end(folder / 'work', STEPS, truth.arrays)
    failures += unreadable(folder / 'work') + leftovers(folder / 'work')
    return Trial(kind, f'kill {index}, checkpoints {before}', found, failures)


def wait_for_lock(folder: pathlib.Path, process: subprocess.Popen) -> float:
    """Waits until the training has begun; the time."""
    while not (folder / 'work' / 'train.lock').exists() and process.poll() is None:
        time.sleep(1e-3)
    return time.perf_counter()


def wait_for_change(folder: pathlib.Path, process: subprocess.Popen, number: int, *, appears: bool):
    """Waits for a change of this number, or for the end of the process.

    A folder appears when a checkpoint begins to be written, and again under its own name when it is
    complete. A checkpoint disappears when it is moved to those that will be deleted.
    """
    seen = set(listed(folder))
    for turn in itertools.count():
        now = set(listed(folder))
        number -= len(now - seen if appears else set(filter(str.isdecimal, seen - now)))
        if number <= 0 or turn % 100 == 99 and process.poll() is not None:
            return
        seen = now
        time.sleep(PAUSE)


def listed(folder: pathlib.Path) -> list[str]:
    """The names in a folder, none where it does not exist."""
    with contextlib.suppress(OSError):
        return os.listdir(folder)
    return []


def state(workdir: pathlib.Path, status: int) -> str:
    """What a kill left."""
    if status >= 0:
        return 'had ended'
    names = listed(workdir / 'checkpoints')
    found = [word for word, there in (('a half written checkpoint', any('tmp' in n for n in names)),
                                      ('one to delete', DELETED in names)) if there]
    return ' and '.join(found) or ('complete ones' if names else 'no checkpoint')


if __name__ == '__main__':
    sys.exit(program('Killed trainings', 'experiments.reliability.kills', __doc__, trials))
