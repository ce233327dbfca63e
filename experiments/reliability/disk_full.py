"""Commands that run out of disk space end in one line, destroy nothing, and succeed afterwards.

    python -m experiments.reliability.disk_full [--short]
        [--table=experiments/results/disk_full.md]

Needs Linux and root: a tmpfs of a few MiB is mounted and filled until a part of what the command
writes is free, at ten levels from nothing to nine tenths. Then a training, a resumed training,
`evaluate`, `predict` or `inspect` runs there. It must end with status 2 and one line that names the
full disk. No file that was there may be damaged: it is as it was, or as the same command writes it
where space is free; of a training, every checkpoint can be read, none of the steps is lost, and
neither are rows of metrics.csv. Once space is free the same command must succeed with exactly the
result of an undisturbed run; of a training, all arrays bit for bit. A command that does with less
space (the outcome 'done') must have this result at once. Exits 1 with failures.
"""

import contextlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from PIL import Image

from experiments.reliability.cases import changed, write_config, write_image
from experiments.reliability.saved import arrays, leftovers, steps, unreadable, wrong_end
from experiments.reliability.tiny_runs import quick
from experiments.reliability.trials import (
    Trial,
    finish,
    program,
    unexpected_text,
    wrong_refusal,
)

SIZE, PAGE, LEVELS = 8 * 2**20, 4096, 10
STEPS, MORE = 4, 6
CONFIG = changed({'steps': STEPS, 'save_every': 1})
RUN = 'run'


class Task(NamedTuple):
    """A command that writes to the disk; `last` is the last step of a training."""

    name: str
    arguments: tuple[str, ...]
    resumes: bool = False
    last: int | None = None


# In the folder of the config; `disk` is the small one.
TASKS = (
    Task('train', ('train', '--config=tiny.py', '--workdir=disk/run'), last=STEPS),
    Task('train, resumed', ('train', '--workdir=disk/run', f'--config.steps={MORE}'),
         resumes=True, last=MORE),
    Task('evaluate', ('evaluate', '--workdir=disk/run'), resumes=True),
    Task('predict', ('predict', '--workdir=run', '--input=images', '--output=disk/masks')),
    Task('inspect', ('inspect', '--config=tiny.py', '--output=disk/sheet')),
)


class Truth(NamedTuple):
    """What a command leaves where nothing disturbs it: all files, and the arrays of a training."""

    files: dict[str, bytes]
    arrays: dict[str, Any]
    pages: int


def trials(short: bool) -> Iterator[Trial]:
    """All commands at all levels; with `short` one training."""
    with tempfile.TemporaryDirectory() as place, mounted(pathlib.Path(place)) as disk:
        root = disk.parent
        environment = quick(root / 'cache')
        environment |= {name: os.environ[name] for name in environment if name in os.environ}

        def run(*arguments: str) -> tuple[int, str, str]:
            return finish(arguments, root, **environment)

        write_config(root / 'tiny.py', CONFIG)
        for name in 'abcdef':
            write_image(root / 'images' / f'{name}.png')
        # An earlier evaluation, with other metrics, too.
        for arguments in () if short else (
                ('train', '--config=tiny.py', '--workdir=run'),
                ('evaluate', '--workdir=run', '--metrics=calibration', '--num_images=1')):
            succeed(run, *arguments)
        for task in TASKS[:1] if short else TASKS:
            prepare(task, disk)
            before = files(disk)
            succeed(run, *task.arguments)
            after = files(disk)
            written = [content for name, content in after.items() if before.get(name) != content]
            truth = Truth(after, arrays(disk / RUN, task.last) if task.last else {},
                          sum(-(-len(content) // PAGE) for content in written))
            for level in (LEVELS // 2,) if short else range(LEVELS):
                yield tried(task, disk, truth, truth.pages * level // LEVELS, run)


def succeed(run: Callable, *arguments: str):
    """Runs a command that must end well and silently."""
    status, _, error = run(*arguments)
    if status or error:
        raise SystemExit(f'{" ".join(arguments)}: status {status}\n{error}')


@contextlib.contextmanager
def mounted(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """A small disk in memory."""
    disk = root / 'disk'
    disk.mkdir()
    options = ('-t', 'tmpfs', '-o', f'size={SIZE}', 'tmpfs', str(disk))
    result = subprocess.run(['mount', *options], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f'no tmpfs can be mounted here, so there are no trials: '
                         f'{result.stderr.strip()}')
    try:
        yield disk
    finally:
        subprocess.run(['umount', str(disk)], check=True)


def prepare(task: Task, disk: pathlib.Path):
    """Empties the disk, and puts a trained run there where the task needs one."""
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if task.resumes:
        shutil.copytree(disk.parent / RUN, disk / RUN)


def fill(disk: pathlib.Path, pages: int):
    """Leaves so many pages free."""
    if not os.path.ismount(disk):
        raise SystemExit(f'{disk} is not mounted: the disk of this machine would be filled')
    with (disk / 'filler').open('wb') as file:
        free = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize - pages * PAGE)


def files(disk: pathlib.Path) -> dict[str, bytes]:
    """All files by their place on the disk."""
    return {str(path.relative_to(disk)): path.read_bytes() for path in sorted(disk.rglob('*'))
            if path.is_file() and path.name != 'filler'}


def tried(task: Task, disk: pathlib.Path, truth: Truth, pages: int, run: Callable) -> Trial:
    """A command with so many pages free, and again with all of them."""
    prepare(task, disk)
    before, first = files(disk), steps(disk / RUN)
    fill(disk, pages)
    status, out, error = run(*task.arguments)
    name = f'{pages} of {truth.pages} pages free'
    if not status:
        failures = wrong_result(task, disk, truth, error)
        failures += [] if pages else ['succeeds on a full disk']
        return Trial(task.name, name, 'done', failures)
    failures = wrong_refusal(status, error, f'jaxseg {task.arguments[0]}: ', 'No space left')
    failures += unexpected_text(error) + damaged(before, files(disk), truth.files)
    if task.last:
        failures += unreadable(disk / RUN)
        if first and steps(disk / RUN)[-1:] < first[-1:]:
            failures.append(f'checkpoints {first} before, {steps(disk / RUN)} after')
    (disk / 'filler').unlink()
    status, out, error = run(*task.arguments)
    failures += [f'status {status} when space is free'] if status else []
    return Trial(task.name, name, 'refused', failures + wrong_result(task, disk, truth, error))


def is_json(content: bytes | None) -> bool:
    """Whether a file holds JSON."""
    try:
        return json.loads(content or b'') is not None
    except ValueError:
        return False


def damaged(before: dict[str, bytes], after: dict[str, bytes], complete: dict[str, bytes]
            ) -> list[str]:
    """Files that are neither as they were nor as they should become; checkpoints not among them."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, now, path = before.get(name), after.get(name), pathlib.PurePath(name)
        if now in (old, complete.get(name)) or 'checkpoints' in path.parts:
            continue
        if path.name == 'metrics.csv':  # holds times, so that it is never the same
            lost = set((old or b'').splitlines()) - set((now or b'').splitlines())
            found += [f'{name}: {len(lost)} rows are lost'] if lost else []
        elif path.name == 'provenance.json':  # holds times, too
            found += [] if is_json(now) else [f'{name}: damaged']
        elif path.name == 'predict.jsonl':  # a line is added for every image that is done
            complete_lines = complete.get(name, b'').startswith(now or b'-')
            found += [] if complete_lines else [f'{name}: damaged']
        elif path.name == 'curves.png':  # of fewer steps
            found += [] if is_image(now) else [f'{name}: damaged']
        elif path.name != 'train.lock' and (old is not None or 'events' not in path.parts):
            found.append(f'{name}: {"gone" if now is None else "damaged"}')
    return found


def is_image(content: bytes | None) -> bool:
    """Whether all of an image can be decoded."""
    try:
        Image.open(io.BytesIO(content or b'')).load()
    except (OSError, SyntaxError):
        return False
    return True


def wrong_result(task: Task, disk: pathlib.Path, truth: Truth, error: str) -> list[str]:
    """What is wrong with the result of a command that succeeded."""
    found = unexpected_text(error) or ([f'on stderr: {error}'] if error else [])
    found += leftovers(disk)
    if task.last:
        return found + wrong_end(disk / RUN, task.last, truth.arrays) + unreadable(disk / RUN)
    now = files(disk)
    return found + [f'{name}: is not that of an undisturbed run' for name in {**now, **truth.files}
                    if now.get(name) != truth.files.get(name)]


if __name__ == '__main__':
    sys.exit(program('Full disks', 'experiments.reliability.disk_full', __doc__, trials))
