"""Compiled programs are kept on the disk, for the next start of the command line."""

import contextlib
import hashlib
import importlib
import os
import pathlib
import re
import stat
import warnings
from typing import Any

# What JAX says of an entry that it cannot read, with the name of the program, or cannot write.
UNREADABLE = re.compile(r"Error reading persistent compilation cache entry for '([\w.-]+)'")
UNWRITABLE = 'Error writing persistent compilation cache'


def import_jax():
    """Imports JAX so that reading compiled programs is silent."""
    if 'gds' in _cpu('bugs').split():
        # For these Intel processors XLA compiles with a preference of LLVM that it then takes for
        # an unknown instruction set: one line of error for every program read (jax issue 38445).
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    importlib.import_module('jax')


def use_compilation_cache():
    """Lets JAX keep what takes a second or more to compile; devices are known by then.

    The folder is that of `cache_folder`. JAX's own settings come first: the environment variable
    `JAX_COMPILATION_CACHE_DIR` names another folder, and an empty one, or
    `JAX_ENABLE_COMPILATION_CACHE=false`, turns the cache off. It stays off where the folder cannot
    be written, or where others could write to it, as JAX runs what it finds there; and for several
    processes, which may have folders of their own: those that find nothing there would compile, and
    wait for the others to share what they measure.

    An entry that is damaged, as by a kill or a full disk, is deleted and made again: JAX itself
    never replaces an entry, and would compile again at every start.
    """
    jax = importlib.import_module('jax')
    folder = cache_folder()
    if (jax.config.jax_compilation_cache_dir is not None or jax.process_count() > 1
            or folder is None or not _is_ours(folder)):
        return
    jax.config.update('jax_compilation_cache_dir', str(folder))
    warnings.filterwarnings('ignore', UNWRITABLE)
    show = warnings.showwarning

    def delete_damaged(message: Warning | str, *where: Any, **more: Any):
        found = UNREADABLE.match(str(message))
        if not found:
            show(message, *where, **more)
            return
        for path in folder.glob(f'{found[1]}-*'):
            path.unlink(missing_ok=True)

    warnings.showwarning = delete_damaged


def cache_folder() -> pathlib.Path | None:
    """Where programs are kept unless JAX is told otherwise; None without a home.

    In `XDG_CACHE_HOME`, `~/.cache` where that is not set. Machines that share a home and have
    different processors have folders of their own: a program of one may crash on the other.
    """
    cache = os.environ.get('XDG_CACHE_HOME', '')
    if not os.path.isabs(cache):  # as the XDG Base Directory Specification has it
        cache = os.path.expanduser('~/.cache')
    if not os.path.isabs(cache):
        return None
    processor = hashlib.sha256((_cpu('flags') or _cpu('Features')).encode()).hexdigest()[:8]
    return pathlib.Path(cache) / 'jaxseg' / 'compiled' / f'{os.uname().machine}-{processor}'


def _cpu(field: str) -> str:
    """A field of the first processor in Linux's list of them; empty elsewhere."""
    with contextlib.suppress(OSError):
        text = pathlib.Path('/proc/cpuinfo').read_text()
        found = re.search(rf'^{field}\s*:(.*)$', text, re.MULTILINE)
        return found[1].strip() if found else ''
    return ''


def _is_ours(folder: pathlib.Path) -> bool:
    """Whether the folder, made if it does not exist, can be written by this user alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except OSError:
        return False
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return os.access(folder, os.W_OK | os.X_OK) and found.st_uid == os.geteuid() and not shared
