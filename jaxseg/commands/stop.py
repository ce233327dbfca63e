"""A stop that was asked for while a run trains: after the same step in all processes."""

import contextlib
import itertools
import threading
from typing import Any

FOREVER = 10 ** 12  # milliseconds
_numbers = itertools.count()


class Stop:
    """A stop of the only process.

    Calling it tells whether a stop is requested, `after_step`, called after every step, whether to
    stop after this one.
    """

    def __init__(self):
        self._requested = threading.Event()

    def __call__(self) -> bool:
        return self._requested.is_set()

    def after_step(self) -> bool:
        """Whether this step is the last."""
        return self()

    def request(self) -> bool:
        """Requests a stop; True for the first request."""
        first = not self()
        self._requested.set()
        return first

    def close(self):
        """Frees what it holds."""


class SharedStop(Stop):
    """A stop that any of several processes may request.

    It costs nothing until it is requested. The process that requests it tells all. Each then states
    after how many steps it is, in a thread, because the process may wait for the others in a step,
    and waits before the next step is counted until all have stated theirs. The last step is the
    one after the largest of these numbers: no process is past it, and all will reach it.

    Args:
      client: of the service that connects the processes.
      index, count: of this process, and their number.
    """

    def __init__(self, client: Any, index: int, count: int):
        super().__init__()
        self._client, self._index, self._count = client, index, count
        self._prefix = f'jaxseg/stop/{next(_numbers)}'  # every process opens the same in order
        self._lock, self._agreed = threading.Lock(), threading.Event()
        self._steps, self._stated, self._last = 0, False, 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def after_step(self) -> bool:
        """Whether this step is the last, the same in all processes."""
        with self._lock:
            if not self._stated:
                self._steps += 1
                return False
        self._agreed.wait()
        self._steps += 1
        return self._steps >= self._last

    def request(self) -> bool:
        """Requests a stop of all processes; True for the first request of any of them."""
        first = self._set('requested', '')
        for process in range(self._count):
            self._set(f'told/{process}', 'stop')
        return first

    def close(self):
        """Ends the thread; later requests of others do not wait for this process."""
        self._set(f'told/{self._index}', 'closed')
        with self._lock:
            self._set(f'steps/{self._index}', str(self._steps))
        self._thread.join()

    def _listen(self):
        # A service that is lost ends the process.
        with contextlib.suppress(RuntimeError):
            if self._get(f'told/{self._index}') == 'closed':
                return
            self._requested.set()
            with self._lock:
                self._stated = True
                self._set(f'steps/{self._index}', str(self._steps))
            self._last = 1 + max(int(self._get(f'steps/{process}'))
                                 for process in range(self._count))
            self._agreed.set()

    def _set(self, key: str, value: str) -> bool:
        return set_once(self._client, f'{self._prefix}/{key}', value)

    def _get(self, key: str) -> str:
        return self._client.blocking_key_value_get(f'{self._prefix}/{key}', FOREVER)


def set_once(client: Any, key: str, value: str) -> bool:
    """False where the key has a value already, or the service that connects processes is lost."""
    try:
        client.key_value_set(key, value)
    except RuntimeError:
        return False
    return True


def open_stop() -> Stop:
    """A stop of all processes that there are."""
    import jax  # not at the start of a command line, which it would delay

    from jaxseg.processes import coordination

    if jax.process_count() == 1:
        return Stop()
    return SharedStop(coordination(), jax.process_index(), jax.process_count())
