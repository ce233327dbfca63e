"""The check of an installation finds what is wrong, and says what to do."""

import importlib.metadata

import jax
import numpy as np
import pytest

from jaxseg.commands import doctor, main, self_check
from jaxseg.commands.requirements import Requirement, requirements
from tests import runs


@pytest.fixture
def healthy(monkeypatch):
    """A machine whose self-check succeeds at once."""
    for name in doctor.CHECKS:
        monkeypatch.setattr(self_check, name, lambda: 'as it should be')


def test_a_healthy_machine_has_no_problem(healthy, capsys):
    assert main(['doctor']) == 0
    out = capsys.readouterr().out
    assert f'jax                      {jax.__version__}\n' in out
    assert 'cpu 3' in out and out.count('as it should be') == 2 and 'All is well.' in out


@pytest.mark.parametrize('package, least, words', [
    ('numpy', '999', "numpy: {}, and 999 or newer is needed; pip install 'numpy>=999'"),
    ('not-there', '1', "not-there: not installed, and 1 or newer is needed; "
                       "pip install 'not-there>=1'"),
    ('not-there', None, "not-there: not installed; pip install 'not-there'")])
def test_what_is_missing_or_too_old_is_a_problem(healthy, monkeypatch, capsys, package, least,
                                                 words):
    monkeypatch.setattr(doctor, 'requirements', lambda: [
        Requirement('jax', '0.10', None), Requirement(package, least, None),
        Requirement('not-there-either', '2', 'extra')])
    assert main(['doctor']) == 1
    out = capsys.readouterr().out
    assert '1 problem(s):' in out and words.format(np.__version__) in out
    assert "missing (pip install 'not-there-either>=2')" in out
    assert 'not done' in out and 'as it should be' not in out


def test_it_takes_no_keys_of_a_config(capfd):
    runs.refused(['doctor', '--config.steps=2'], ['--config.steps: has no effect'], capfd)


def test_versions_are_compared_by_their_numbers(monkeypatch):
    for installed, least, satisfied in (('0.10.2', '0.9', True), ('0.10.2rc1', '0.10.2', True),
                                        ('4.9.8', '4.10', False), ('2', '2.0.1', False)):
        monkeypatch.setattr(importlib.metadata, 'version', lambda name, found=installed: found)
        assert Requirement('a', least, None).satisfied == satisfied


def test_the_requirements_are_those_of_the_installation():
    found = list(requirements())
    assert any((item.package, item.extra) == ('jax', None) and item.least for item in found)
    assert {item.extra for item in found} >= {None, 'export', 'hub', 'plot'}
    assert not any(item.extra == 'test' for item in found)


def test_a_gpu_that_is_not_used_is_a_problem(healthy, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv('JAX_PLATFORMS', raising=False)
    monkeypatch.setattr(doctor, 'NVIDIA_DRIVER', tmp_path)
    assert main(['doctor']) == 1
    assert "pip install 'jax[cuda" in capsys.readouterr().out
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    assert main(['doctor']) == 0


def test_an_error_of_a_device_is_a_problem(healthy, monkeypatch, capsys):
    def fail():
        raise RuntimeError('the library of the device\nis missing')

    monkeypatch.setattr(self_check, 'check_scans', fail)
    assert main(['doctor']) == 1
    out = capsys.readouterr().out
    assert 'the self-check failed (RuntimeError: the library of the device)' in out
    assert 'JAX_PLATFORMS=cpu' in out


def test_the_self_check_trains_on_every_device_and_notices_wrong_scans(monkeypatch):
    assert '4 device(s)' in self_check.check_training()
    assert 'loop' in self_check.check_scans()
    right = self_check.linear_recurrence
    monkeypatch.setattr(self_check, 'linear_recurrence', lambda a, b, **options: right(
        a if options['schedule'] != 'chunked' else a * 1.01, b, **options))
    with pytest.raises(ArithmeticError, match='the chunked recurrent scan'):
        self_check.check_scans()
