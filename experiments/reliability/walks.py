"""From a folder to an exported model, without touching a file.

    python -m experiments.reliability.walks [--short] [--minutes=1.5] [--folders=NAME,NAME]
        [--table=experiments/results/walks.md]

For every folder of `tests/trial_folders.py`: plan, train, evaluate, report, predict, explain and
export, each a process of its own with the arguments that the one before printed. Every command must
end with status 0, print neither a traceback nor a warning, and leave the file that it names. The
table has the seconds of every command, on a machine with nothing else to do, and the score.
"""

import argparse
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from experiments.reliability.trials import finish, machine, unexpected_text
from tests.trial_folders import TRIALS

# Arguments of the commands, and a file that each leaves, in a folder that holds `data`.
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    'plan': (('--data.root=data', '--output=experiment.py'), 'experiment.py'),
    'train': (('--config=experiment.py', '--workdir=run'), 'run/curves.png'),
    'evaluate': (('--workdir=run', '--metrics=all'), 'run/evaluation_val.json'),
    'report': (('--workdir=run',), 'run/report.html'),
    'predict': (('--workdir=run', '--input=INPUT', '--output=masks',
                 '--outputs=indices,overlays,polygons'), 'masks/coco.json'),
    'explain': (('--workdir=run', '--input=INPUT', '--class=CLASS', '--output=maps'), 'maps'),
    'export': (('--workdir=run', '--format=stablehlo', '--output=model.zip'), 'model.zip')}
SHORT = ('plan', 'train', 'evaluate', 'report', 'export')
IMAGES = ('.jpg', '.png', '.tif')


class Walk(NamedTuple):
    """What happened with one folder: seconds by command, the score, and what is wrong."""

    folder: str
    seconds: dict[str, float]
    miou: float
    failures: list[str]


def walks(folders: dict[str, Callable], commands: tuple[str, ...], minutes: float
          ) -> Iterator[Walk]:
    """One walk after the other, each in a directory that does not exist before."""
    for name, write in folders.items():
        with tempfile.TemporaryDirectory() as place:
            yield walk(name, write, pathlib.Path(place), commands, minutes)


def walk(name: str, write: Callable[[pathlib.Path], None], place: pathlib.Path,
         commands: tuple[str, ...], minutes: float) -> Walk:
    """The commands one after the other, until one fails."""
    (place / 'data').mkdir()
    write(place / 'data')
    seconds: dict[str, float] = {}
    for command in commands:
        arguments, result = COMMANDS[command]
        begun = time.perf_counter()
        status, out, error = finish(
            (command, *(f'--minutes={minutes}' for _ in range(command == 'plan')),
             *(_filled(argument, place) for argument in arguments)), place)
        seconds[command] = time.perf_counter() - begun
        failures = unexpected_text(error)
        if status or not (place / result).exists():
            failures += [f'status {status}, {result} is there: {(place / result).exists()}',
                         out[-300:], error[-300:]]
        if failures:
            return Walk(name, seconds, float('nan'), [f'{command}: {text}' for text in failures])
    score = json.loads((place / 'run' / 'evaluation_val.json').read_text())['miou']
    return Walk(name, seconds, score, [])


def _filled(argument: str, place: pathlib.Path) -> str:
    """INPUT is some image, CLASS the first class: a short training may predict no other there."""
    if 'INPUT' in argument:
        images = sorted(path for path in (place / 'data').rglob('*')
                        if path.suffix.lower() in IMAGES and 'mask' not in str(path).lower())
        return argument.replace('INPUT', str(images[0]))
    if 'CLASS' in argument:
        classes = json.loads((place / 'run' / 'dataset.json').read_text())['classes']
        return argument.replace('CLASS', classes[0])
    return argument


def table(found: list[Walk], commands: tuple[str, ...], minutes: float) -> str:
    """The seconds of every command."""
    failed = sum(bool(one.failures) for one in found)
    rows = [f'| {one.folder} | ' + ' | '.join(
        f'{one.seconds[command]:.1f}' if command in one.seconds else '' for command in commands)
        + f' | {one.miou:.3f} |' for one in found]
    return '\n'.join([
        '# From a folder to an exported model', '',
        f'{len(found)} folders of `python -m experiments.reliability.walks`, {failed} failures, '
        f'planned for {minutes:g} minutes. {machine()}. Seconds of every command:', '',
        f'| folder | {" | ".join(commands)} | val mIoU |', '|---' * (len(commands) + 2) + '|',
        *rows]) + '\n'


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--short', action='store_true', help='one folder, five commands')
    parser.add_argument('--folders', default=','.join(TRIALS),
                        help='names with commas between them (default: all)')
    parser.add_argument('--minutes', type=float, default=1.5, help='of every training')
    parser.add_argument('--table', type=pathlib.Path, help='file that receives the table')
    arguments = parser.parse_args()
    names = arguments.folders.split(',')[:1 if arguments.short else None]
    folders = {name: TRIALS[name] for name in names}
    commands = SHORT if arguments.short else tuple(COMMANDS)
    found = []
    for one in walks(folders, commands, arguments.minutes):
        found.append(one)
        print(f'{one.folder}: {sum(one.seconds.values()):.0f} s, mIoU {one.miou:.3f}',
              *one.failures, sep='\n    ', flush=True)
        if arguments.table:  # after every folder, so that an interruption keeps what was measured
            arguments.table.write_text(table(found, commands, arguments.minutes))
    print(table(found, commands, arguments.minutes))
    return int(any(one.failures for one in found))


if __name__ == '__main__':
    raise SystemExit(main())
