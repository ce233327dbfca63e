"""Deliberate faults, each alone in a copy of the tree, and whether the tests notice.

    python experiments/mutation_check.py [--only=WORDS ...] [--full] [--table=FILE]

Every mutation (`mutations.py`) replaces a text in one file and names the tests that should fail
then. A test that fails without it too does not count. `--full` runs the whole suite for each. Exits
1 where one survives, or where its text is not there any more. The result of a run is in
experiments/results/mutation_check.md.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from mutations import MUTATIONS, Mutation

ROOT = pathlib.Path(__file__).parents[1]


def run_tests(tree: pathlib.Path, tests: Sequence[str], *options: str) -> list[str]:
    """The tests that fail in a copy of the tree.

    Raises:
      SystemExit: pytest itself failed, or selected no test.
    """
    # Python tells a stale .pyc by time and size alone, which a mutation may leave as they are.
    environment = {**os.environ, 'PYTHONPATH': str(tree), 'PYTHONDONTWRITEBYTECODE': '1'}
    command = [sys.executable, '-m', 'pytest', '-n', '0', '-q', '-rfE', '-p', 'no:cacheprovider',
               *options, *tests]
    found = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    failed = re.findall(r'^(?:FAILED|ERROR) (\S+)', found.stdout, re.MULTILINE)
    if found.returncode not in (0, 1) and not failed:
        raise SystemExit(f'pytest ended with {found.returncode}:\n{found.stdout}{found.stderr}')
    return failed


def outcome(tree: pathlib.Path, mutation: Mutation, broken: set[str], full: bool) -> str:
    """'caught by ...', 'survived' or 'does not apply'; the tree is as before afterwards.

    Tests that turn out to fail without the mutation as well are added to `broken`.
    """
    file = tree / mutation.file
    original = file.read_text()
    if mutation.old not in original:
        return 'does not apply'
    while True:
        file.write_text(original.replace(mutation.old, mutation.new))
        failed = run_tests(tree, ('tests',) if full else mutation.tests, '-x',
                           *(f'--deselect={name}' for name in broken))
        file.write_text(original)
        if not failed:
            return 'survived'
        if not run_tests(tree, failed[:1]):
            return f'caught by {failed[0]}'
        broken.add(failed[0])


def table(outcomes: Sequence[tuple[Mutation, str]]) -> str:
    """Markdown."""
    caught = sum(result.startswith('caught') for _, result in outcomes)
    lines = ['# Mutations', '', f'{caught} of {len(outcomes)} caught by '
             '`python experiments/mutation_check.py`, each alone.', '',
             '| mutation | file | result |', '|---|---|---|']
    lines += [f'| {mutation.name} | {mutation.file} | {result} |' for mutation, result in outcomes]
    return '\n'.join(lines) + '\n'


def main() -> int:
    """Runs the check; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', action='append',
                        help='mutations whose name holds these words; may be given several times')
    parser.add_argument('--full', action='store_true', help='all tests for every mutation')
    parser.add_argument('--table', type=pathlib.Path, help='file that receives the table')
    arguments = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS
              if any(words in mutation.name for words in arguments.only or [''])]
    outcomes, broken = [], set()
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / 'tree'
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns('.*', 'runs', '__pycache__'))
        for mutation in chosen:
            outcomes.append((mutation, outcome(tree, mutation, broken, arguments.full)))
            print(f'{mutation.name}: {outcomes[-1][1]}', flush=True)
    print('\n'.join(f'fails without a mutation: {name}' for name in sorted(broken)))
    if arguments.table:
        arguments.table.write_text(table(outcomes))
    return int(not all(result.startswith('caught') for _, result in outcomes))


if __name__ == '__main__':
    sys.exit(main())
