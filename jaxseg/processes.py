"""What several processes of one run tell each other; with one process nothing is sent."""

import pickle
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxseg.errors import InputError


def is_first() -> bool:
    """Whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def gathered(value: Any) -> list[Any]:
    """The values of all processes, in their order.

    All processes must call it, in the same order among computations on all devices; so it is also a
    barrier. Values travel as bytes: integers of 64 bits and float64 stay what they are.
    """
    if jax.process_count() == 1:
        return [value]
    data = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(data)], np.int32)).ravel()
    # Powers of two, so that few lengths are compiled.
    padded = np.zeros(1 << int(lengths.max() - 1).bit_length(), np.uint8)
    padded[:len(data)] = data
    rows = multihost_utils.process_allgather(padded)
    return [pickle.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def check_agreed(what: str, value: Any):
    """Raises InputError unless a value is the same in all processes; it is a barrier, too."""
    values = gathered(value)
    for process, other in enumerate(values):
        if other != values[0]:
            raise InputError(f'{what}: {values[0]!r} in process 0 and {other!r} in process '
                             f'{process}; give all processes the same config, data and folders')


def coordination() -> Any:
    """The client of the service that all processes are connected to: keys, values and barriers.

    JAX has no public name for it; Orbax takes it from the same place.

    Raises:
      InputError: there are several processes without this service, as on some TPU slices.
    """
    from jax._src import distributed

    client = distributed.global_state.client
    if client is None:
        raise InputError(f'JAX found {jax.process_count()} processes, which are not connected; '
                         f'give --coordinator=HOST:PORT --processes=N --process=I, in Python call '
                         f'jax.distributed.initialize first')
    return client
