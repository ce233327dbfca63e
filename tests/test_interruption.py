"""Runs that are stopped early, or end with a loss that is not finite."""

import os
import signal
import subprocess
import sys
import time
from unittest import mock

import jax
import numpy as np
import pytest

import jaxseg
from jaxseg.commands import main, signals, training
from jaxseg.commands.stop import SharedStop, Stop
from jaxseg.commands.workdir import open_workdir
from jaxseg.training.report import read_metrics
from jaxseg.training.restore import list_checkpoints
from tests import runs
from tests.algorithms import RUN


def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_batch(tmp_path, capfd):
    config = runs.write_config(tmp_path)
    assert main(['train', f'--config={config}', f'--workdir={tmp_path}/work',
                 '--config.optimizer.learning_rate=1e30']) == 1
    error = capfd.readouterr().err
    for word in ('the loss is not finite', 'train_0000', 'learning_rate'):
        assert word in error
    assert 'Traceback' not in error


def test_a_training_that_sigterm_stops_while_it_validates_continues_as_if_it_had_not_been(
        trained, tmp_path, capfd, monkeypatch):
    validate = training.validate

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return validate(*arguments)

    command = ['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work',
               *runs.STEPS]
    with monkeypatch.context() as patch:
        patch.setattr(training, 'validate', interrupted)
        assert main(command) == 130
    first, _ = open_workdir(tmp_path / 'work').variables('latest')
    assert first == 2 and f'--workdir={tmp_path}/work' in capfd.readouterr().out
    assert main(command) == 0
    assert f'steps {first} to 4' in capfd.readouterr().out
    (_, whole), (_, continued) = (open_workdir(workdir).variables('4')
                                  for workdir in (trained, tmp_path / 'work'))
    jax.tree.map(np.testing.assert_array_equal, continued, whole)
    for read in (rows, scores):
        assert read(tmp_path / 'work') == read(trained)


def test_an_interrupt_in_python_ends_the_call_and_a_second_one_raises(
        tmp_path, monkeypatch, capsys):
    """Both in the validation after the last step, for which the run then is not finished."""
    validate, interrupts = training.validate, iter((1, 2, 0))

    def interrupted(*arguments):
        for _ in range(next(interrupts)):
            signal.raise_signal(signal.SIGINT)
        return validate(*arguments)

    monkeypatch.setattr(training, 'validate', interrupted)
    config = {**RUN, 'steps': 2, 'workdir': tmp_path}
    assert not jaxseg.run(**config)
    assert f'saved step 2; continue with: jaxseg train --workdir={tmp_path}' in (
        capsys.readouterr().out)
    with pytest.raises(KeyboardInterrupt):
        jaxseg.run(**config)
    assert jaxseg.run(**config)
    assert list_checkpoints(tmp_path / 'checkpoints')[0][2].progress.validated == 2


@pytest.mark.parametrize('exits, stop, ends', [
    (False, Stop(), False), (True, Stop(), True), (False, mock.Mock(spec=SharedStop), True)])
def test_a_second_signal_ends_the_console_script_and_several_processes_only(exits, stop, ends):
    handler = signals._Handler(exits=exits)
    handler.stop, handler.exit = stop, mock.Mock(side_effect=SystemExit)
    handler(signal.SIGINT, None)
    assert stop() and not handler.exit.called
    with pytest.raises(SystemExit if ends else KeyboardInterrupt):
        handler(signal.SIGTERM, None)


def rows(workdir):
    """Those of metrics.csv, without times."""
    return [{name: value for name, value in row.items() if name not in (
        'images_per_second', 'data_wait')} for row in read_metrics(workdir / 'metrics.csv')]


def scores(workdir):
    """Of every checkpoint, with the progress of the run."""
    return {step: (found.score, found.progress)
            for step, found in list_checkpoints(workdir / 'checkpoints')[0].items()}


# `test_architecture` imports every module in a process without them.
@pytest.mark.trials
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
