"""SIGINT and SIGTERM, once and twice, at every moment of train, evaluate and predict.

    python -m experiments.reliability.signals [--short] [--table=experiments/results/signals.md]

A moment is a time after the start, a line that the command prints, or a file that appears. The
command must end with its documented status: 128 + the number of the signal, 130 for a training that
was stopped and saved, 0 where everything was finished. On stderr stands at most the one documented
line. A second signal ends the process within `AT_ONCE` seconds, unless all is done. Whatever
happened, the same command afterwards must end with the parameters of an undisturbed training, bit
for bit, or with the same scores and masks; files that were there already must be whole. A signal
after the last validation must leave the final checkpoint.

In the first tenth of a second Python itself starts, and what it does with a signal is not ours:
there only what is left behind is judged.
"""

import contextlib
import itertools
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from experiments.reliability.cases import changed, write_config, write_image
from experiments.reliability.tiny_runs import parameters, quick, train_undisturbed
from experiments.reliability.trials import Trial, finish, program, start, unexpected_text

# Between two signals, as of a hand: Python hands over one signal of a number at a time.
AT_ONCE, GAP = 1.0, 0.2
LIMIT = 120
STEPS = 12
START, DONE = 'after 0.1 s (start of Python)', 'done'
NUMBERS = (signal.SIGINT, signal.SIGTERM)
SETTINGS = {'steps': STEPS, 'evaluate_every': 4, 'save_every': 2, 'report_every': 1}
LINES = ('jaxseg: interrupted by SIGINT', 'jaxseg: interrupted by SIGTERM',
         'stopping after this step; a second signal stops at once and loses it')
COMMANDS = {'train': ('train', '--config=tiny.py', '--workdir=work'),
            'evaluate': ('evaluate', '--workdir=work'),
            'predict': ('predict', '--workdir=work', '--input=images', '--output=new')}


class Moment(NamedTuple):
    """When a signal is sent, and what may be reached by then.

    Attributes:
      command: the subcommand.
      name: of the moment.
      wait: returns what the process printed before it.
      statuses: after one signal; 'signal' stands for 128 + its number.
      times: how many signals are sent.
    """

    command: str
    name: str
    wait: Callable[[subprocess.Popen, pathlib.Path], str]
    statuses: tuple[int | str, ...]
    times: tuple[int, ...] = (1, 2)


def trials(short: bool) -> Iterator[Trial]:
    """Every moment, signal and number of signals; with `short` a few."""
    # In the background of a script SIGINT is ignored, which processes that are started inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        setting = _Setting(root)
        if short:
            yield from (setting.trial(moment, number, 1)
                        for moment, number in zip(_short(), itertools.cycle(NUMBERS)))
            return
        for moment, number in itertools.product(MOMENTS, NUMBERS):
            for times in moment.times:
                yield setting.trial(moment, number, times)


def _after(seconds: float) -> Callable:
    def wait(process: subprocess.Popen, folder: pathlib.Path) -> str:
        time.sleep(seconds)
        return ''

    return wait


def _printed(text: str) -> Callable:
    def wait(process: subprocess.Popen, folder: pathlib.Path) -> str:
        lines = ['']
        while text not in lines[-1]:
            lines.append(process.stdout.readline())
            if not lines[-1]:
                raise TimeoutError(f'{text!r} was never printed')
        return ''.join(lines)

    return wait


def _appears(pattern: str) -> Callable:
    def wait(process: subprocess.Popen, folder: pathlib.Path) -> str:
        until = time.monotonic() + LIMIT
        # A folder that is renamed meanwhile makes `glob` fail in between.
        while not _exists(folder, pattern):
            if process.poll() is not None or time.monotonic() > until:
                raise TimeoutError(f'{pattern} never appeared')
            time.sleep(0.002)
        return ''

    return wait


def _exists(folder: pathlib.Path, pattern: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return any(folder.glob(pattern))
    return False


MOMENTS = (
    Moment('train', START, _after(0.1), ('signal',)),
    Moment('train', 'after 0.3 s (imports)', _after(0.3), ('signal',)),
    Moment('train', 'after 1 s', _after(1.0), ('signal', 130)),
    Moment('train', 'compiling', _appears('work/train.lock'), ('signal', 130)),
    Moment('train', 'before the first step', _printed('M parameters'), (130,)),
    Moment('train', 'first steps', _printed('step 1/'), (130,)),
    Moment('train', 'a validation', _printed('step 4/12  loss'), (130,)),
    Moment('train', 'a save', _appears('work/checkpoints/4.*tmp*'), (130,)),
    Moment('train', 'the last step', _printed(f'step {STEPS}/{STEPS}  loss'), (0, 130)),
    Moment('train', 'the last validation', _printed(f'step {STEPS}/{STEPS}  validation'), (0,)),
    Moment('train', DONE, _printed('done: '), (0,)),
    Moment('evaluate', 'after 0.3 s (imports)', _after(0.3), ('signal',), (1,)),
    Moment('evaluate', 'after 1 s', _after(1.0), ('signal', 0), (1,)),
    Moment('evaluate', 'the scores are written', _appears('work/evaluation_val.json'),
           ('signal', 0)),
    Moment('evaluate', 'the scores are printed', _printed('class '),
           ('signal', 0), (1,)),
    Moment('predict', 'after 0.3 s (imports)', _after(0.3), ('signal',), (1,)),
    Moment('predict', 'after 1 s', _after(1.0), ('signal', 0), (1,)),
    Moment('predict', 'the first mask', _appears('new/a.png'), ('signal', 0)),
    Moment('predict', 'the end is printed', _printed('images: '), ('signal', 0), (1,)))


def _short() -> list[Moment]:
    chosen = (('train', 'a save'), ('train', 'the last validation'), ('predict', 'the first mask'))
    return [moment for moment in MOMENTS if (moment.command, moment.name) in chosen]


class _Setting:
    """Undisturbed runs, and a folder for each trial."""

    def __init__(self, root: pathlib.Path):
        self._root, self._environment, self._count = root, quick(root / 'cache'), 0
        self._whole = self._folder(trained=False)
        self._parameters = train_undisturbed(self._whole, 'work', self._environment)
        shutil.copytree(self._whole / 'work', root / 'trained')
        for command in ('evaluate', 'predict'):
            status, _, error = finish(COMMANDS[command], self._whole, **self._environment)
            if status:
                raise SystemExit(f'{command} fails undisturbed: {error}')

    def trial(self, moment: Moment, number: int, times: int) -> Trial:
        """Starts a command, sends signals, judges its end, and runs it again."""
        folder = self._folder(trained=moment.command != 'train')
        process = start(COMMANDS[moment.command], folder, **self._environment)
        status, failures, out = None, [], ''
        try:
            out = moment.wait(process, folder)
            for _ in range(times):
                process.send_signal(number)
                sent = time.monotonic()
                time.sleep(GAP if times == 2 else 0)
            rest, error = process.communicate(timeout=LIMIT)
            status, out = process.returncode, out + rest
            failures = _wrong_end(moment, number, times, status, error)
            if times == 2 and moment.name != DONE and time.monotonic() - sent > AT_ONCE:
                failures.append(f'{time.monotonic() - sent:.1f} s after the second signal')
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            process.kill()
            failures = [str(error), process.communicate()[1][-400:]]
        failures += self._wrong_files(moment, folder, status, out)
        failures += self._wrong_rerun(moment, folder, out)
        shutil.rmtree(folder)
        name = f'{signal.Signals(number).name} {("once", "twice")[times - 1]}: {moment.name}'
        return Trial(moment.command, name, f'status {status}', failures)

    def _folder(self, *, trained: bool) -> pathlib.Path:
        folder = self._root / str(self._count)
        self._count += 1
        folder.mkdir()
        write_config(folder / 'tiny.py', changed(SETTINGS))
        for name in 'abc':
            write_image(folder / 'images' / f'{name}.png')
        if trained:
            shutil.copytree(self._root / 'trained', folder / 'work')
        return folder

    def _wrong_files(self, moment: Moment, folder: pathlib.Path, status: int | None, out: str
                     ) -> list[str]:
        """What is wrong with the files that a stopped command left."""
        if moment.command != 'train':
            return self._differences(moment, folder, whole=status == 0)
        if status == 0:
            step, digest = parameters(folder / 'work')
            return [] if (step, digest) == self._parameters else [f'status 0 at step {step}']
        stated = _saved_step(out)
        if stated is not None and status == 130:
            step, _ = parameters(folder / 'work')
            found = [] if step == stated else [f'saved step {step}, stated {stated}']
            remedy = f'continue with: jaxseg {" ".join(COMMANDS["train"][::2])}'
            return found + ([] if remedy in out else [f'no {remedy!r} in the output'])
        return []

    def _wrong_rerun(self, moment: Moment, folder: pathlib.Path, before: str) -> list[str]:
        """What is wrong with the same command again, after one that printed `before`."""
        status, out, error = finish(COMMANDS[moment.command], folder, **self._environment)
        if status or error:
            return [f'the command again: status {status}', error[-400:]]
        if moment.command != 'train':
            return self._differences(moment, folder, whole=True)
        stated, same = _saved_step(before), parameters(folder / 'work') == self._parameters
        found = [] if same else ['other parameters than undisturbed']
        if stated is not None and f'steps {stated} to {STEPS}' not in out:
            found.append(f'does not continue from step {stated}')
        if stated is not None and f'step {STEPS}/{STEPS}  validation' not in out:
            found.append('does not validate the last step')  # which a stop of training leaves out
        return found

    def _differences(self, moment: Moment, folder: pathlib.Path, *, whole: bool) -> list[str]:
        """Results that are not those of the undisturbed command; with `whole` missing ones, too."""
        patterns = {'evaluate': ('work/evaluation_val.json', 'work/predictions/*.png'),
                    'predict': ('new/*.png',)}[moment.command]
        places = [path.relative_to(self._whole)
                  for pattern in patterns for path in self._whole.glob(pattern)]
        assert places, patterns
        return [f'{place} differs' for place in places
                if (whole or (folder / place).exists()) and not _same(self._whole, folder, place)]


def _saved_step(out: str) -> int | None:
    """The step that a stopped training states to have saved."""
    found = re.search(r'stopped and saved step (\d+);', out)
    return int(found[1]) if found else None


def _same(a: pathlib.Path, b: pathlib.Path, place: pathlib.Path) -> bool:
    return (b / place).exists() and (a / place).read_bytes() == (b / place).read_bytes()


def _wrong_end(moment: Moment, number: int, times: int, status: int, error: str) -> list[str]:
    """What is wrong with the status and the lines on stderr."""
    allowed = {128 + number if code == 'signal' else code for code in moment.statuses}
    if times == 2:  # the second may come before or after what the first began is done
        allowed |= {128 + number}
    if moment.name == START:
        return [] if status else ['status 0']
    found = [] if status in allowed else [f'status {status}, expected {sorted(allowed)}']
    lines = [line for line in error.splitlines() if line.strip()]
    if len(lines) > 1 or any(line not in LINES for line in lines):
        found.append(f'stderr: {error[-600:]}')
    return found + unexpected_text(error)


if __name__ == '__main__':
    sys.exit(program('Signals', 'experiments.reliability.signals', __doc__, trials))
