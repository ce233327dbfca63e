"""Several processes of one command on this machine: how they are started, and how they end."""

import pathlib
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.cluster import local

LIMIT = 900  # seconds after which a command hangs


class End(NamedTuple):
    """How a command ended: status, output of process 0, errors of all, status of each."""

    status: int
    out: str
    error: str
    statuses: tuple[int, ...]


def start(folder: pathlib.Path, arguments: Sequence[str], count: int, environment: Mapping[str, str]
          ) -> list[subprocess.Popen]:
    """Starts `jaxseg` in so many processes; in a value `{process}` is the number of one."""
    variables = [f'{name}={value}' for name, value in environment.items()]
    # Errors of all go to one file: a pipe that nobody reads could fill.
    with (folder / 'errors.txt').open('w') as errors:
        return local.start(count, arguments, variables, cwd=folder, text=True,
                           stdout=subprocess.PIPE, stderr=errors)


def end(started: Sequence[subprocess.Popen], folder: pathlib.Path) -> End:
    """Waits for the end."""
    try:
        # A process that hangs without its peer has no output that could fill the pipe.
        status = local.wait(started, limit=LIMIT)
        out = started[0].stdout.read()
    finally:
        for process in started:
            process.kill()
    return End(status, out, (folder / 'errors.txt').read_text(),
               tuple(process.returncode for process in started))


def wrong_end(ended: End, expected: int, words: str = '') -> list[str]:
    """What is wrong with the statuses and the lines on stderr."""
    found = [] if set(ended.statuses) == {expected} else [
        f'statuses {ended.statuses}, expected {expected}']
    lines = [line for line in ended.error.splitlines() if line.strip()]
    if len(lines) != bool(words) or words not in ended.error:
        found.append(f'{len(lines)} lines on stderr, expected {int(bool(words))} with {words!r}')
    return [*found, ended.error[-800:]] if found else []


def wrong_stop(ended: End) -> list[str]:
    """What is wrong with the statuses after a signal, which stops a training."""
    return [] if set(ended.statuses) == {130} else [f'statuses {ended.statuses}', ended.error]


def read_until(process: subprocess.Popen, text: str) -> str:
    """What a process prints up to a line with this text."""
    read = ''
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise SystemExit(f'{text!r} was never printed')
