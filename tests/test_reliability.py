"""A few trials of the programs of `experiments/reliability` that damage, kill and fill."""

import os
import subprocess
import sys

import pytest

from experiments.reliability import disk_full, kills, walks
from tests import runs
from tests.trial_folders import TRIALS


def failures(trials):
    """What is wrong, by trial, and how many there were."""
    trials = list(trials)
    return len(trials), {(trial.kind, trial.name): trial.failures
                         for trial in trials if trial.failures}


# `test_commands_checkpoints` damages checkpoints in this process.
@pytest.mark.trials
def test_damaged_files_are_named_or_have_no_effect(tmp_path):
    # In a process of its own, with one device, as arrays are compared bit for bit.
    result = subprocess.run(
        [sys.executable, '-m', 'experiments.reliability.damage', '--short',
         f'--table={tmp_path}/damage.md'], capture_output=True, text=True, env=runs.environment())
    assert result.returncode == 0, result.stdout + result.stderr
    assert '8 trials of `python -m experiments.reliability.damage`, 0 failures' in (
        tmp_path / 'damage.md').read_text()


def test_killed_trainings_continue():
    assert failures(kills.trials(short=True)) == (1, {})


@pytest.mark.trials
def test_a_folder_becomes_an_exported_model():
    name = 'object_masks'
    walked, = walks.walks({name: TRIALS[name]}, tuple(walks.COMMANDS), 0.1)
    assert not walked.failures and list(walked.seconds) == list(walks.COMMANDS)
    assert walked.miou > 0.2


@pytest.mark.skipif(sys.platform != 'linux' or os.geteuid() != 0, reason='mounting needs root')
def test_a_full_disk_is_named_and_destroys_nothing():
    try:
        found = failures(disk_full.trials(short=True))
    except SystemExit as error:
        if 'no tmpfs can be mounted' not in str(error):
            raise
        pytest.skip(str(error))
    assert found == (1, {})
