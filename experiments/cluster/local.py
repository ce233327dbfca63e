"""Several processes on one machine, to try a run before it goes to a cluster.

    python -m experiments.cluster.local --processes=2 -- \
        train --config=experiments/shapes/convolutional.py --workdir=/tmp/run

Every process is `jaxseg ARGUMENTS` with the options of several processes. The output is that of
process 0; errors come from all. Ctrl-C and SIGTERM go to all processes, which save and stop after
the same step. Where one ends with a status that is not 0, the others, which it tells, have `GRACE`
seconds to end; the status is that of the first that ended so.

On CPU the processes share the cores. With GPUs, give each process its own: JAX_LOCAL_DEVICE_IDS or
CUDA_VISIBLE_DEVICES may be set by `--environment=CUDA_VISIBLE_DEVICES={process}`.
"""

import argparse
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

GRACE = 20.0  # seconds
POLL = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command in several processes and returns its status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--processes', type=int, required=True)
    parser.add_argument('--environment', action='append', default=[], metavar='NAME=VALUE',
                        help='variable of every process; {process} is its number')
    parser.add_argument('arguments', nargs='+', help='of jaxseg, after --')
    given = parser.parse_args(argv)
    started = start(given.processes, given.arguments, given.environment)

    def forward(number: int, frame: object):
        for process in started:
            process.send_signal(number)  # nothing where it has ended

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    return wait(started)


def start(count: int, arguments: Sequence[str], environment: Sequence[str] = (),
          **options: object) -> list[subprocess.Popen]:
    """Starts `jaxseg ARGUMENTS` in so many processes; `options` are those of `Popen` for the first.

    Each is in a session of its own: Ctrl-C in a terminal would reach it twice, the second time to
    end it at once.
    """
    address, started = f'127.0.0.1:{free_port()}', []
    for process in range(count):
        changed = dict(item.format(process=process).split('=', 1) for item in environment)
        command = [sys.executable, '-m', 'jaxseg', *arguments, f'--coordinator={address}',
                   f'--processes={count}', f'--process={process}']
        output = options if process == 0 else {**options, 'stdout': subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env={**os.environ, **changed},
                                        start_new_session=True, **output))
    return started


def wait(started: Sequence[subprocess.Popen], limit: float = math.inf) -> int:
    """Waits until all have ended; kills those that are left `GRACE` seconds after a failure.

    Args:
      limit: seconds after which all are killed.
    """
    failed, deadline = 0, time.monotonic() + limit
    while any(process.poll() is None for process in started):
        ends = [process.returncode for process in started if process.returncode]
        if ends and not failed:
            failed, deadline = ends[0], time.monotonic() + GRACE
        if time.monotonic() > deadline:
            for process in started:
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            next(process for process in started if process.returncode is None).wait(POLL)
    failed = failed or next((process.returncode for process in started if process.returncode), 0)
    return failed if failed >= 0 else 128 - failed


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


if __name__ == '__main__':
    sys.exit(main())
