"""Check the installation and this machine: packages, devices, memory, cache, a short training."""

import argparse
import importlib
import importlib.metadata
import itertools
import os
import pathlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence

import jax

from jaxseg.commands.environment import code_version
from jaxseg.commands.overrides import check_overrides
from jaxseg.commands.requirements import Requirement, requirements
from jaxseg.cores import cores
from jaxseg.memory import host_limits

NVIDIA_DRIVER = pathlib.Path('/proc/driver/nvidia/version')
CHECKS = ('check_training', 'check_scans')
# A problem and its remedy.
Problems = list[tuple[str, str]]


def add_arguments(parser: argparse.ArgumentParser):
    """There are none."""
    parser.epilog = 'Exit status 1 and a list at the end if something is wrong.'


def main(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Runs the subcommand; 1 if there is a problem."""
    check_overrides('doctor', overrides, ())
    code = code_version('jaxseg')
    commit = f', commit {code["commit"][:12]}' if code['commit'] else ''
    commit += ' (changed)' if code['changed'] else ''
    _line('jaxseg', f'{importlib.import_module("jaxseg").__version__}{commit}, '
                    f'{pathlib.Path(__file__).parents[1]}')
    _line('Python', f'{platform.python_version()}, {platform.platform(terse=True)}')
    problems = [*_packages(), *_devices()]
    _memory()
    _cache()
    problems += _self_check(runs=not problems)
    if not problems:
        print('\nAll is well.')
        return 0
    print(f'\n{len(problems)} problem(s):')
    for problem, remedy in problems:
        print(f'- {problem}; {remedy}')
    return 1


def _section(title: str):
    print(f'\n{title}', flush=True)


def _line(name: str, text: str):
    print(f'  {name:<24} {text}', flush=True)


def _packages() -> Problems:
    try:
        found = sorted(requirements(), key=lambda requirement: requirement.extra or '')
    except importlib.metadata.PackageNotFoundError:
        _section('Packages')
        _line('jaxseg', 'not installed, only on the path: what it needs is not known')
        return []
    _section('Packages')
    problems = []
    for requirement in (requirement for requirement in found if not requirement.extra):
        text = requirement.installed or 'not installed'
        if not requirement.satisfied:
            text += f', and {requirement.least} or newer is needed' if requirement.least else ''
            problems.append((f'{requirement.package}: {text}', requirement.remedy))
        _line(requirement.package, text)
    _section('Extras (optional)')
    extras = (requirement for requirement in found if requirement.extra)
    for extra, group in itertools.groupby(extras, key=lambda requirement: requirement.extra):
        _line(extra, ', '.join(map(_of_extra, group)))
    return problems


def _of_extra(requirement: Requirement) -> str:
    version = requirement.installed
    return (f'{requirement.package} {version}' if requirement.satisfied
            else f'{requirement.package} {version or "missing"} ({requirement.remedy})')


def _devices() -> Problems:
    _section('Devices')
    for device in jax.local_devices():
        stats = device.memory_stats() or {}
        limit, used = stats.get('bytes_limit'), stats.get('bytes_in_use', 0)
        memory = f', {_gib(limit - used)} of {_gib(limit)} free' if limit else ''
        _line(f'{device.platform} {device.id}', f'{device.device_kind}{memory}')
    if jax.default_backend() == 'cpu':
        _line('cores', f'{cores()} of {os.cpu_count()}')
    if (jax.default_backend() != 'cpu' or not NVIDIA_DRIVER.exists()
            or os.environ.get('JAX_PLATFORMS')):
        return []
    return [('this machine has an NVIDIA driver, and JAX uses the CPU',
             "pip install 'jax[cuda13]', or 'jax[cuda12]' for a driver older than 580")]


def _memory():
    _section('Memory that can still be allocated')
    for name, available in host_limits():
        _line(name, _gib(available))


def _cache():
    _section('Compiled programs, kept for the next start')
    folder = jax.config.jax_compilation_cache_dir
    if not folder or not jax.config.jax_enable_compilation_cache:
        _line('off', 'by the environment, or as the cache folder of the user cannot be written, '
                     'or can be written by others')
        return
    sizes = [path.stat().st_size for path in pathlib.Path(folder).glob('*-cache')]
    _line('folder', folder)
    _line('size', f'{len(sizes)} programs, {sum(sizes) / 2**20:.1f} MiB; the folder can be deleted')
    _line('to turn it off', 'JAX_ENABLE_COMPILATION_CACHE=false')


def _self_check(*, runs: bool) -> Iterator[tuple[str, str]]:
    _section('Self-check')
    if not runs:
        _line('not done', 'see the problems below first')
        return
    module = importlib.import_module('jaxseg.commands.self_check')
    for name in CHECKS:
        yield from _checked(getattr(module, name))


def _checked(check: Callable[[], str]) -> Problems:
    begun = time.perf_counter()
    try:
        found = check()
    except Exception as error:  # of JAX, the driver of a device, or the check itself
        reason = (str(error).splitlines() or [''])[0]
        _line('FAILED', reason)
        return [(f'the self-check failed ({type(error).__name__}: {reason})',
                 'try JAX_ENABLE_COMPILATION_CACHE=false, then JAX_PLATFORMS=cpu: if it succeeds '
                 'there, install the driver and the plugin of the device again')]
    _line('passed', f'{found} ({time.perf_counter() - begun:.1f} s)')
    return []


def _gib(size: float) -> str:
    return f'{size / 2**30:.1f} GiB'
