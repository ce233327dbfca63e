"""The paths that a config or a command line names."""

import os
import pathlib
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from jaxseg.errors import InputError

# The libraries that write checkpoints read these as patterns: no checkpoint would be found again.
PATTERN_CHARACTERS = '[]*?'
# An administrator may write here, but cannot make files.
SYSTEM_FOLDERS = ('/proc', '/sys')
PAGE_SUFFIXES = ('.html', '.htm')
# Fields of parts that are paths, by key of the config.
PATH_KEYS = {'data': ('root', 'directory'), 'pretrained': ('path',)}


def expanded(path: str | os.PathLike) -> pathlib.Path:
    """A path with the home folder for `~`, which shells leave as it is in `--workdir=~/run`."""
    return pathlib.Path(os.path.expanduser(path))


def path_argument(text: str | os.PathLike, argument: str) -> pathlib.Path:
    """A path from the command line, or from Python; `~` is the home folder.

    Raises:
      InputError: an empty text, which would be the current folder, or no path of this system: a
        name that is too long, a null character, links in a circle.
    """
    if not str(text).strip():
        raise InputError(f'{argument}: empty; give a path, or . for the current folder')
    path = expanded(text)
    _check_path(path, f'{argument}={text}')
    return path


def is_local(path: Any) -> bool:
    """Whether the value of a key that names a path is one of this machine, not an address."""
    return isinstance(path, str) and bool(path) and '://' not in path


def check_folder(path: pathlib.Path, argument: str, shown: str = ''):
    """Raises InputError unless `path` is a folder that takes files, or can become one.

    Args:
      shown: how the message names what was given, by default `argument=path`.
    """
    absolute, shown = path.absolute(), shown or f'{argument}={path}'
    existing = next(place for place in (absolute, *absolute.parents) if os.path.lexists(place))
    if not existing.is_dir():
        kind = 'a file' if existing.exists() else 'a broken link'
        raise InputError(f'{shown}: {existing} is {kind}; '
                         f'give a folder, which is made if it does not exist')
    system = any(existing.is_relative_to(folder) for folder in SYSTEM_FOLDERS)
    if system or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f'{shown}: {existing} cannot be written; '
                         f'give another folder, or change its permissions')
    # The system looks at a name only where the folder before it exists.
    for name in absolute.relative_to(existing).parts:
        _check_path(existing / name, shown)


def check_file(path: pathlib.Path, argument: str):
    """Raises InputError unless `path` can become a file; its folder need not exist."""
    if path.is_dir():
        raise InputError(f'{argument}={path} is a folder; give a file in it')
    check_folder(path.parent, argument)


def _check_path(path: str | pathlib.Path, shown: str):
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise InputError(f'{shown}: {reason}; give another path') from None


def page_path(text: str | pathlib.Path, argument: str) -> pathlib.Path:
    """The path of a page that is written.

    Raises:
      InputError: no name of an HTML file, a folder, or one in a place that cannot be written.
    """
    path = path_argument(str(text), argument)
    if path.suffix.lower() not in PAGE_SUFFIXES:
        raise InputError(f'{argument}={path}: a page is a file named .html; give '
                         f'{path.with_suffix(".html") if path.name else "report.html"}')
    if path.is_dir():
        raise InputError(f'{argument}={path}: is a folder; give a file, such as '
                         f'{path / "report.html"}')
    check_folder(path.parent, argument, f'{argument}={path}')
    return path


def check_workdir(path: pathlib.Path):
    """Raises InputError unless `path` is a folder in which a run can save its checkpoints."""
    found = sorted(set(str(path.absolute())) & set(PATTERN_CHARACTERS))
    if found:
        raise InputError(f'--workdir={path}: contains {" ".join(found)}, and no checkpoint could '
                         f'be read back; give a path without {" ".join(PATTERN_CHARACTERS)}')
    check_folder(path, '--workdir')


def command(subcommand: str, *, trust: Iterable[str] = (), **arguments: str | pathlib.Path) -> str:
    """A command line of this program that can be pasted."""
    named = [*arguments.items(), *(('trust', package) for package in trust)]
    flags = [f'--{name}={shlex.quote(str(value))}' for name, value in named]
    return ' '.join(['jaxseg', subcommand, *flags])


def with_absolute_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The config with absolute paths, so that a work directory can be used from anywhere."""
    return {**config, **{part: _absolute(config[part], keys) for part, keys in PATH_KEYS.items()
                         if isinstance(config.get(part), Mapping)}}


def _absolute(entry: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """An entry with absolute paths under these keys, those of nested entries, too."""
    return {key: os.path.abspath(os.path.expanduser(value)) if key in keys and is_local(value)
            else _absolute(value, keys) if isinstance(value, Mapping) and 'type' in value
            else value for key, value in entry.items()}
