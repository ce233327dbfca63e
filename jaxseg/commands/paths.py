"""Checks of the paths that a command line names."""

import os
import pathlib
import shlex

from jaxseg.errors import InputError

# The libraries that write checkpoints read these as patterns: no checkpoint would be found again.
PATTERN_CHARACTERS = '[]*?'


def path_argument(text: str, argument: str) -> pathlib.Path:
    """A path from the command line.

    Raises:
      InputError: an empty text, which would be the current folder.
    """
    if not str(text).strip():
        raise InputError(f'{argument}: empty; give a path, or . for the current folder')
    return pathlib.Path(text)


def check_folder(path: pathlib.Path, argument: str):
    """Raises InputError unless `path` is a folder that takes files, or can become one."""
    try:
        existing = next(place for place in (path.absolute(), *path.absolute().parents)
                        if place.exists())
    except OSError as error:
        raise InputError(f'{argument}={path}: {error.strerror}; give another folder') from None
    if not existing.is_dir():
        raise InputError(f'{argument}={path}: {existing} is a file; '
                         f'give a folder, which is made if it does not exist')
    if not os.access(existing, os.W_OK | os.X_OK) or existing.is_relative_to('/proc'):
        raise InputError(f'{argument}={path}: {existing} cannot be written; '
                         f'give another folder, or change its permissions')


def check_workdir(path: pathlib.Path):
    """Raises InputError unless `path` is a folder in which a run can save its checkpoints."""
    found = sorted(set(str(path.absolute())) & set(PATTERN_CHARACTERS))
    if found:
        raise InputError(f'--workdir={path}: contains {" ".join(found)}, and no checkpoint could '
                         f'be read back; give a path without {" ".join(PATTERN_CHARACTERS)}')
    check_folder(path, '--workdir')


def command(subcommand: str, **arguments: str | pathlib.Path) -> str:
    """A command line of this program that can be pasted."""
    flags = [f'--{name}={shlex.quote(str(value))}' for name, value in arguments.items()]
    return ' '.join(['jaxseg', subcommand, *flags])
