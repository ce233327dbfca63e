"""Seconds from the start of a process to its result, and to compile the step of every experiment.

    python experiments/benchmarks/startup.py [--repeats 5] [--only WORD]
        [--csv experiments/benchmarks/startup.csv]

Every row is the median of new processes, in turns: seconds by the clock, and of the processor (user
and system, all threads), which other work on the machine changes less. `jaxseg predict` writes the
mask of one image of 360x480 with a model of an experiment that was trained for one step; its
compilation cache is empty, or holds the program. The step of an experiment is compiled once, with
tracing, at its own batch and crop and without any cache. Rows that the table has are not measured
again. Close everything else first.
"""

import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import cv2
import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, read, write  # noqa: E402

from jaxseg.commands import config as configs  # noqa: E402
from jaxseg.commands.run_config import RunConfig  # noqa: E402
from jaxseg.commands.step_cost import step_cost  # noqa: E402
from jaxseg.commands.training import run  # noqa: E402
from jaxseg.data.spec import DatasetSpec  # noqa: E402

EXPERIMENTS = pathlib.Path(__file__).parents[1]
COLUMNS = ('what', 'seconds', 'cpu_seconds', 'runs', 'machine')
# Experiments whose models predict: the smallest, and a ResNet-18 U-Net.
PREDICTED = ('shapes/convolutional', 'camvid/half_size')
SIZE = (360, 480)
SHAPES_CROP = (64, 96)  # of experiments/shapes, whose images are not cropped
Seconds = tuple[float, float]  # by the clock, of the processor


def main():
    """Measures the rows that the table lacks, and prints them."""
    parser = argument_parser(__doc__, repeats=5)
    parser.add_argument('--only', default='', help='rows that hold this word')
    arguments = parser.parse_args()
    rows = read(arguments.csv)
    done = {row['what'] for row in rows}

    def wanted(functions: dict[str, Callable]) -> dict[str, Callable]:
        return {name: function for name, function in functions.items()
                if name not in done and arguments.only in name}

    def add(times: dict[str, list[Seconds]]):
        for name, found in times.items():
            clock, processor = (round(statistics.median(column), 2)
                                for column in zip(*found, strict=True))
            rows.append({'what': name, 'seconds': clock, 'cpu_seconds': processor,
                         'runs': len(found), 'machine': machine()})
            print(*(rows[-1][column] for column in COLUMNS[:-1]), sep='  ', flush=True)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)

    with tempfile.TemporaryDirectory() as folder:
        commands = wanted(processes(pathlib.Path(folder)))
        times: dict[str, list[Seconds]] = {name: [] for name in commands}
        for _ in range(arguments.repeats):
            for name, function in commands.items():
                times[name].append(function())
        add(times)
    for name, function in wanted(steps()).items():
        add({name: [function()]})


def processes(folder: pathlib.Path) -> dict[str, Callable[[], Seconds]]:
    """Every command line by its name, as a function that runs it."""
    jaxseg = (sys.executable, '-m', 'jaxseg')
    functions = {
        'python -c pass': lambda: timed(folder, sys.executable, '-c', 'pass'),
        'import jaxseg': lambda: timed(folder, sys.executable, '-c', 'import jaxseg'),
        'import jax': lambda: timed(folder, sys.executable, '-c', 'import jax'),
        'jaxseg --help': lambda: timed(folder, *jaxseg, '--help'),
        'jaxseg models fcn': lambda: timed(folder, *jaxseg, 'models', 'fcn'),
        'jaxseg train --help': lambda: timed(folder, *jaxseg, 'train', '--help'),
    }
    cv2.imwrite(f'{folder}/image.png',
                np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))
    for name in PREDICTED:
        for cache in ('empty', 'warm'):
            functions[f'jaxseg predict, {name}, {cache} cache'] = (
                lambda name=name, cache=cache: predict(folder, name, cache))
    return functions


def predict(folder: pathlib.Path, name: str, cache: str) -> Seconds:
    """Seconds of a prediction; the model is trained and the cache filled where it was not yet."""
    workdir = folder / name
    arguments = (sys.executable, '-m', 'jaxseg', 'predict', f'--workdir={workdir}',
                 f'--input={folder}/image.png', f'--output={folder}/out')
    if not workdir.exists():
        train(name, workdir)
        timed(folder, *arguments)
    if cache == 'empty':
        shutil.rmtree(folder / 'cache')
    return timed(folder, *arguments)


def train(name: str, workdir: pathlib.Path):
    """One step of an experiment's model on a few synthetic images; nobody times it."""
    config = configs.from_file(str(EXPERIMENTS / f'{name}.py'))
    config['losses']['cross_entropy'].pop('class_weights', None)
    config['schedule']['warmup'] = 0
    config.update(steps=1, evaluate_every=1, report_every=1, batch_size=2, eval_batch_size=None,
                  transforms=[], data={'type': 'synthetic.Shapes',
                                       'samples': {'train': 2, 'val': 1, 'test': 1}})
    jax.config.update('jax_disable_most_optimizations', True)
    run(workdir=workdir, **config)
    jax.config.update('jax_disable_most_optimizations', False)


def timed(folder: pathlib.Path, *arguments: str) -> Seconds:
    """Seconds of a process with the compilation cache of this benchmark.

    Raises:
      subprocess.CalledProcessError: the process failed.
    """
    environment = {**os.environ, 'XDG_CACHE_HOME': str(folder / 'cache')}
    environment.pop('JAX_COMPILATION_CACHE_DIR', None)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(arguments, env=environment, stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def steps() -> dict[str, Callable[[], Seconds]]:
    """The compilation of every experiment's step by its name."""
    names = sorted(f'{path.parent.name}/{path.stem}' for folder in ('shapes', 'camvid')
                   for path in (EXPERIMENTS / folder).glob('*.py'))
    return {f'compile the step of {name}': lambda name=name: compile_step(name) for name in names}


def compile_step(name: str) -> Seconds:
    """Seconds to trace and compile the training step of an experiment."""
    config = RunConfig.from_mapping(configs.from_file(str(EXPERIMENTS / f'{name}.py')))
    classes, size = 5, SHAPES_CROP
    if name.startswith('camvid'):
        classes, size = 11, config.transforms[1]['size']
    before = time.process_time()
    cost = step_cost(config, DatasetSpec('data', tuple(map(str, range(classes)))), tuple(size),
                     available=0)
    return cost.compile_seconds, time.process_time() - before


if __name__ == '__main__':
    main()
