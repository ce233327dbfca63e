"""Stricter than users run: four devices, no rank promotion; compiled programs are cached.

Programs are compiled with few optimizations: most run once, on tiny arrays, and compiling them
takes half the time. The processes that a test starts inherit this and the cache.
"""

import os
import pathlib
import shutil
from unittest import mock

cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(cache / 'jaxseg' / 'tests'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')

import jax  # noqa: E402  the cache must be set before JAX is imported
import pytest  # noqa: E402

from jaxseg.commands import main  # noqa: E402
from tests import runs  # noqa: E402

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(scope='session', autouse=True)
def curves_not_drawn():
    """Drawing takes a fifth of a tiny run; `test_commands` draws those of one."""
    with mock.patch('jaxseg.training.report.draw_curves', lambda rows, path, metric: path.touch()):
        yield


@pytest.fixture(scope='session')
def trained_once(tmp_path_factory):
    """The work directory of a run of four steps, for `trained`."""
    folder = tmp_path_factory.mktemp('run')
    config = runs.write_config(folder)
    assert main(['train', f'--config={config}', f'--workdir={folder}/work', *runs.STEPS]) == 0
    return folder / 'work'


@pytest.fixture(scope='module')
def trained(trained_once, tmp_path_factory):
    """The copy that a module reads; modules with a run of their own override it."""
    return pathlib.Path(shutil.copytree(trained_once, tmp_path_factory.mktemp('run') / 'work'))


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of it that a test may damage."""
    return pathlib.Path(shutil.copytree(trained, tmp_path / 'work'))


def pytest_make_parametrize_id(config, val, argname):
    """Encoded files are named by their length: their bytes may hold a time, and names must not."""
    return f'{len(val)}_bytes' if isinstance(val, bytes) else None
