"""What a work directory of somebody else may do: nothing but build parts of jaxseg."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from unittest import mock

import pytest

import jaxseg
from jaxseg.commands import main
from jaxseg.commands.lock import locked
from jaxseg.commands.trust import check_trusted, foreign_packages
from jaxseg.errors import InputError
from jaxseg.records import read_record, write_record
from tests.runs import refused, state_of, write_image

HOSTILE = 'def touch(*args, **options):\n    raise AssertionError\n\nopen({!r}, "w").close()\n'


@pytest.fixture(params=['model', 'model.encoder', 'model.context', 'data', 'task', 'inference',
                        'preprocess', 'transforms', 'losses'])
def hostile(copied, tmp_path, monkeypatch, request):
    """A work directory whose config names code that leaves a file behind when it is imported."""
    code = tmp_path / 'code' / 'hostile'
    code.mkdir(parents=True)
    (code / '__init__.py').write_text('')
    (code / 'module.py').write_text(HOSTILE.format(str(tmp_path / 'executed')))
    monkeypatch.syspath_prepend(str(code.parent))
    config = read_record(copied / 'config.json')
    *parents, key = request.param.split('.')
    place = config
    for parent in parents:
        place = place[parent]
    entry = {'type': 'hostile.module:touch'}
    place[key] = {'transforms': [entry], 'losses': {'a': entry}}.get(key, entry)
    write_record(copied / 'config.json', config)
    yield copied
    assert not (tmp_path / 'executed').exists()


def test_no_command_imports_code_that_a_work_directory_names(hostile, tmp_path, capfd):
    write_image(tmp_path / 'in' / 'a.png')
    work = f'--workdir={hostile}'
    for arguments in (['evaluate', work], ['train', work], ['inspect', work],
                      ['predict', work, f'--input={tmp_path}/in', f'--output={tmp_path}/out']):
        refused(arguments, ['config.json', 'hostile.module:touch', '--trust=hostile'], capfd)
    with pytest.raises(InputError, match='hostile'):
        jaxseg.load(hostile)
    with pytest.raises(InputError, match='hostile'):
        jaxseg.load(hostile, trust=['hostil', 'module', 'tests'])


def test_a_function_of_the_standard_library_is_no_exception(copied, tmp_path, capfd):
    config = read_record(copied / 'config.json')
    config['data'] = {'type': 'os:system', 'command': f'touch {tmp_path}/executed'}
    write_record(copied / 'config.json', config)
    with pytest.raises(InputError, match='os:system'):
        jaxseg.load(copied)
    # Trusted, but no such part, which shows before it is called.
    refused(['evaluate', f'--workdir={copied}', '--trust=os'], ['data expects a class'], capfd)
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('trust, ok', [
    (['a'], True), (['a.b'], True), (['a.b.c'], True), (['a.b.c.d'], False), (['ab'], False),
    (['a.bc'], False), ([], False), (['b'], False), ([''], False)])
def test_a_package_is_trusted_with_all_that_is_in_it(tmp_path, trust, ok):
    config = {'model': {'type': 'segmentation_model.SegmentationModel',
                        'context': [{'type': 'identity.Identity'}, {'type': 'a.b.c:Part'}]}}
    assert foreign_packages(config) == ['a']
    if ok:
        check_trusted(config, trust, tmp_path)
        return
    with pytest.raises(InputError, match=r'config\.model\.context\.1\.type'):
        check_trusted(config, trust, tmp_path)


def test_a_second_training_in_a_work_directory_is_refused(copied, capfd):
    with locked(copied):
        before = state_of(copied)
        refused(['train', f'--workdir={copied}'], [f'process {os.getpid()} on'], capfd)
        assert main(['evaluate', f'--workdir={copied}', '--num_images=0']) == 0  # readers are free
        assert state_of(copied / 'checkpoints').items() <= before.items()
    with locked(copied):
        pass


def test_a_training_that_has_just_begun_is_named_too(tmp_path):
    with open(tmp_path / 'train.lock', 'a+') as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def name():
            file.write('process 7 on there')
            file.flush()

        timer = threading.Timer(0.3, name)
        timer.start()
        with pytest.raises(InputError, match='process 7 on there trains there'), locked(tmp_path):
            pass
        timer.join()


def test_a_folder_that_cannot_be_locked_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('fcntl.flock', mock.Mock(side_effect=OSError(errno.ENOLCK, 'no locks')))
    with locked(tmp_path):
        error = capsys.readouterr().err
    assert error == (f'--workdir={tmp_path} cannot be locked (no locks): make sure that no other '
                     f'training runs there\n')


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = ('import os, sys, pathlib; from jaxseg.commands.lock import locked\n'
            f'with locked(pathlib.Path({str(tmp_path)!r})): os.kill(os.getpid(), 9)')
    assert subprocess.run([sys.executable, '-c', code]).returncode == -9
    assert (tmp_path / 'train.lock').read_text()
    with locked(tmp_path):
        pass
