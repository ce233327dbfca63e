"""A few trials of signals, writers, hostile files and large images; their programs have all."""

import itertools
import pathlib
import subprocess
import sys

import pytest

from experiments.reliability import hostile_contents, large_images, signals, two_writers
from experiments.reliability.bad_inputs import train_tiny
from experiments.reliability.hostile_files import SPECIAL, Files
from experiments.reliability.hostile_parts import Parts
from experiments.reliability.tiny_runs import quick
from jaxseg.data.tiff import tiff_header
from jaxseg.errors import InputError, printable
from jaxseg.files import replacing


def assert_none_fails(trials):
    failed = {trial.name: trial.failures for trial in trials if trial.failures}
    assert not failed


# Of the signals one during a save; `test_interruption` sends others.
@pytest.mark.trials
@pytest.mark.parametrize('program, number', [(signals, 1), (two_writers, 1), (large_images, 1)])
def test_the_first_trials_of_a_program_do_not_fail(program, number):
    assert_none_fails(itertools.islice(program.trials(True), number))


def test_hostile_parts_and_files_are_refused(tmp_path):
    trained, environment = train_tiny(tmp_path / 'run'), quick(tmp_path / 'cache')
    parts = Parts(tmp_path, trained, environment).trials(short=True)
    assert_none_fails(itertools.islice(parts, 6))
    files = Files(tmp_path, trained, environment)
    suffix, data = hostile_contents.contents(tmp_path / 'unpickled')['a pickle']
    assert_none_fails([files._content('a pickle', suffix, data),
                       files._special('a pipe', SPECIAL['a pipe'])])


def test_tags_of_a_tiff_that_lie_over_each_other_are_not_read():
    _, data = hostile_contents.contents(pathlib.Path())['a TIFF of overlapping tags']
    with pytest.raises(InputError, match='truncated .* bytes of values'):
        tiff_header(hostile_contents.io.BytesIO(data))


def test_a_link_beside_a_file_does_not_lead_the_writing_elsewhere(tmp_path):
    (tmp_path / 'other').write_text('kept')
    (tmp_path / 'a.partial.json').symlink_to('other')
    with replacing(tmp_path / 'a.json') as partial:
        partial.write_text('new')
    assert (tmp_path / 'other').read_text() == 'kept'
    assert (tmp_path / 'a.json').read_text() == 'new' and not (tmp_path / 'a.json').is_symlink()


def test_signals_while_a_finished_process_clears_up_change_nothing():
    code = ('import atexit, os, signal, sys\n'
            'from jaxseg import commands\n'
            'for number in (signal.SIGINT, signal.SIGTERM):\n'
            '    atexit.register(os.kill, os.getpid(), number)\n'
            'commands.main = lambda: 0\n'
            'sys.exit(commands.program())\n')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, '')


def test_text_is_shown_without_control_characters():
    assert printable('a\x1b[31m\n\u202eé') == 'a\\x1b[31m\\n\\u202eé'
