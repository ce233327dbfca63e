"""Trials of whole commands: how they are started, judged and counted."""

import argparse
import collections
import datetime
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax


class Trial(NamedTuple):
    """One trial.

    Attributes:
      kind: the group of rows that it is counted in.
      name: what was done.
      outcome: what happened, one word or two, such as 'refused'.
      failures: what is wrong with it; none where it is as it should be.
    """

    kind: str
    name: str
    outcome: str
    failures: Sequence[str] = ()


def start(arguments: Iterable[Any], folder: pathlib.Path, **environment: str) -> subprocess.Popen:
    """Starts `jaxseg` as a user would, on one CPU device, so that runs are equal bit for bit."""
    return subprocess.Popen(
        [sys.executable, '-m', 'jaxseg', *map(str, arguments)], cwd=folder, text=True,
        errors='backslashreplace', stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1', 'PYTHONDONTWRITEBYTECODE': '1',
             'PYTHONPATH': str(pathlib.Path(__file__).parents[2]), **environment})


def finish(arguments: Iterable[Any], folder: pathlib.Path, **environment: str
           ) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `jaxseg`."""
    process = start(arguments, folder, **environment)
    out, error = process.communicate()
    return process.returncode, out, error


def wrong_refusal(status: int, error: str, *words: str, expected: int = 2) -> list[str]:
    """What is wrong with the end of a command that must be refused in one line with these words."""
    found = [] if status == expected else [f'status {status}, expected {expected}']
    if len(error.strip().splitlines()) != 1:
        found.append(f'{len(error.strip().splitlines())} lines on stderr')
    found += [f'{word!r} is not named' for word in words if word not in error]
    return [*found, error[-400:]] if found else []


def unexpected_text(error: str) -> list[str]:
    """What must be on no stderr."""
    return [f'{word!r} on stderr: {error[-400:]}' for word in ('Traceback', 'Exception ignored',
                                                               'Warning') if word in error]


def count(title: str, command: str, trials: Iterator[Trial], table: pathlib.Path | None) -> int:
    """Runs trials, prints failures as they come and the table at the end; the exit status."""
    outcomes: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    failed, total, begun = collections.Counter(), 0, time.perf_counter()
    for trial in trials:
        total += 1
        outcomes[trial.kind][trial.outcome] += 1
        if trial.failures:
            failed[trial.kind] += 1
            print(f'FAILED {trial.kind}: {trial.name} ({trial.outcome})', *trial.failures,
                  sep='\n    ', flush=True)
    text = '\n'.join([
        f'# {title}', '', f'{total} trials of `{command}`, {failed.total()} failures. {machine()}, '
        f'{time.perf_counter() - begun:.0f} s.', '', '| kind | trials | outcomes | failures |',
        '|---|---|---|---|',
        *(f'| {kind} | {found.total()} | {_listed(found)} | {failed[kind]} |'
          for kind, found in outcomes.items())]) + '\n'
    print(text)
    if table:
        table.write_text(text)
    return int(bool(failed))


def machine() -> str:
    """The date, the processor and the versions."""
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    cpu = next((line.split(':')[1].strip() for line in lines if line.startswith('model name')),
               platform.machine())
    return (f'{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, '
            f'Python {platform.python_version()}, jax {jax.__version__}')


def program(title: str, module: str, description: str, run: Callable[[bool], Iterator[Trial]]
            ) -> int:
    """The command line of trials: `--short` for a few of every kind, `--table=FILE`."""
    parser = argparse.ArgumentParser(description=description.split('\n')[0])
    parser.add_argument('--short', action='store_true', help='a few trials of every kind')
    parser.add_argument('--table', type=pathlib.Path, help='file that receives the counts')
    arguments = parser.parse_args()
    return count(title, f'python -m {module}', run(arguments.short), arguments.table)


def _listed(found: Mapping[str, int]) -> str:
    return ', '.join(f'{outcome} {number}' for outcome, number in sorted(found.items()))
