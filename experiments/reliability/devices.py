"""A training that was stopped on eight devices continues on eight, four, two and one.

    python -m experiments.reliability.devices [--short]
        [--table=experiments/results/devices.md]

The devices are simulated on CPU. An undisturbed run on eight is compared with one that is stopped
halfway and continues on another number, with the parameters on every device (`data`) or shared by
all (`fsdp`). Sums over devices depend on the number of devices, and on the order in which they
arrive, so that not even two undisturbed runs are equal bit for bit: every array may differ by
`TOLERANCE` of its largest value. The outcome of a trial is the largest such difference. Exits 1
with failures.
"""

import json
import math
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator

import jax
import numpy as np

from experiments.reliability.cases import changed, write_config
from experiments.reliability.saved import arrays
from experiments.reliability.tiny_runs import quick
from experiments.reliability.trials import Trial, finish, program

STEPS, STOP = 8, 4
TOLERANCE = 1e-4
# The difference of Adam's steps is that of their signs where a gradient is nothing but rounding.
CONFIG = changed({'steps': STEPS, 'batch_size': 8, 'evaluate_every': STOP, 'data.samples.val': 8,
                  'optimizer': {'type': 'optimizer.sgd', 'learning_rate': 0.05},
                  # Wide enough that arrays are split.
                  'model.encoder.widths': [32], 'model.decoder.widths': [32]})
GRIDS = {'data': {'data': -1}, 'fsdp': {'data': 1, 'fsdp': -1}}


def trials(short: bool) -> Iterator[Trial]:
    """Every grid and number of devices; with `short` one."""
    jax.config.update('jax_num_cpu_devices', 8)  # Orbax reads on as many as it saved
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        write_config(root / 'tiny.py', CONFIG)
        environment = quick(root / 'cache')
        for kind in ['fsdp'] if short else GRIDS:
            train(root, 'whole', 8, kind, environment)
            undisturbed = arrays(root / 'whole', STEPS)
            train(root, 'stopped', 8, kind, environment, f'--config.steps={STOP}')
            for count in (2,) if short else (8, 4, 2, 1):
                yield continued(root, count, kind, environment, undisturbed)
            for workdir in ('whole', 'stopped'):
                shutil.rmtree(root / workdir)


def continued(root: pathlib.Path, count: int, kind: str, environment: dict[str, str],
              undisturbed: dict[str, np.ndarray]) -> Trial:
    """The run that was stopped, continued on so many devices."""
    shutil.copytree(root / 'stopped', root / 'trial')
    out = train(root, 'trial', count, kind, environment)
    failures = [] if f'steps {STOP} to {STEPS}' in out else ['does not continue']
    difference = largest(arrays(root / 'trial', STEPS), undisturbed)
    if not difference <= TOLERANCE:
        failures.append(f'the arrays differ by {difference:.1e}')
    shutil.rmtree(root / 'trial')
    return Trial(f'{kind}, 8 to {count} devices', kind, f'{difference:.0e}', failures)


def train(root: pathlib.Path, workdir: str, devices: int, kind: str, environment: dict[str, str],
          *overrides: str) -> str:
    """Trains on so many devices, which must succeed in silence; what it prints."""
    status, out, error = finish(
        ('train', '--config=tiny.py', f'--workdir={workdir}',
         f'--config.parallel={json.dumps(GRIDS[kind])}', *overrides), root,
        **environment, JAX_NUM_CPU_DEVICES=str(devices))
    if status or error:
        raise SystemExit(f'{workdir} on {devices} devices: status {status}\n{error}')
    return out


def largest(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The largest difference of an array, relative to its largest value."""
    if found.keys() != expected.keys():
        return math.inf
    return max(float(np.abs(array - expected[name]).max() / (np.abs(expected[name]).max() or 1))
               for name, array in found.items())


if __name__ == '__main__':
    sys.exit(program('Trainings that continue on another number of devices',
                     'experiments.reliability.devices', __doc__, trials))
