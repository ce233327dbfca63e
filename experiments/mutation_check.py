"""Deliberate faults, each alone in a copy of the tree, and whether the tests notice.

    python -m experiments.mutation_check [--only=WORDS ...] [--full] [--table=FILE]

Every mutation (`mutations.py`, `mutations_of_training.py`) replaces a text in one file and names
the tests that should fail then. A test that fails without it too does not count. `--full` runs the
whole suite for each. Exits 1 where one survives, or where its text is not there any more. The
result of a run is in experiments/results/mutation_check.md.
"""

import argparse
import compileall
import os
import pathlib
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from experiments import mutations_of_training
from experiments.mutations import MUTATIONS, Mutation

ROOT = pathlib.Path(__file__).parents[1]
SURVIVED, GONE = MISSED = 'survived', 'does not apply'


def run_tests(tree: pathlib.Path, tests: Sequence[str], *options: str) -> list[str]:
    """The tests that fail in a copy of the tree.

    Raises:
      SystemExit: pytest itself failed, or selected no test.
    """
    # Python would tell a .pyc that it writes by time and size, which a mutation may leave as they
    # are.
    environment = {**os.environ, 'PYTHONPATH': str(tree), 'PYTHONDONTWRITEBYTECODE': '1'}
    command = [sys.executable, '-m', 'pytest', '-n', '0', '-q', '-rfE', '-p', 'no:cacheprovider',
               *options, *tests]
    found = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    failed = re.findall(r'^(?:FAILED|ERROR) (.+?)(?: - .*)?$', found.stdout, re.MULTILINE)
    if found.returncode not in (0, 1) and not failed:
        raise SystemExit(f'pytest ended with {found.returncode}:\n{found.stdout}{found.stderr}')
    return failed


def outcome(tree: pathlib.Path, mutation: Mutation, broken: set[str], full: bool) -> str:
    """The first test that fails, `SURVIVED` or `GONE`; the tree is as before afterwards.

    Args:
      broken: tests that are left out, as they fail without the mutation as well.
    """
    file = tree / mutation.file
    original = file.read_text()
    if mutation.old not in original:
        return GONE
    file.write_text(original.replace(mutation.old, mutation.new))
    failed = run_tests(tree, ('tests',) if full else mutation.tests, '-x',
                       *(f'--deselect={name}' for name in broken))
    file.write_text(original)
    return failed[0] if failed else SURVIVED


def check(tree: pathlib.Path, mutations: Sequence[Mutation], full: bool
          ) -> tuple[dict[Mutation, str], set[str]]:
    """The outcome of every mutation, and tests that fail without one."""
    outcomes: dict[Mutation, str] = {}
    left, broken = mutations, set()
    while left:
        for mutation in left:
            outcomes[mutation] = outcome(tree, mutation, broken, full)
            print(f'{mutation.name}: {outcomes[mutation]}', flush=True)
        # All of them in one process, which is most of the time of a test.
        failed = sorted({outcomes[mutation] for mutation in left} - set(MISSED))
        found = set(run_tests(tree, failed) if failed else ()) - broken
        left = [mutation for mutation in left if outcomes[mutation] in found]
        broken |= found
    return outcomes, broken


def table(outcomes: Mapping[Mutation, str]) -> str:
    """Markdown."""
    caught = sum(test not in MISSED for test in outcomes.values())
    lines = ['# Mutations', '', f'{caught} of {len(outcomes)} caught by '
             '`python -m experiments.mutation_check`, each alone.', '',
             '| mutation | file | result |', '|---|---|---|']
    results = {mutation: test if test in MISSED else f'caught by {test}'
               for mutation, test in outcomes.items()}
    lines += [f'| {mutation.name} | {mutation.file} | {result} |'
              for mutation, result in results.items()]
    return '\n'.join(lines) + '\n'


def main() -> int:
    """Runs the check; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', action='append',
                        help='mutations whose name holds these words; may be given several times')
    parser.add_argument('--full', action='store_true', help='all tests for every mutation')
    parser.add_argument('--table', type=pathlib.Path, help='file that receives the table')
    arguments = parser.parse_args()
    chosen = [mutation for mutation in [*MUTATIONS, *mutations_of_training.MUTATIONS]
              if any(words in mutation.name for words in arguments.only or [''])]
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / 'tree'
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns('.*', 'runs', '__pycache__'))
        # Known by their contents, so that those of a mutated file do not count.
        compileall.compile_dir(tree / 'jaxseg', quiet=1,
                               invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        outcomes, broken = check(tree, chosen, arguments.full)
    print('\n'.join(f'fails without a mutation: {name}' for name in sorted(broken)))
    if arguments.table:
        arguments.table.write_text(table(outcomes))
    return int(any(test in MISSED for test in outcomes.values()))


if __name__ == '__main__':
    sys.exit(main())
