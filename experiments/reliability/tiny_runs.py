"""Tiny runs in folders of their own: quick starts, and their parameters."""

import hashlib
import os
import pathlib
from typing import Any

import jax
import numpy as np

from experiments.reliability.trials import finish
from jaxseg.commands.workdir import open_workdir


def quick(cache: pathlib.Path) -> dict[str, str]:
    """The environment in which compiled programs are kept for the next process.

    Args:
      cache: the folder, unless the environment names one already, as that of the tests does.
    """
    return {'JAX_COMPILATION_CACHE_DIR': os.environ.get('JAX_COMPILATION_CACHE_DIR', str(cache)),
            'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
            'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1'}


def parameters(workdir: pathlib.Path) -> tuple[int, str]:
    """The step of the latest checkpoint and a digest of its variables, bit for bit."""
    step, variables = open_workdir(workdir).variables('latest')
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(variables):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return step, digest.hexdigest()


def train_undisturbed(folder: pathlib.Path, workdir: str, environment: dict[str, str],
                      *overrides: str) -> Any:
    """Trains tiny.py of a folder without a disturbance; its `parameters`."""
    status, _, error = finish(('train', '--config=tiny.py', f'--workdir={workdir}', *overrides),
                              folder, **environment)
    if status:
        raise SystemExit(f'the undisturbed run fails: {error}')
    return parameters(folder / workdir)
