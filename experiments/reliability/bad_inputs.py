"""Bad command lines, configs, work directories and data folders, and how each of them is refused.

    python -m experiments.reliability.bad_inputs [--only=WORDS] [--short] [--processes=20]
        [--table=experiments/results/bad_inputs.md]

Every row runs in this process through `jaxseg.commands.main`, in a folder of its own, on four CPU
devices. It must end with its exit status before anything is compiled, write one line to stderr that
begins with `jaxseg SUBCOMMAND: ` and names the key or file and the value, without a traceback or a
warning, and leave every file of the folder as it was. `--processes` rows run again as a user would
start them. Exits 1 with failures. The result is in experiments/results/bad_inputs.md.
"""

import argparse
import collections
import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from unittest import mock

import jax

from experiments.reliability import (
    bad_annotations,
    bad_commands,
    bad_data,
    bad_files,
    bad_numbers,
    bad_parts,
    bad_plans,
    bad_workdirs,
)
from experiments.reliability.cases import TINY, Case, write_config, write_image
from experiments.reliability.trials import machine
from jaxseg.commands import SUBCOMMANDS
from jaxseg.commands import main as jaxseg

TABLES = (bad_annotations, bad_commands, bad_data, bad_files, bad_numbers, bad_parts, bad_plans,
          bad_workdirs)
DEVICES = 4
# What starts a compilation of a run; none of it may be reached.
COMPILED = ('jaxseg.training.layout.JitLayout.compile_init',
            'jaxseg.training.layout.JitLayout.compile_step',
            'jaxseg.inference.whole.Whole._predict', 'jaxseg.inference.sliding.SlidingWindow._run',
            'jaxseg.inference.exact.Exact._run')


class Refused(Exception):
    """Something was compiled."""


def all_cases() -> list[Case]:
    """The rows of all tables."""
    return [case for table in TABLES for case in table.cases()]


def short_cases(most: int = 3) -> list[Case]:
    """A few rows of every kind, spread over it."""
    kinds = collections.defaultdict(list)
    for case in all_cases():
        kinds[case.kind].append(case)
    return [case for rows in kinds.values() for case in rows[::-(-len(rows) // most)]]


def check(case: Case, folder: pathlib.Path, trained: pathlib.Path) -> list[str]:
    """What is wrong with the refusal of a bad input; nothing where it is as it should be."""
    prepare(case, folder, trained)
    before = contents(folder)
    status, output = run(case.arguments, folder)
    return problems(case, status, output) + changes(before, contents(folder))


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Files that were written, changed or deleted."""
    return [f'{path}: changed' for path, _ in sorted(before.items() ^ after.items())]


def problems(case: Case, status: int, output: str) -> list[str]:
    """What is wrong with an exit status and the text on stderr."""
    lines = output.splitlines()
    found = [] if status == case.status else [f'status {status}']
    if case.lines and len(lines) != case.lines:
        found.append(f'{len(lines)} lines')
    name = ' '.join(word for word in case.arguments[:1] if word in SUBCOMMANDS)
    if case.lines and not output.startswith(f'jaxseg {name}: ' if name else 'jaxseg: '):
        found.append('no name of the subcommand')
    for word in case.words:
        if not any(text in output for text in ((word,) if isinstance(word, str) else word)):
            found.append(f'{word!r} is not named')
    if 'Traceback' in output:
        found.append('a traceback')
    return found and [*found, output[-400:] or 'no error']


def prepare(case: Case, folder: pathlib.Path, trained: pathlib.Path):
    """Writes the files of a case."""
    folder.mkdir(parents=True)
    write_config(folder / 'tiny.py', TINY)
    text = ' '.join(case.arguments)
    if '=work' in text:
        shutil.copytree(trained, folder / 'work')
    if '=images' in text:
        write_image(folder / 'images' / 'a.png')
    if case.prepare:
        case.prepare(folder)


def run(arguments: Sequence[str], folder: pathlib.Path) -> tuple[int, str]:
    """Exit status and stderr of a command in this process; what escapes `main` is a traceback."""
    with captured(folder.with_suffix('.txt')) as output, contextlib.chdir(folder), \
            contextlib.ExitStack() as patches, warnings.catch_warnings():
        warnings.simplefilter('always', UserWarning)
        warnings.simplefilter('always', RuntimeWarning)
        # A handler of another row's stderr, which is closed, prints a traceback otherwise.
        patches.enter_context(mock.patch('logging.raiseExceptions', False))
        for place in COMPILED:
            patches.enter_context(mock.patch(place, side_effect=Refused(place)))
        try:
            status = jaxseg(list(arguments))
        except SystemExit as error:
            status = error.code
        except BaseException:
            traceback.print_exc()
            status = -1
    return status, output.read_text(errors='replace')


@contextlib.contextmanager
def captured(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """All that is written to stderr, by C libraries too, and nothing on stdout."""
    sys.stderr.flush()
    with path.open('w', encoding='utf-8', errors='backslashreplace') as file, \
            open(os.devnull, 'w') as nowhere:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            with contextlib.redirect_stderr(file), contextlib.redirect_stdout(nowhere):
                yield path
        finally:
            file.flush()
            os.dup2(kept, 2)
            os.close(kept)


def contents(folder: pathlib.Path) -> dict[str, str]:
    """Every file and folder, and a hash of what a file holds.

    Without the lock, which names the process that trained last.
    """
    found = {}
    for place, names, files in os.walk(folder):
        found |= {os.path.join(place, name): 'folder' for name in names}
        for name in set(files) - {'train.lock'}:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError), open(path, 'rb') as file:
                found[path] = hashlib.sha256(file.read()).hexdigest()
    return found


def start(case: Case, folder: pathlib.Path, trained: pathlib.Path) -> list[str]:
    """The same in a process of its own."""
    prepare(case, folder, trained)
    before = contents(folder)
    environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': str(DEVICES),
                   'PYTHONDONTWRITEBYTECODE': '1'}
    result = subprocess.run([sys.executable, '-m', 'jaxseg', *case.arguments], cwd=folder,
                            capture_output=True, text=True, env=environment)
    return problems(case, result.returncode, result.stderr) + changes(before, contents(folder))


def train_tiny(folder: pathlib.Path) -> pathlib.Path:
    """A trained work directory."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / 'tiny.py', TINY)
    with captured(folder / 'stderr.txt') as output:
        status = jaxseg(['train', f'--config={folder}/tiny.py', f'--workdir={folder}/trained'])
    if status:
        raise SystemExit(f'the tiny run does not train:\n{output.read_text()}')
    return folder / 'trained'


def table(counts: dict[str, list[int]], processes: int, seconds: float) -> str:
    """Markdown."""
    rows, failed = (sum(column) for column in zip(*counts.values(), strict=True))
    lines = ['# Bad inputs', '', f'{rows} rows of `python -m experiments.reliability.bad_inputs`, '
             f'{failed} failures; {processes} of them once more in a process of their own. '
             f'{machine()}, {seconds:.0f} s.', '',
             '| kind | rows | failures |', '|---|---|---|']
    lines += [f'| {kind} | {count} | {bad} |' for kind, (count, bad) in counts.items()]
    return '\n'.join([*lines, f'| all | {rows} | {failed} |']) + '\n'


def main() -> int:
    """Runs the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', default='', help='rows whose kind or name holds these words')
    parser.add_argument('--short', action='store_true', help='a few rows of every kind')
    parser.add_argument('--processes', type=int, default=20, help='rows in processes of their own')
    parser.add_argument('--table', type=pathlib.Path, help='file that receives the counts')
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    jax.config.update('jax_num_cpu_devices', DEVICES)
    rows = [case for case in (short_cases() if arguments.short else all_cases())
            if arguments.only in case.kind or arguments.only in case.name]
    counts, begun = collections.defaultdict(lambda: [0, 0]), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        trained = train_tiny(root / 'run')
        outside = rows[::max(1, len(rows) // arguments.processes)] if arguments.processes else []
        for index, (method, case) in enumerate([*((check, case) for case in rows),
                                                *((start, case) for case in outside)]):
            found = method(case, root / str(index), trained)
            counts[case.kind][0] += method is check
            counts[case.kind][1] += bool(found)
            if found:
                print(f'FAILED {case.kind}: {case.name}', *found, sep='\n    ', flush=True)
            shutil.rmtree(root / str(index), ignore_errors=True)
    text = table(counts, len(outside), time.perf_counter() - begun)
    print(text)
    if arguments.table:
        arguments.table.write_text(text)
    return int(any(failed for _, failed in counts.values()))


if __name__ == '__main__':
    sys.exit(main())
