"""One step, two ways to spread it over devices: `jit` over a mesh, or `pmap`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import InputError

DATA_AXIS = 'data'


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a step runs on many devices: where a state and a batch go, the compiled step, and the way back to one copy."""

    put_state: Callable[[Any], Any]
    put_batch: Callable[[Any], Any]
    step: Callable[[Any, Any], tuple[Any, Any]]
    one: Callable[[Any], Any]


def spread(step: Callable, *, how: str, batch_size: int) -> Spread:
    """Data parallelism over all devices.

    Args:
      step: `(state, batch, axis=None) -> (state, metrics)`.
      how: `'jit'` (global arrays over a mesh; any number of processes) or `'pmap'` (one process).
      batch_size: global batch; must divide by the number of devices.

    Raises:
      InputError: unknown `how`, or a batch that does not divide.
    """
    ways = {'jit': _under_jit, 'pmap': _under_pmap}
    if how not in ways:
        raise InputError(f'parallel: {how!r} is unknown; known: {", ".join(ways)}')
    check_batch(batch_size)
    return ways[how](step)


def check_batch(batch_size: int, key: str = 'batch_size'):
    """Raises InputError unless the batch, the `key` of the config, divides by the number of devices."""
    devices = jax.device_count()
    if batch_size % devices:
        raise InputError(f'{key}: {batch_size} does not divide by the {devices} devices; '
                         f'give {-(-batch_size // devices) * devices}')


def mesh() -> jax.sharding.Mesh:
    """All devices in one row; `Auto` because the default of `jax.make_mesh`, `Explicit`, types every array."""
    return jax.make_mesh((jax.device_count(),), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def put_batch(batch: Any) -> Any:
    """Spreads a batch of numpy arrays (this process's share of it) over the mesh."""
    sharding = NamedSharding(mesh(), P(DATA_AXIS))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def put_whole_batch(batch: Any) -> Any:
    """Spreads a batch that every process holds whole (an evaluation batch) over the mesh."""
    return jax.device_put(batch, NamedSharding(mesh(), P(DATA_AXIS)))


def put_state(state: Any) -> Any:
    """Copies a state onto every device of the mesh."""
    # Through numpy: device_put may alias its source, which the donating step would then delete.
    return jax.device_put(jax.tree.map(np.array, state), NamedSharding(mesh(), P()))


def _under_jit(step: Callable) -> Spread:
    everywhere, split = NamedSharding(mesh(), P()), NamedSharding(mesh(), P(DATA_AXIS))
    compiled = jax.jit(step, in_shardings=(everywhere, split), out_shardings=everywhere, donate_argnums=0)
    return Spread(put_state, put_batch, compiled, lambda state: state)


def _under_pmap(step: Callable) -> Spread:
    if jax.process_count() > 1:
        raise InputError("parallel: 'pmap' runs in one process, here are several; use 'jit'")
    devices = jax.local_devices()

    def replicate(state: Any) -> Any:
        return jax.tree.map(lambda x: np.broadcast_to(x, (len(devices), *np.shape(x))).copy(), state)

    def split(batch: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(len(devices), -1, *x.shape[1:]), batch)

    compiled = jax.pmap(lambda state, batch: step(state, batch, DATA_AXIS), axis_name=DATA_AXIS, devices=devices,
                        donate_argnums=0)

    def run(state: Any, batch: Any) -> tuple[Any, Any]:
        state, metrics = compiled(state, batch)
        return state, jax.tree.map(lambda x: x[0], metrics)

    return Spread(replicate, split, run, lambda state: jax.tree.map(lambda x: x[0], state))
