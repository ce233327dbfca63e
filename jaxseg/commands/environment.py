"""What a command runs on: code with its commit, versions of packages, devices."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import jax

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy', 'pillow',
            'opencv-python-headless', 'opencv-python')
# Seconds that git may take on a slow disk: a training does not wait for a name of its code.
PATIENCE = 5


def environment(modules: Sequence[str] = ()) -> dict[str, Any]:
    """Plain values, as they are recorded.

    Args:
      modules: packages outside of jaxseg whose code is used, too.
    """
    return {
        'code': {name: code_version(name) for name in ('jaxseg', *modules)},
        'python': platform.python_version(),
        'packages': {name: found for name in PACKAGES if (found := installed_version(name))},
        'devices': [f'{device.device_kind} ({device.platform})' for device in jax.devices()],
        'processes': jax.process_count(),
        'host': platform.node(),
        'system': platform.platform(terse=True)}


def installed_version(package: str) -> str | None:
    """The version of an installed package; None where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def code_version(module: str) -> dict[str, Any]:
    """The version of a package, the commit of its git checkout, and whether files differ from it.

    Returns:
      `version`, `commit` and `changed`, each None where it is not known. A package that pip
      installed from a git address has the commit that pip noted.
    """
    version = getattr(sys.modules.get(module), '__version__', None)
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # `__main__`, as of a notebook
        spec = None
    places = spec and (spec.submodule_search_locations or [spec.origin])
    path = pathlib.Path(next(iter(places or ()), None) or '').absolute()
    # In a checkout, but not of it, lies an environment in the folder of another project.
    if _git(path, 'ls-files'):
        return {'version': version, 'commit': _git(path, 'rev-parse', 'HEAD'),
                'changed': bool(_git(path, 'status', '--porcelain'))}
    return {'version': version, 'commit': _noted_commit(module), 'changed': None}


def _git(path: pathlib.Path, *arguments: str) -> str | None:
    """What git says of a file or folder; None where there is no git or no checkout."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith('GIT_')}  # they would name another checkout
    of_path = () if arguments[0] == 'rev-parse' else ('--', str(path))
    try:
        result = subprocess.run(
            ['git', '-C', str(path.parent), *arguments, *of_path], capture_output=True, text=True,
            errors='replace', timeout=PATIENCE, env={**environment, 'GIT_OPTIONAL_LOCKS': '0'})
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if result.returncode else result.stdout.strip()


def _noted_commit(module: str) -> str | None:
    try:
        noted = importlib.metadata.distribution(module).read_text('direct_url.json')
        return json.loads(noted or '{}').get('vcs_info', {}).get('commit_id')
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
