"""How much memory a compiled program needs, and how much there is."""

import math
import pathlib
import re
import resource
from collections.abc import Iterator
from typing import Any

import jax

from jaxseg.errors import InputError

# Limit of a container, what it uses, and what of that is a cache of files, which can be dropped:
# of version 2 and 1 of Linux control groups.
CONTROL_GROUPS = (
    ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory.current',
     '/sys/fs/cgroup/memory.stat', 'inactive_file'),
    ('/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/memory/memory.usage_in_bytes',
     '/sys/fs/cgroup/memory/memory.stat', 'total_inactive_file'))
# What version 1 shows without a limit is more than this.
NO_LIMIT = 2**60

# YNNPACK, to which XLA gives convolutions on CPU, allocates what lies between them by itself: up to
# forty times what the compilation states of an inference. XLA's own are as fast.
WITHOUT_YNNPACK = {'xla_cpu_experimental_ynn_fusion_type': ''}


def compile_stated(lowered: Any) -> Any:
    """Compiles a program so that its `needed_bytes` hold.

    Args:
      lowered: of `jax.jit(...).lower(...)`.
    """
    if jax.default_backend() != 'cpu':
        return lowered.compile()
    try:
        return lowered.compile(compiler_options=WITHOUT_YNNPACK)
    except jax.errors.JaxRuntimeError as error:
        if 'No such compile option' not in str(error):
            raise
        return lowered.compile()  # another version of XLA


def needed_bytes(compiled: Any) -> int:
    """What a program allocates on one device while it runs, besides its arguments.

    Args:
      compiled: of `jax.jit(...).lower(...).compile()`.
    """
    found = compiled.memory_analysis()
    if found is None:  # not every backend knows
        return 0
    found = max(found.temp_size_in_bytes + found.output_size_in_bytes
                - found.alias_size_in_bytes, 0)
    return found * _devices_of_memory()


def reserved_bytes(compiled: Any) -> int:
    """Address space that a program takes on CPU besides, and hardly touches; 0 elsewhere.

    XLA reserves for a convolution the matrix of all patches of its input, in float32.

    Args:
      compiled: of `jax.jit(...).lower(...).compile()`.
    """
    if jax.default_backend() != 'cpu':
        return 0
    text = compiled.as_text()
    shapes = {name: [int(side) for side in sides.split(',') if side]
              for name, sides in re.findall(r'(%[\w.-]+) = \w+\[([\d,]*)\]', text)}
    most = 0
    for name, kernel, kernel_axes, axes, options in re.findall(
            r'(%[\w.-]+) = \S+ convolution\([^)]*(%[\w.-]+)\).*dim_labels=\w+_(\w+)->(\w+)(.*)',
            text):
        groups = re.search(r'feature_group_count=(\d+)', options)
        positions = math.prod(shapes[name]) // shapes[name][axes.index('f')]
        patch = math.prod(shapes[kernel]) // shapes[kernel][kernel_axes.index('o')]
        most = max(most, 4 * positions * patch * (int(groups[1]) if groups else 1))
    return most


def address_space() -> float:
    """What can still be reserved at once: Linux refuses more than all of the memory."""
    totals = [int(line.split()[1]) * 1024 for line in _read('/proc/meminfo').splitlines()
              if line.startswith(('MemTotal:', 'SwapTotal:'))]
    return min(sum(totals) or float('inf'), *_address_space_limits(), float('inf'))


def available_bytes() -> float:
    """What can still be allocated on a device, on CPU on this machine; infinite if unknown."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if 'bytes_limit' in stats:
        return stats['bytes_limit'] - stats.get('bytes_in_use', 0)
    return max(0, min((bytes for _, bytes in host_limits()), default=float('inf')))


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def device_bytes(tree: Any) -> int:
    """Bytes that arrays, or their shapes, take of one memory, as their shardings split them."""
    return _devices_of_memory() * sum(map(_bytes_on_a_device, jax.tree.leaves(tree)))


def share_bytes(tree: Any, devices: int) -> int:
    """Bytes of one memory that arrays, or their shapes, take when split over so many devices."""
    return tree_bytes(tree) * _devices_of_memory() // devices


def check_memory(what: str, needed: int, remedy: str):
    """Raises InputError if `what` needs more bytes than there are."""
    available = available_bytes()
    if needed > available:
        raise InputError(f'{what} needs {needed / 2 ** 30:.3g} GiB of memory, and '
                         f'{available / 2 ** 30:.3g} GiB are available; {remedy}')


def check_step_memory(compiled: Any, state: Any, batch_size: int, multiple: int, remedy: str = ''):
    """Raises InputError, with a batch size that fits, if a training step needs too much memory.

    What a step allocates is taken as a part that grows with the batch, and one that does not: the
    gradients and whatever else is as large as the parameters. The state, which has the parameters
    and often their moments, stands for that part, so that the batch named rather is too small.

    Args:
      compiled: of `jax.jit(...).lower(...).compile()`.
      state: its shapes; their shardings say what a device has of it.
      batch_size: of the whole batch.
      multiple: what a batch size must divide by.
      remedy: another one than smaller batches, if there is any.
    """
    needed, available = needed_bytes(compiled), available_bytes()
    if needed <= available:
        return
    fixed = device_bytes(state)
    share = (available - fixed) / (needed - fixed) if needed > fixed else 0
    fitting = int(share * batch_size) // multiple * multiple
    smaller = f'lower batch_size to {fitting}' if fitting > 0 else (
        'let transforms return smaller images')
    check_memory(f'batch_size: a training step of {batch_size} images', needed,
                 f'{smaller}, or {remedy}' if remedy else smaller)


def _bytes_on_a_device(x: Any) -> int:
    """Of an array, or of its shape."""
    sharding = getattr(x, 'sharding', None)
    shape = sharding.shard_shape(x.shape) if sharding else x.shape
    return math.prod(shape) * x.dtype.itemsize


def _devices_of_memory() -> int:
    """On CPU all devices take from one memory."""
    return jax.local_device_count() if jax.default_backend() == 'cpu' else 1


def host_limits() -> Iterator[tuple[str, int]]:
    """Names of the limits of this system's memory, and what each of them leaves."""
    for line in _read('/proc/meminfo').splitlines():
        if line.startswith('MemAvailable:'):
            yield 'machine', int(line.split()[1]) * 1024
    for limit, used, statistics, cache in CONTROL_GROUPS:
        most, now = _read(limit).strip(), _read(used).strip()
        found = dict(line.split() for line in _read(statistics).splitlines())
        if most.isdecimal() and now.isdecimal() and int(most) < NO_LIMIT:
            yield 'container', int(most) - int(now) + int(found.get(cache, 0))
    for left in _address_space_limits():
        yield 'process (ulimit -v)', left


def _address_space_limits() -> Iterator[int]:
    most, pages = resource.getrlimit(resource.RLIMIT_AS)[0], _read('/proc/self/statm').split()
    if most != resource.RLIM_INFINITY and pages:
        yield most - int(pages[0]) * resource.getpagesize()


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ''
