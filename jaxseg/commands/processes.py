"""Several processes of one command: how they find each other, and how they end together."""

import argparse
import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from jaxseg.commands.stop import FOREVER, set_once
from jaxseg.errors import InputError, printable

# Subcommands that share their work; all others run in one process.
SUBCOMMANDS = ('train', 'evaluate', 'crossvalidate')
TIMEOUT = 300  # seconds until all processes must have started
GRACE = 5_000  # milliseconds that the first process, which hosts the service, waits for the others
LAST = 1.0  # seconds between the last word of a process and its end, at most
OPTIONS = ('coordinator', 'processes', 'process')
# Launchers: variables with the number of processes and the index of this one.
LAUNCHERS = {'Slurm': ('SLURM_STEP_NUM_TASKS', 'SLURM_PROCID'),
             'Open MPI': ('OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK')}
# Of a TPU slice: its hosts, with commas.
TPU_HOSTS = ('TPU_PROCESS_ADDRESSES', 'TPU_WORKER_HOSTNAMES')


def add_arguments(parser: argparse.ArgumentParser):
    """Adds the options of several processes."""
    group = parser.add_argument_group(
        'several processes', 'found by themselves under Slurm (srun), Open MPI and on TPU slices '
        'of GKE; elsewhere each process gets these three:')
    group.add_argument('--coordinator', metavar='HOST:PORT',
                       help='address of process 0, with a free port there')
    group.add_argument('--processes', type=int, metavar='N', help='their number')
    group.add_argument('--process', type=int, metavar='I', help='the number of this one, from 0')
    group.add_argument('--coordinator_timeout', type=int, default=TIMEOUT, metavar='SECONDS',
                       help=f'until all must have started (default: {TIMEOUT})')


class Group:
    """The processes of a command; one alone until `join` finds others.

    If one fails, all end with its status: a process that waits for another in a computation would
    wait forever. Only the first to fail prints, since an error of the input is found by all. All
    but the first process are silent otherwise.
    """

    def __init__(self, command: str):
        self._command, self._client = command, None
        self._index, self._count = 0, 1

    def join(self, arguments: argparse.Namespace, environment: Mapping[str, str]):
        """Connects the processes, before JAX looks for devices.

        Raises:
          InputError: an option is missing or wrong, or not all processes started in time.
        """
        place = _place(arguments, environment)
        if place['num_processes'] == 1:
            return
        import jax

        from jaxseg.processes import coordination

        self._index, self._count = place['process_id'], place['num_processes']
        # Its handler would take the place of ours, and wait for training steps in all commands.
        jax.config.update('jax_enable_preemption_service', False)
        seconds = arguments.coordinator_timeout
        # What JAX does after its own timeout is an abort with a stack trace.
        timer = threading.Timer(seconds, self._give_up, (place, seconds))
        timer.daemon = True
        timer.start()
        try:
            jax.distributed.initialize(**place, initialization_timeout=2 * seconds + 60)
        except (RuntimeError, ValueError) as error:
            raise InputError(f'the {self._count} processes cannot be connected '
                             f'({str(error).splitlines()[0]}); {REMEDY}') from error
        finally:
            timer.cancel()
        self._client = coordination()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        if self._index:
            # Of libraries in C++, too, which print when they connect.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = sys.stdout

    def leave(self):
        """Waits until all processes are done, and disconnects them."""
        if self._client is None:
            return
        import jax

        self._client.wait_at_barrier('jaxseg/done', FOREVER)
        self._set(f'end/{self._index}', '')
        self._listener.join()
        self._client = None
        jax.distributed.shutdown()

    def fail(self, status: int, message: str):
        """Ends all processes, if there are several; prints the message where none failed before."""
        if self._client is None:
            return
        if self._set('failed', str(status)):
            print(f'jaxseg {self._command}: process {self._index}: {message}',
                  file=sys.__stderr__, flush=True)
        self.exit(status)

    def exit(self, status: int) -> NoReturn:
        """Ends all processes at once."""
        if self._client is not None:
            for process in set(range(self._count)) - {self._index}:
                self._set(f'end/{process}', str(status))
        self._exit(status)

    def _listen(self):
        with contextlib.suppress(RuntimeError):  # a service that is lost ends the process
            status = self._client.blocking_key_value_get(f'jaxseg/end/{self._index}', FOREVER)
            if status:
                self._exit(int(status))

    def _exit(self, status: int) -> NoReturn:
        """Ends this process; the first one after the others, which JAX aborts without it."""
        if self._client is not None:
            self._set(f'ended/{self._index}', '')
            others = range(1, self._count) if self._index == 0 else ()
            with contextlib.suppress(RuntimeError, OSError):
                sys.stdout.flush()
                for process in others:
                    self._client.blocking_key_value_get(f'jaxseg/ended/{process}', GRACE)
                if self._index == 0:
                    time.sleep(LAST)
        os._exit(status)

    def _set(self, key: str, value: str) -> bool:
        return set_once(self._client, f'jaxseg/{key}', value)

    def _give_up(self, place: Mapping[str, Any], seconds: int):
        """What a timer calls: the process is inside of JAX, where no exception reaches it."""
        address = place['coordinator_address'] or 'of the cluster'
        problem = (f'not all {self._count} processes started' if self._index == 0 else
                   f'the coordinator {address} did not answer, or not all processes started')
        print(printable(f'jaxseg {self._command}: process {self._index}: {problem} within '
                        f'{seconds} s; {REMEDY}'), file=sys.stderr, flush=True)
        os._exit(2)


REMEDY = ('start process 0 on the host of --coordinator and all others with the same --coordinator '
          'and --processes, let firewalls pass the port, or give more --coordinator_timeout')


def refuse_several(command: str, environment: Mapping[str, str]):
    """Raises InputError if a launcher started a command that runs in one process several times."""
    launcher, count, _ = _launched(environment)
    if count > 1:
        raise InputError(f'{launcher} started {count} processes, and jaxseg {command} runs in one; '
                         f'start it once, as with srun --ntasks=1')


def _place(arguments: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of `jax.distributed.initialize`; a `num_processes` of 1 means no others."""
    launcher, count, index = _launched(environment)
    given = {name: getattr(arguments, name) for name in OPTIONS
             if getattr(arguments, name) is not None}
    if arguments.coordinator_timeout < 1:
        raise InputError(f'--coordinator_timeout={arguments.coordinator_timeout}: give 1 or more '
                         f'seconds')
    missing = [name for name in OPTIONS if name not in given]
    # A launcher knows the number of processes and their indices.
    if given and missing and not (launcher and 'coordinator' in given and len(given) == 1):
        raise InputError(f'--{next(iter(given))} needs --{" and --".join(missing)}, too: several '
                         f'processes need all of --coordinator=HOST:PORT --processes=N --process=I')
    if 'processes' in given:
        count, index = given['processes'], given['process']
        if count < 1:
            raise InputError(f'--processes={count}: give 1 or more')
        if not 0 <= index < count:
            raise InputError(f'--process={index}: of {count} processes it is 0 to {count - 1}')
    address = given.get('coordinator')
    if address is not None:
        host, _, port = address.rpartition(':')
        if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise InputError(f'--coordinator={address}: expected HOST:PORT, such as node0:8476')
    place = {'coordinator_address': address, 'num_processes': count, 'process_id': index}
    # All that is given by hand needs no detection, which on Kubernetes asks for more packages.
    return place if launcher else {**place, 'cluster_detection_method': 'deactivate'}


def _launched(environment: Mapping[str, str]) -> tuple[str, int, int]:
    """Name of the launcher of this process, '' if there is none, number of processes, and index."""
    for name, (count, index) in LAUNCHERS.items():
        if environment.get(count, '').isdigit() and environment.get(index, '').isdigit():
            return name, int(environment[count]), int(environment[index])
    hosts = next((environment[name] for name in TPU_HOSTS if environment.get(name)), '')
    slices = int(environment.get('MEGASCALE_NUM_SLICES') or 1)
    count = len(hosts.split(',')) * slices
    if count == 1:
        return '', 1, 0
    each = count // slices
    index = int(environment.get('TPU_WORKER_ID') or 0)
    return 'GKE', count, index + each * int(environment.get('MEGASCALE_SLICE_ID') or 0)
