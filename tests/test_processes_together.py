"""Two processes, stopped and continued: their run and its scores are those of one."""

import csv
import json
import shutil
import signal
import subprocess

import jax
import numpy as np
import pytest

from experiments.cluster import local
from jaxseg.commands import main
from jaxseg.commands.workdir import open_workdir
from tests import runs

# Columns of metrics.csv that are of the clock.
TIMED = ('images_per_second', 'data_wait')
# Random flips, and an evaluation of 3 images.
TRAIN = ('--config.steps=6', '--config.evaluate_every=6', '--config.report_every=1')


@pytest.fixture(scope='module')
def together(tmp_path_factory):
    """Two processes with two devices each, stopped once, and one process with four."""
    folder = tmp_path_factory.mktemp('processes')
    given = ('train', f'--config={runs.write_config(folder)}')
    assert main([*given, f'--workdir={folder}/one', *TRAIN]) == 0
    command = (*given, f'--workdir={folder}/two', *TRAIN)
    started, before = start(command), ''
    for line in started[0].stdout:
        before += line
        if 'step 2/' in line:
            started[1].send_signal(signal.SIGTERM)
            break
    stopped = end(started)
    return folder, (stopped[0], before + stopped[1], stopped[2]), end(start(command))


def start(command):
    # A busy machine is no error, though XLA logs one where it compiles for minutes.
    environment = ['JAX_NUM_CPU_DEVICES=2', 'TF_CPP_MIN_LOG_LEVEL=3']
    return local.start(2, command, environment, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(started):
    """Statuses, output of process 0, and errors of all."""
    out, error = started[0].communicate(timeout=900)
    errors = [error, started[1].communicate(timeout=900)[1]]
    assert local.wait(started) == max(process.returncode for process in started)
    return [process.returncode for process in started], out, ''.join(errors)


def test_a_signal_to_one_process_stops_both_after_the_same_step(together):
    _, (statuses, out, error), (again, later, nothing) = together
    assert statuses == [130, 130] and again == [0, 0]
    assert error.split('\n') == [
        '', 'stopping after this step; a second signal stops at once and loses it', '']
    assert nothing == '' and 'stopped and saved step' in out
    step = out.split('stopped and saved step ')[1].split(';')[0]
    assert f'steps {step} to 6' in later and 0 < int(step) < 6


def test_two_processes_train_as_one(together):
    folder, (_, before, _), (_, after, _) = together
    rows = []
    for name in ('one', 'two'):
        with (folder / name / 'metrics.csv').open(newline='') as file:
            rows.append([{key: float(value) for key, value in row.items()
                          if value and key not in TIMED} for row in csv.DictReader(file)])
    assert len(rows[0]) == 7
    for one, two in zip(*rows, strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-5)
    lines = [line for line in (before + after).splitlines() if line.startswith('step ')]
    assert len(lines) == len({line.split('images/s')[0] for line in lines}) == 7
    values = [open_workdir(folder / name).variables('latest') for name in ('one', 'two')]
    assert values[0][0] == values[1][0] == 6
    for one, two in zip(*(jax.tree.leaves(value) for _, value in values), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    files = [sorted(path.name for path in (folder / name).iterdir()) for name in ('one', 'two')]
    assert files[0] == files[1]


def test_two_processes_score_as_one(together):
    folder, *_ = together
    shutil.copytree(folder / 'two', folder / 'copy')
    command = ('evaluate', '--metrics=boundary', '--num_images=2')
    statuses, _, error = end(start((*command, f'--workdir={folder}/two')))
    assert (statuses, error) == ([0, 0], '')
    assert main([*command, f'--workdir={folder}/copy']) == 0
    for name in ('evaluation_val_images.csv', 'predictions/val.png'):
        assert (folder / 'two' / name).read_bytes() == (folder / 'copy' / name).read_bytes()
    two, copy = (json.loads((folder / name / 'evaluation_val.json').read_text())
                 for name in ('two', 'copy'))
    # Sums of floats, in another order.
    boundary = [scores.pop('boundary')['mean_boundary_f'] for scores in (two, copy)]
    assert boundary[0] == pytest.approx(boundary[1], rel=1e-12)
    assert two == copy
