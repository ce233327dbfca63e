"""Runs that are killed, stopped, or end with a loss that is not finite."""

import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxseg.commands.workdir import open_workdir
from tests import runs

STEPS = ['--config.steps=60', '--config.save_every=5', '--config.evaluate_every=30',
         '--config.report_every=1']


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
    config = runs.write_config(folder)
    result = runs.finish('train', f'--config={config}', f'--workdir={folder}/work', *STEPS)
    assert result.returncode == 0, result.stderr
    return parameters(folder / 'work')


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_ends_with_the_parameters_of_an_undisturbed_one(tmp_path, undisturbed,
                                                                      number):
    config = runs.write_config(tmp_path)
    command = ('train', f'--config={config}', f'--workdir={tmp_path}/work', *STEPS)
    process = runs.start(*command)
    wait_for_checkpoint(tmp_path / 'work', process)
    time.sleep(np.random.default_rng(time.time_ns()).uniform(0, 0.1))
    process.send_signal(number)
    out, _ = process.communicate()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130  # also for SIGTERM: the run is saved and can continue
        assert f'continue with: jaxseg train --workdir={tmp_path}/work' in out
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
    result = runs.finish('train', f'--config={config}', f'--workdir={tmp_path}/work',
                         '--config.optimizer.learning_rate=1e30')
    assert result.returncode == 1
    for word in ('the loss is not finite', 'train_0000', 'learning_rate'):
        assert word in result.stderr
    assert 'Traceback' not in result.stderr


def test_a_training_run_imports_neither_tensorflow_nor_torch(tmp_path):
    code = (f'import sys\nfrom jaxseg.commands import main\n'
            f'assert main(["train", "--config={runs.write_config(tmp_path)}", '
            f'"--workdir={tmp_path}/work", "--config.steps=4"]) == 0\n'
            f'assert main(["evaluate", "--workdir={tmp_path}/work"]) == 0\n'
            f'assert not {{"tensorflow", "torch"}} & set(sys.modules)\n')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                            env=runs.environment())
    assert result.returncode == 0, result.stderr


def send_when(process: subprocess.Popen, text: str, *signals: int) -> tuple[int, str, str]:
    """Sends signals once a line of the output holds a text; returns status, output and errors."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            for number in signals:
                process.send_signal(number)
                time.sleep(0.2)
            break
    out, error = process.communicate(timeout=120)
    return process.returncode, ''.join(lines) + out, error


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_last_save_loses_nothing_and_ends_as_a_finished_run(tmp_path, number):
    process = runs.start('train', f'--config={runs.write_config(tmp_path)}',
                         f'--workdir={tmp_path}/work')
    status, out, error = send_when(process, 'step 12/12  validation', number)
    assert (status, 'Traceback' in error) == (0, False), error
    assert 'done: ' in out and parameters(tmp_path / 'work')[0] == 12
    assert not list((tmp_path / 'work' / 'checkpoints').glob('*tmp*'))


def test_a_second_signal_ends_the_run_at_once(tmp_path):
    process = runs.start('train', f'--config={runs.write_config(tmp_path)}',
                         f'--workdir={tmp_path}/work', '--config.steps=100000',
                         '--config.evaluate_every=100000', '--config.report_every=1')
    # Paused, so that it cannot serve the first signal before the second is sent.
    status, _, error = send_when(process, 'step 3/', signal.SIGSTOP, signal.SIGINT, signal.SIGTERM,
                                 signal.SIGCONT)
    assert status in (130, 143) and 'Traceback' not in error


def test_a_signal_in_a_callback_that_ignores_exceptions_ends_the_process_too():
    code = ('import gc, os, signal\n'
            'from jaxseg.commands.signals import signals_handled\n'
            'with signals_handled(exits=True):\n'
            '    gc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGTERM))\n'
            '    print("kept")\n'
            '    gc.collect()\n'
            '    print("lost")\n')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (143, 'kept\n')
    assert result.stderr == 'jaxseg: interrupted by SIGTERM\n'


@pytest.mark.parametrize('number, status', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_the_first_step_ends_in_one_line(tmp_path, number, status):
    process = runs.start('train', f'--config={runs.write_config(tmp_path)}',
                         f'--workdir={tmp_path}/work')
    time.sleep(1.0)  # it imports JAX, which takes longer
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == status, error
    assert error.strip().count('\n') == 0 and 'interrupted' in error
