"""Stricter than users run: four devices, no silent rank promotion; compiled programs are kept in the user's cache folder."""

import os
import pathlib

os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(
    pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'jaxseg' / 'tests'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')

import jax  # noqa: E402  the cache must be set before JAX is imported

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')
