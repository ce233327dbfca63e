"""The experiments of `jaxseg plan` against experiments/folder.py, in the same time, on every trial
folder.

    python experiments/benchmarks/plan.py --csv=experiments/benchmarks/plan.csv
        [--minutes=1.5] [--folders=thin_lines,large_photos] [--workdir=runs/plan_study]

For each folder of tests/trial_folders.py: `jaxseg plan --minutes` and its training; then the model,
losses, augmentation and optimizer of experiments/folder.py as it is, on the same data entry and the
same training split, with as many steps as fit into the seconds that the first one took (start,
compilations and one evaluation included). Only what would be refused is changed: color jitter
without saturation and hue where there are no three channels, and a warm-up of a tenth of the steps
where 100 do not fit. The score is the mIoU after the last step on a second folder of the same
function, drawn from another seed, so that nothing was chosen on it. Rows that are in the CSV are
not measured again: a stopped benchmark goes on. Run it on a quiet machine.
"""

import argparse
import pathlib
import shutil
import sys
import time
from typing import Any

import jax

sys.path[:0] = [str(pathlib.Path(__file__).parents[2]), str(pathlib.Path(__file__).parent)]

from measure import machine, read, write  # noqa: E402

from jaxseg.build import build  # noqa: E402
from jaxseg.commands import config as configs  # noqa: E402
from jaxseg.commands.fitting import OVERHEAD, STARTUP, Budget  # noqa: E402
from jaxseg.commands.plan import plan  # noqa: E402
from jaxseg.commands.run_config import RunConfig  # noqa: E402
from jaxseg.commands.step_cost import step_cost  # noqa: E402
from jaxseg.commands.training import run  # noqa: E402
from jaxseg.commands.workdir import open_workdir  # noqa: E402
from jaxseg.memory import available_bytes  # noqa: E402
from tests.trial_folders import TRIALS  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
COLUMNS = ('folder', 'experiment', 'miou', 'steps', 'seconds', 'parameters')


def main():
    """Trains what the CSV lacks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--csv', type=pathlib.Path, required=True)
    parser.add_argument('--minutes', type=float, default=1.5)
    parser.add_argument('--folders', default=','.join(TRIALS))
    parser.add_argument('--workdir', type=pathlib.Path, default=pathlib.Path('runs/plan_study'))
    arguments = parser.parse_args()
    rows = read(arguments.csv)
    for name in arguments.folders.split(','):
        if not any(row['folder'] == name for row in rows):
            rows += compare(name, arguments.workdir, arguments.minutes)
            write(arguments.csv, rows, COLUMNS)
    print(table(rows), machine(), sep='\n')


def compare(name: str, workdir: pathlib.Path, minutes: float) -> list[dict[str, Any]]:
    """The rows of one folder: the plan, then experiments/folder.py in as many seconds."""
    folder = workdir / name
    shutil.rmtree(folder, ignore_errors=True)
    for seed, place in enumerate(('data', 'fresh')):
        (folder / place).mkdir(parents=True)
        TRIALS[name](folder / place, seed=seed)
    budget = Budget(minutes, 0.8 * available_bytes(), jax.default_backend() != 'cpu',
                    jax.device_count())
    if plan(str(folder / 'data'), folder / 'plan.py', stated={}, budget=budget):
        raise SystemExit(f'{name}: the folder has problems')
    planned = configs.from_file(str(folder / 'plan.py'))
    found = [row_of(name, 'plan', folder, planned)]
    return [*found, row_of(name, 'folder.py', folder, fixed(planned, found[0]['seconds']))]


def fixed(planned: dict[str, Any], seconds: float) -> dict[str, Any]:
    """experiments/folder.py on the data of a plan, with the steps that so many seconds allow."""
    config = configs.from_file(str(ROOT / 'experiments' / 'folder.py'))
    config['data'] = planned['data']
    spec = build('data', config['data']).spec
    if spec.channels != 3:
        config['transforms'][-1] |= {'saturation': 0.0, 'hue': 0.0}
    cost = step_cost(RunConfig.from_mapping(config), spec, (256, 256), available=2 ** 40)
    left = seconds - STARTUP - 1.5 * cost.compile_seconds
    steps = max(2, int(left / (OVERHEAD * cost.seconds)))
    config['schedule']['warmup'] = min(config['schedule']['warmup'], steps // 10)
    return {**config, 'steps': steps, 'evaluate_every': steps}


def row_of(name: str, kind: str, folder: pathlib.Path, config: dict[str, Any]) -> dict[str, Any]:
    """Trains a config, and scores its last step on the fresh folder."""
    jax.clear_caches()  # as in a process of its own
    workdir, started = folder / kind, time.perf_counter()
    if not run(**config, workdir=workdir):
        raise SystemExit('stopped')
    seconds = STARTUP + time.perf_counter() - started
    trained = open_workdir(workdir)
    _, variables = trained.variables('latest')
    fresh = build('data', {**config['data'], 'root': str(folder / 'fresh')})
    state = trained.parts.task.scores()
    for split in {'train', 'val', 'test'} & set(fresh.spec.splits):
        state = state.merge(trained.parts.score(variables, fresh.source(split), trained.spec))
    count = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    return {'folder': name, 'experiment': kind, 'miou': round(state.summary()['miou'], 4),
            'steps': config['steps'], 'seconds': round(seconds, 1), 'parameters': count}


def table(rows: list[dict[str, Any]]) -> str:
    """Both side by side."""
    lines = [f'{"folder":18} {"plan":>8} {"folder.py":>10} {"seconds":>16} {"steps":>14}']
    for first in (row for row in rows if row['experiment'] == 'plan'):
        second = next(row for row in rows
                      if row['folder'] == first['folder'] and row['experiment'] != 'plan')
        seconds, steps = (f'{first[key]} / {second[key]}' for key in ('seconds', 'steps'))
        lines.append(f'{first["folder"]:18} {float(first["miou"]):8.3f} '
                     f'{float(second["miou"]):10.3f} {seconds:>16} {steps:>14}')
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
