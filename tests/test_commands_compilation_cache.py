"""Compiled programs are kept for the next start, in a folder of the user, and heal."""

import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxseg.commands.compilation_cache import cache_folder, use_compilation_cache


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without a cache, and JAX as it starts there."""
    names = ('jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs')
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (None, 0), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    with warnings.catch_warnings():
        yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compile_anew():
    """Compiles a function that JAX has not seen in this process, though perhaps in the cache."""
    jax.jit(lambda x: jnp.sin(x) @ x)(np.ones((8, 8), np.float32))




def test_the_folder_is_that_of_the_xdg_specification(home, monkeypatch):
    name = cache_folder().name
    assert cache_folder() == home / '.cache' / 'jaxseg' / 'compiled' / name
    for cache, parent in ((f'{home}/other', home / 'other'), ('relative', home / '.cache')):
        monkeypatch.setenv('XDG_CACHE_HOME', cache)
        assert cache_folder() == parent / 'jaxseg' / 'compiled' / name
    monkeypatch.setenv('HOME', 'relative')
    assert cache_folder() is None


def test_a_program_is_kept_and_one_that_is_damaged_is_replaced(home, recwarn):
    warnings.simplefilter('default')
    use_compilation_cache()
    compile_anew()
    entry, = cache_folder().glob('jit__lambda-*')
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-10])
    compile_anew()
    assert entry.stat().st_size > len(whole) - 10
    assert cache_folder().stat().st_mode & 0o077 == 0
    assert not recwarn.list


def test_a_failure_to_write_is_not_reported(home):
    warnings.simplefilter('error')
    use_compilation_cache()
    warnings.warn("Error writing persistent compilation cache entry for 'jit_f': OSError: full",
                  stacklevel=1)


@pytest.mark.parametrize('state', ['set', 'empty', 'shared', 'a file', 'processes'])
def test_the_cache_stays_as_it_is(home, state, monkeypatch):
    folder = cache_folder()
    if state in ('set', 'empty'):
        jax.config.update('jax_compilation_cache_dir', {'set': str(home), 'empty': ''}[state])
    elif state == 'processes':
        monkeypatch.setattr(jax, 'process_count', lambda: 2)
    elif state == 'shared':
        folder.mkdir(parents=True)
        os.chmod(folder, 0o777)
    else:
        folder.parent.mkdir(parents=True)
        folder.write_text('')
    before = jax.config.jax_compilation_cache_dir
    use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == before
