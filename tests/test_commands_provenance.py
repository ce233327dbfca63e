"""What a training records of itself: every start, and the commit of the code."""

import subprocess
import sys

import jax
import pytest

from jaxseg.commands.environment import code_version, environment
from jaxseg.commands.provenance import record_start, recorded_starts
from jaxseg.commands.run_config import RunConfig
from jaxseg.errors import InputError
from jaxseg.records import read_record, write_record

CONFIG = RunConfig(steps=4, batch_size=4, evaluate_every=2, data={}, model={}, losses={},
                   optimizer={}, schedule={}, seed=7)


def test_every_start_adds_an_entry_with_what_it_ran_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['jaxseg', 'train', '--workdir=a b'])
    record_start(tmp_path, CONFIG, 0)
    record_start(tmp_path, CONFIG, 2)
    first, second = recorded_starts(tmp_path)
    assert (first['first_step'], second['first_step']) == (0, 2)
    assert first['command'] == "jaxseg train '--workdir=a b'" and first['seed'] == 7
    assert first['packages']['jax'] == jax.__version__ and len(first['devices']) == 4
    write_record(tmp_path / 'config.json', CONFIG.to_dict())
    read_record(tmp_path / 'config.json')  # its seal is right, and the same
    assert f'"{first["config_sha256"]}"' in (tmp_path / 'config.json').read_text()


@pytest.mark.parametrize('content', [None, '', '{"starts": []}', 'sealed'])
def test_a_damaged_record_begins_again(tmp_path, content):
    path = tmp_path / 'provenance.json'
    if content == 'sealed':
        write_record(path, {'starts': 'none'})
    elif content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match='provenance.json'):
        recorded_starts(tmp_path)
    record_start(tmp_path, CONFIG, 2)
    assert [start['first_step'] for start in recorded_starts(tmp_path)] == [2]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package, not yet in the git repository of its folder."""
    code = tmp_path / 'code' / 'theirs'
    code.mkdir(parents=True)
    (code / '__init__.py').write_text('')
    monkeypatch.syspath_prepend(str(code.parent))
    git(code.parent, 'init', '--quiet')
    git(code.parent, 'commit', '--quiet', '--allow-empty', '--message=first')
    return code


def git(folder, *arguments):
    identity = ('-c', 'user.name=a', '-c', 'user.email=a@example.com')
    return subprocess.run(['git', '-C', folder, *identity, *arguments], check=True,
                          capture_output=True, text=True).stdout.strip()


def test_the_commit_of_a_package_is_that_of_its_checkout(package, monkeypatch):
    monkeypatch.setenv('GIT_DIR', '/nowhere')  # as in a hook of git
    assert code_version('theirs') == {'version': None, 'commit': None, 'changed': None}
    monkeypatch.delenv('GIT_DIR')
    git(package.parent, 'add', '.')
    git(package.parent, 'commit', '--quiet', '--message=second')
    commit = git(package.parent, 'rev-parse', 'HEAD')
    monkeypatch.setenv('GIT_DIR', '/nowhere')
    assert code_version('theirs') == {'version': None, 'commit': commit, 'changed': False}
    (package.parent / 'beside.py').write_text('')
    assert not code_version('theirs')['changed']
    (package / 'new.py').write_text('')
    assert code_version('theirs')['changed']
    monkeypatch.setenv('PATH', '')  # no git
    assert environment(['theirs'])['code']['theirs']['commit'] is None


def test_code_that_is_no_package_or_does_not_exist_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'single.py').write_text('')
    for name in ('single', 'nowhere_to_be_found', '__main__'):
        assert code_version(name) == {'version': None, 'commit': None, 'changed': None}
