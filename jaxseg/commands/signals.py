"""Ctrl-C and SIGTERM: one handler from the start of a command until everything is closed.

The first signal ends a command at once, except while a training run is open: it then finishes its
step, saves and closes. A second signal ends that at once, too. The console script ends without an
exception, which could be lost: Python ignores those raised in callbacks, such as JAX's of the
garbage collector. Where Python called, such as a notebook, an exception leaves the process alive.
Where all is done and the process has only to clear up, signals change nothing.

Of several processes any may get the signal: all stop after the same step, or end at once.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from jaxseg.commands.stop import SharedStop, Stop, open_stop

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal that is not deferred, or the second; `status` is the exit status, 128 + its number.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class _Handler:
    """What is installed for all `NUMBERS`."""

    def __init__(self, *, exits: bool):
        self.received: int | None = None
        self.stop: Stop | None = None  # while signals are deferred
        self.ending, self.exits = False, exits
        self.exit = os._exit  # of several processes another function, which ends all of them

    def __call__(self, number: int, frame: object):
        if self.received is not None:
            if not self.exits and not isinstance(self.stop, SharedStop):
                raise Interrupted(number)
            self.exit(128 + number)
        self.received = number
        if self.ending:
            return
        if self.stop is None and self.exits:
            with contextlib.suppress(RuntimeError):  # the signal may have interrupted a print
                sys.stdout.flush()
            os.write(2, f'jaxseg: interrupted by {signal.Signals(number).name}\n'.encode())
            self.exit(128 + number)
        if self.stop is None:
            raise Interrupted(number)
        if self.stop.request():
            # Not print: the signal may have interrupted one.
            os.write(2, b'\nstopping after this step; a second signal stops at once and loses it\n')


_handler: _Handler | None = None


@contextlib.contextmanager
def signals_handled(*, exits: bool = False) -> Iterator[_Handler | None]:
    """Installs the handler in the main thread; yields None in others, which get no signals.

    With `exits` a signal that is not deferred, or a second one, ends the process instead of raising
    `Interrupted`, and at the end signals are ignored: the process has only to clear up, which they
    would disturb.
    """
    global _handler
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    if _handler is not None:
        yield _handler
        return
    _handler = _Handler(exits=exits)
    before = {number: signal.signal(number, _handler) for number in NUMBERS}
    try:
        yield _handler
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if exits else handler)
        _handler = None


@contextlib.contextmanager
def stop_deferred() -> Iterator[Stop]:
    """While open, the first signal only requests the stop that is yielded."""
    with signals_handled() as handler, contextlib.closing(open_stop()) as stop:
        if handler is None:
            yield stop
            return
        handler.stop = stop
        try:
            yield stop
        finally:
            # The console script has only to print how the run ended, with the status of that.
            handler.stop, handler.ending = None, handler.exits
