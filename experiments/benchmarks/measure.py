"""For all benchmarks: timing in turns, tables saved after every row, the name of the machine."""

import argparse
import csv
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Sequence

import jax

from jaxseg.commands.malloc import tune_malloc

PAUSE = 0.3  # seconds between two measurements

tune_malloc()  # as the command line does, for PyTorch in the same process too


def argument_parser(description: str, repeats: int) -> argparse.ArgumentParser:
    """The options that benchmarks share: `--repeats` and the table that `--csv` receives."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=repeats)
    parser.add_argument('--csv', type=pathlib.Path)
    return parser


def add_names(parser: argparse.ArgumentParser, option: str, known: Sequence[str]):
    """An option of some of these names, with commas between them; by default all of them."""
    def names(text: str) -> list[str]:
        found = text.split(',')
        if unknown := set(found) - set(known):
            raise argparse.ArgumentTypeError(f'{", ".join(sorted(unknown))} is not known; '
                                             f'known: {", ".join(known)}')
        return found

    parser.add_argument(option, type=names, default=list(known),
                        help=f'some of {", ".join(known)}, with commas between them')


def take_turns(functions: dict[str, Callable], repeats: int, warm: int = 2) -> dict[str, float]:
    """Median seconds of every function; they alternate, after `warm` rounds that do not count.

    A pause before each lets the threads of the one before go to sleep: those of OpenMP and Eigen
    wait actively for a while, which takes a core from the next.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + warm):
        for name, function in functions.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found[warm:]) for name, found in times.items()}


def read(path: pathlib.Path | None) -> list[dict]:
    """The rows of a table that an earlier run has written; none without it."""
    if path is None or not path.is_file():
        return []
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def write(path: pathlib.Path, rows: list[dict], columns: Sequence[str]):
    """The table so far, so that an interruption keeps what was measured."""
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def machine() -> str:
    """Date, processor, cores, versions: one line that belongs to every figure."""
    info = pathlib.Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    processor = next((line.split(':')[1].strip() for line in lines
                      if line.startswith('model name')), platform.processor())
    return (f'{time.strftime("%Y-%m-%d")}, {processor}, {len(os.sched_getaffinity(0))} cores, '
            f'Python {platform.python_version()}, jax {jax.__version__} on {jax.default_backend()}')
