"""Files from somebody else: bad contents, pipes and devices, and names."""

import itertools
import os
import pathlib
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence

from experiments.reliability.cases import FOLDER, changed, write_config, write_data, write_image
from experiments.reliability.hostile_contents import VALID, contents
from experiments.reliability.trials import Trial, start, unexpected_text, wrong_refusal
from jaxseg.records import read_record, write_record

# Seconds that no refusal takes; where the memory is enough for the one valid image, of 16384x16384,
# it is predicted, which takes two minutes.
LIMIT, MEMORY = 300, 3 * 2 ** 30
ESCAPES = '\x1b[31m\x1b]0;title\x07'
# What may stand in a name of a file; the longest of 255 bytes.
NAMES: tuple[bytes, ...] = (
    ESCAPES.encode() + b'red', b'two\nlines', b'tab\tand\rreturn', b'back\x08\x08space',
    b'\xff\xfe\x80', b'caf\xe9', 'left\u202etfel'.encode(), '\u200f\u2066mark'.encode(),
    'c1\x9b31m'.encode(), b'bell\x07', b'%s%n{0}', b'$(touch hostile)', b'`touch hostile`',
    b"quote'\"", b'-', b'--output=x', b' blank ', b'a' * 230, '\U0001f600'.encode() * 55)
SUFFIXES = (b'.\x1b[31mtxt', b'.t\nxt')
# A work directory's files that are read by the name of a subcommand that reads them.
READ = (('evaluate', 'config.json'), ('evaluate', 'dataset.json'), ('evaluate', 'model.json'),
        ('evaluate', 'checkpoints/2/metrics/metrics'), ('train', 'splits.json'),
        ('train', 'metrics.csv'), ('train', 'train.lock'), ('train', 'config.json'))


# Of the following, what a reader would never come to the end of, and what has none.
ENDLESS = ('a pipe', 'zero', 'a loop')
SPECIAL: dict[str, Callable[[pathlib.Path], object]] = {
    'a pipe': os.mkfifo, 'zero': lambda path: path.symlink_to('/dev/zero'),
    'full': lambda path: path.symlink_to('/dev/full'),
    'random': lambda path: path.symlink_to('/dev/urandom'),
    'a loop': lambda path: path.symlink_to(path.name),
    'a folder': lambda path: path.mkdir(), 'stdin': lambda path: path.symlink_to('/dev/stdin')}


class Files:
    """Trials in processes with limits.

    Args:
      root: a folder.
      trained: the work directory of a tiny run.
      environment: of processes.
    """

    def __init__(self, root: pathlib.Path, trained: pathlib.Path, environment: dict[str, str]):
        self._root, self._trained, self._environment = root / 'files', trained, environment
        self._marker, self._count = root / 'unpickled', 0
        self._root.mkdir()

    def trials(self, *, short: bool) -> Iterator[Trial]:
        """Contents, special files, names."""
        every = 9 if short else 1
        rows = list(contents(self._marker).items())
        for name, (suffix, data) in rows[::every]:
            yield self._content(name, suffix, data)
            yield self._data_set(name, suffix, data)
        for name, make in list(SPECIAL.items())[::every]:
            yield self._special(name, make)
            yield self._special_in_folder(name, make)
        for (command, file), name in itertools.product(READ, ENDLESS):
            if not short or (file, name) == ('dataset.json', 'a pipe'):
                yield self._workdir(command, file, name)
        for command in ('predict', 'inspect', 'train')[::2 if short else 1]:
            yield self._names(command, damaged=False)
            yield self._names(command, damaged=True)

    def _content(self, name: str, suffix: str, data: bytes) -> Trial:
        """One file with bad contents, to predict."""
        folder = self._folder()
        path = folder / f'bad{suffix}'
        path.write_bytes(data)
        status, out, error = self._run(
            ('predict', '--workdir=work', f'--input={path.name}', '--output=new'), folder)
        # Where the memory is enough for the one that is valid, it is predicted.
        predicted = name == VALID and status == 0 and not error
        failures = [] if predicted else wrong_refusal(status, error, 'bad')
        failures += _raw(out + error) + unexpected_text(error) + self._executed(folder)
        return self._trial('contents', f'predict: {name}', status, failures, folder)

    def _data_set(self, name: str, suffix: str, data: bytes) -> Trial:
        """It is an image and a mask of a data set; an inspection names both, a training one."""
        folder = self._folder()
        write_data(folder)
        bad = [folder / f'data/train/{place}{suffix}'
               for place in ('images/train0', 'masks/train1')]
        for path in bad:
            path.with_suffix('.png').unlink()
            path.write_bytes(data)
        status, out, error = self._run(('inspect', '--config=tiny.py', '--output=new'), folder)
        failures = [] if status == 2 else [f'status {status}']
        failures += [f'{path.name} is not named: {error[-400:]}' for path in bad
                     if path.name not in error]
        failures += _raw(out + error) + unexpected_text(error) + self._executed(folder)
        return self._trial('contents', f'data set: {name}', status, failures, folder)

    def _special(self, name: str, make: Callable) -> Trial:
        """No regular file as `--input`."""
        folder = self._folder()
        make(folder / 'bad.png')
        status, out, error = self._run(
            ('predict', '--workdir=work', '--input=bad.png', '--output=new'), folder)
        failures = wrong_refusal(status, error, 'bad.png') + _raw(out + error)
        return self._trial('special files', f'--input is {name}', status, failures, folder)

    def _special_in_folder(self, name: str, make: Callable) -> Trial:
        """It is left out of a folder, and the image beside it is predicted."""
        folder = self._folder()
        write_image(folder / 'images' / 'a.png')
        make(folder / 'images' / 'bad.png')
        status, out, error = self._run(
            ('predict', '--workdir=work', '--input=images', '--output=new'), folder)
        failures = [error] if error else []
        failures += [] if status == 0 else [f'status {status}']
        failures += [] if (folder / 'new' / 'a.png').exists() else ['a.png was not predicted']
        return self._trial('special files', f'in a folder: {name}', status, failures, folder)

    def _workdir(self, command: str, file: str, name: str) -> Trial:
        """A file of a work directory is none: the command refuses it or does without it."""
        folder = self._folder()
        path = folder / 'work' / file
        if command == 'train':
            _make_stopped(folder / 'work')
        path.unlink() if path.is_file() else None
        SPECIAL[name](path)
        status, out, error = self._run((command, '--workdir=work'), folder)
        failures = unexpected_text(error) + _raw(out + error)
        if status:
            failures += wrong_refusal(status, error)
        return self._trial('special files', f'{command}: {file} is {name}', status, failures,
                           folder)

    def _names(self, command: str, *, damaged: bool) -> Trial:
        """Images of all `NAMES`; damaged ones must be refused, so that messages show the names."""
        folder = self._folder()
        write_data(folder)
        for place in ('images', 'data/train/images', 'data/train/masks'):
            (folder / place).mkdir(exist_ok=True)
            source = folder / 'data/train' / ('masks' if 'masks' in place else 'images')
            for name in NAMES:
                path = os.fsencode(folder / place) + b'/' + name + b'.png'
                shutil.copy(source / 'train0.png', path)
                if damaged and 'masks' not in place:
                    os.truncate(path, 60)
            for suffix in SUFFIXES:
                shutil.copy(source / 'train0.png', os.fsencode(folder / place) + b'/a' + suffix)
        arguments = {'predict': ('predict', '--workdir=work', '--input=images', '--output=new'),
                     'train': ('train', '--config=tiny.py', '--workdir=run'),
                     'inspect': ('inspect', '--config=tiny.py', '--output=new')}[command]
        status, out, error = self._run(arguments, folder)
        failures = _raw(out + error) + unexpected_text(error) + self._executed(folder)
        if status != (2 if damaged else 0):
            failures.append(f'status {status}: {error[-300:]}')
        if damaged and command != 'inspect' and len(error.splitlines()) != 1:
            failures.append(f'{len(error.splitlines())} lines on stderr')
        if command == 'predict' and not damaged and (
                len(list((folder / 'new').glob('*'))) != 2 * len(NAMES)):
            failures.append('not all images were predicted')
        return self._trial('names', f'{command}: {"damaged" if damaged else "good"} images',
                           status, failures, folder)

    def _folder(self) -> pathlib.Path:
        folder = self._root / str(self._count)
        self._count += 1
        shutil.copytree(self._trained, folder / 'work')
        write_config(folder / 'tiny.py', changed({'data': FOLDER}))
        return folder

    def _run(self, arguments: Sequence[str], folder: pathlib.Path) -> tuple[int | None, str, str]:
        """Status, stdout and stderr under the limits; None for the status if it hangs."""
        process = start(arguments, folder, **self._environment)
        resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            out, error = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            return None, *process.communicate()
        return process.returncode, out, error

    def _executed(self, folder: pathlib.Path) -> list[str]:
        """Files that only code from a file could have made."""
        found = [path for path in (self._marker, folder / 'hostile') if path.exists()]
        for path in found:
            path.rmdir() if path.is_dir() else path.unlink()
        return [f'{path} was made: code was executed' for path in found]

    def _trial(self, kind: str, name: str, status: int | None, failures: list[str],
               folder: pathlib.Path) -> Trial:
        shutil.rmtree(os.fsencode(folder))
        if status is None:
            failures = [f'did not end within {LIMIT} s', *failures]
        return Trial(kind, name, f'status {status}', failures)


def _make_stopped(workdir: pathlib.Path):
    """Gives a run that has ended more steps to do."""
    config = read_record(workdir / 'config.json')
    write_record(workdir / 'config.json', {**config, 'steps': 4})


def _raw(text: str) -> list[str]:
    """Control characters that would reach the terminal; line breaks are printed anyway."""
    found = {letter for letter in text if not letter.isprintable() and letter not in '\n'}
    return [f'raw characters {sorted(found)!r}'] if found else []
