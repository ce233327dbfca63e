"""Runs that are killed, stopped, or end in numbers that are none."""

import signal
import sys
import time

import jax
import numpy as np
import pytest

from jaxseg.commands.workdir import open_workdir
from tests import runs

STEPS = ['--config.steps=60', '--config.save_every=5', '--config.evaluate_every=30', '--config.report_every=1']


def parameters(workdir):
    step, variables = open_workdir(workdir).variables('latest')
    return step, [np.asarray(leaf) for leaf in jax.tree.leaves(variables)]


def wait_for_checkpoint(workdir, process):
    until = time.monotonic() + 120
    while not any(path.name.isdigit() for path in (workdir / 'checkpoints').glob('*')):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('undisturbed')
    result = runs.finish('train', f'--config={runs.write_config(folder)}', f'--workdir={folder}/work', *STEPS)
    assert result.returncode == 0, result.stderr
    return parameters(folder / 'work')


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_ends_with_the_parameters_of_an_undisturbed_one(tmp_path, undisturbed, number):
    command = ('train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work', *STEPS)
    process = runs.start(*command)
    wait_for_checkpoint(tmp_path / 'work', process)
    time.sleep(np.random.default_rng(time.time_ns()).uniform(0, 0.1))
    process.send_signal(number)
    out, _ = process.communicate()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert f'go on with: jaxseg train --workdir={tmp_path}/work' in out
        stopped = int(out.split('stopped and saved step ')[1].split(';')[0])
        assert parameters(tmp_path / 'work')[0] == stopped < 60
    again = runs.finish(*command)
    assert again.returncode == 0, again.stderr
    assert 'steps 0 to 60' not in again.stdout
    step, leaves = parameters(tmp_path / 'work')
    assert step == undisturbed[0] == 60
    for leaf, expected in zip(leaves, undisturbed[1], strict=True):
        np.testing.assert_array_equal(leaf, expected)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_batch(tmp_path):
    config = runs.write_config(tmp_path)
    result = runs.finish('train', f'--config={config}', f'--workdir={tmp_path}/work', '--config.optimizer.learning_rate=1e30')
    assert result.returncode == 1
    assert 'the loss is not finite' in result.stderr and 'train_0000' in result.stderr and 'learning rate' in result.stderr
    assert 'Traceback' not in result.stderr


def test_a_training_run_imports_neither_tensorflow_nor_torch(tmp_path):
    code = (f'import sys\nfrom jaxseg.commands import main\n'
            f'assert main(["train", "--config={runs.write_config(tmp_path)}", "--workdir={tmp_path}/work", '
            f'"--config.steps=4"]) == 0\n'
            f'assert main(["evaluate", "--workdir={tmp_path}/work"]) == 0\n'
            f'assert not {{"tensorflow", "torch"}} & set(sys.modules)\n')
    import subprocess

    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=runs.environment())
    assert result.returncode == 0, result.stderr
