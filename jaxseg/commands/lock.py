"""One training at a time in a work directory."""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from jaxseg.errors import InputError, printable
from jaxseg.processes import gathered, is_first

# Of file systems that know no locks, such as some network ones: there nobody is kept out, but told.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Holds the lock of a work directory, which is made if it does not exist.

    Of several processes of one run the first holds it for all. The operating system drops the lock
    when the process ends, however it ends: none is ever stale.

    Raises:
      InputError: another process holds it.
    """
    if not is_first():
        gathered(None)
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / 'train.lock', 'a+', encoding='utf-8', errors='replace',
              opener=_open_no_link) as file:
        _acquire(file, workdir)
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}')
        file.flush()
        gathered(None)  # the others wait until it is held
        yield


def _open_no_link(path: str, flags: int) -> int:
    """A link, in a folder from somebody else, would lead the writing to any other file."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _acquire(file: TextIO, workdir: pathlib.Path):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f'--workdir={workdir}: {_holder(file)} trains there; wait until it ends, '
                         f'stop it, or give another --workdir') from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        print(printable(f'--workdir={workdir} cannot be locked ({error.strerror}): make sure that '
                        f'no other training runs there'), file=sys.stderr, flush=True)


def _holder(file: TextIO) -> str:
    """What holds the lock, which may need a moment after it to say so."""
    for _ in range(20):
        file.seek(0)
        if text := file.read(200):
            return text
        time.sleep(0.1)
    return 'another process'
