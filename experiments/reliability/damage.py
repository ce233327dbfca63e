"""Every file of a trained work directory is damaged, then evaluated and trained further.

    python -m experiments.reliability.damage [--short]
        [--table=experiments/results/damage.md]

A tiny run is trained to step 4 with checkpoints of steps 2 and 4, and evaluated. In a copy of its
work directory one file is cut to half, cut to nothing, deleted, or one of its bits is flipped; then
`evaluate` or `train` to step 6 runs on it, in this process. The outcome is

- refused: status 2, one line that names the file, and every other file is as it was; not allowed
  for a checkpoint, as there is an intact one beside it, nor for a log, which must not stop a run;
- named: status 0, one line that names the checkpoint, and the scores are exactly those of the
  intact one, or the training ends with the arrays of an undisturbed run, bit for bit;
- no effect: status 0, nothing on stderr, and the result is that of the undamaged folder, exactly.

Everything else is a failure. Exits 1 with failures.
"""

import contextlib
import itertools
import json
import pathlib
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from unittest import mock

import jax
import numpy as np

from experiments.reliability.bad_inputs import captured, changes, contents
from experiments.reliability.cases import changed, write_config
from experiments.reliability.saved import arrays, wrong_end
from experiments.reliability.trials import Trial, program, unexpected_text, wrong_refusal
from jaxseg.commands import main as jaxseg

STEPS, MORE, FLIPS = 4, 6, 2
# Files and folders that no command depends on.
LOGS = ('metrics.csv', 'curves.png', 'train.lock', 'provenance.json', 'evaluation_train.json',
        'events', 'predictions')
# Of the short run.
SHORT = ('dataset.json', f'checkpoints/{STEPS}/model/_METADATA')
RESULT = 'evaluation_val.json'


class Truth(NamedTuple):
    """The undamaged work directory, and what an undisturbed run of it gives.

    Attributes:
      scores: the JSON of an evaluation, by checkpoint.
      arrays: all that is saved after the last step of the longer training.
    """

    workdir: pathlib.Path
    scores: dict[int, dict]
    arrays: dict[str, np.ndarray]


def trials(short: bool) -> Iterator[Trial]:
    """Every file, every damage, both commands."""
    jax.config.update('jax_num_cpu_devices', 1)
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        if not jax.config.jax_compilation_cache_dir:
            jax.config.update('jax_compilation_cache_dir', str(root / 'cache'))
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
        jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
        truth = undisturbed(root)
        files = [file.relative_to(truth.workdir) for file in sorted(truth.workdir.rglob('*'))
                 if file.is_file() and (not short or str(file.relative_to(truth.workdir)) in SHORT)]
        for file, command in itertools.product(files, ('evaluate', 'train')):
            content = (truth.workdir / file).read_bytes()
            for damage, damaged in damages(str(file), content)[::4 if short else 1]:
                yield tried(root / 'trial', truth, file, damage, damaged, command)


def damages(name: str, content: bytes) -> list[tuple[str, bytes | None]]:
    """What becomes of a file; None where it is deleted."""
    found = [('half', content[:len(content) // 2]), ('empty', b''), ('deleted', None)]
    places = random.Random(name).sample(range(8 * len(content)), FLIPS if content else 0)
    for place in places:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        found.append((f'bit {place}', bytes(flipped)))
    return [(damage, damaged) for damage, damaged in found if damaged != content]


def undisturbed(root: pathlib.Path) -> Truth:
    """Trains, evaluates every checkpoint, and trains further in a copy."""
    write_config(root / 'tiny.py', changed({'steps': STEPS}))
    workdir, longer, scores = root / 'work', root / 'longer', {}
    expect_success('train', f'--config={root}/tiny.py', f'--workdir={workdir}', root=root)
    expect_success('evaluate', f'--workdir={workdir}', '--split=train', '--num_images=1', root=root)
    for step in (2, STEPS):
        expect_success('evaluate', f'--workdir={workdir}', f'--checkpoint={step}', root=root)
        scored = f'evaluation_val_checkpoint={step}'
        scores[step] = scores_of(workdir, f'{scored}.json')
        for file in (f'{scored}.json', f'{scored}_images.csv'):
            (workdir / file).unlink()
    if scores[2] == {**scores[STEPS], 'checkpoint': 2}:
        raise SystemExit('both checkpoints have the same scores: no evaluation shows which is used')
    shutil.copytree(workdir, longer)
    expect_success('train', f'--workdir={longer}', f'--config.steps={MORE}', root=root)
    return Truth(workdir, scores, arrays(longer, MORE))


def scores_of(workdir: pathlib.Path, name: str = RESULT) -> dict:
    """The JSON of an evaluation, without the reason why its checkpoint was taken."""
    found = json.loads((workdir / name).read_text())
    return {key: value for key, value in found.items() if key != 'checkpoint_selection'}


def expect_success(*arguments: str, root: pathlib.Path):
    """Runs a command that must end well and silently."""
    status, error = run(arguments, root / 'stderr.txt')
    if status or error:
        raise SystemExit(f'{" ".join(arguments)}: status {status}\n{error}')


def run(arguments: Sequence[str], log: pathlib.Path) -> tuple[int, str]:
    """Exit status and stderr of a command in this process; what escapes `main` is a traceback.

    Curves are not drawn, which would take half of the time.
    """
    with captured(log) as output, warnings.catch_warnings(), \
            mock.patch('jaxseg.training.report.draw_curves'), \
            mock.patch('logging.raiseExceptions', False):  # of handlers of an earlier stderr
        warnings.simplefilter('always', UserWarning)
        warnings.simplefilter('always', RuntimeWarning)
        try:
            status = jaxseg(list(arguments))
        except BaseException:
            traceback.print_exc()
            status = -1
    return status, output.read_text(errors='replace')


def tried(folder: pathlib.Path, truth: Truth, file: pathlib.Path, damage: str,
          damaged: bytes | None, command: str) -> Trial:
    """One damage and one command."""
    shutil.rmtree(folder, ignore_errors=True)
    workdir = folder / 'work'
    shutil.copytree(truth.workdir, workdir)
    (workdir / file).unlink()
    if damaged is not None:
        (workdir / file).write_bytes(damaged)
    before = contents(workdir)
    more = (f'--config.steps={MORE}',) if command == 'train' else ()
    status, error = run((command, f'--workdir={workdir}', *more), folder / 'stderr.txt')
    outcome, failures = judged(workdir, truth, file, command, status, error)
    if status:
        failures += changes(before, contents(workdir))
    group = ('checkpoint' if file.parts[0] == 'checkpoints'
             else 'log' if file.parts[0] in LOGS else 'record')
    if outcome == 'refused' and group != 'record':
        failures.append(f'a {group} stops the command: {error}')
    kind = f'{group}, {damage if damage[:3] != "bit" else "bit flipped"}, {command}'
    return Trial(kind, f'{file}, {damage}', outcome, failures)


def judged(workdir: pathlib.Path, truth: Truth, file: pathlib.Path, command: str, status: int,
           error: str) -> tuple[str, list[str]]:
    """The outcome, and what is wrong with it."""
    checkpoint = file.parts[0] == 'checkpoints'
    word = str(workdir / pathlib.Path(*file.parts[:2])) if checkpoint else file.name
    if status:
        return 'refused', wrong_refusal(status, error, f'jaxseg {command}: ', word)
    failures = unexpected_text(error)
    if error and (not checkpoint or len(error.splitlines()) != 1 or word not in error):
        failures.append(f'{word} is not named in one line: {error}')
    if command == 'train':
        failures += wrong_end(workdir, MORE, truth.arrays)
    else:
        # The damaged checkpoint that is named is not used.
        step = 2 if error and file.parts[1] == str(STEPS) else STEPS
        with contextlib.suppress(OSError, ValueError):
            if scores_of(workdir) == truth.scores[step]:
                return ('named' if error else 'no effect'), failures
        failures.append(f'the scores are not those of checkpoint {step}')
    return ('named' if error else 'no effect'), failures


if __name__ == '__main__':
    sys.exit(program('Damaged work directories', 'experiments.reliability.damage', __doc__, trials))
