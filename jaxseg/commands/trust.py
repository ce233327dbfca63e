"""Which code a work directory may run: the library's own, unless the user trusts more."""

import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jaxseg.errors import InputError


def foreign_packages(config: Any) -> list[str]:
    """The packages outside of jaxseg that the parts of a config come from, sorted."""
    return sorted({_package(name) for _, name in _foreign_types(config, 'config')})


def check_trusted(config: Mapping[str, Any], trust: Collection[str], path: pathlib.Path):
    """Raises InputError if a config names a part of a package that is not in `trust`.

    Importing a module runs it, whatever it holds: so this comes before anything is built.

    Args:
      trust: names of packages or modules; one trusts all that is in it.
      path: the file of the config.
    """
    for key, name in _foreign_types(config, 'config'):
        module, package = name.partition(':')[0], _package(name)
        if not any(module == known or module.startswith(f'{known}.') for known in trust):
            raise InputError(
                f"{path}: {key} is {name!r}, and to use it would run code from outside of jaxseg; "
                f"if you trust it add --trust={package}, in Python trust=['{package}']")


def _foreign_types(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Key and name of every part that is not in jaxseg itself: `'package.module:Symbol'`."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name == 'type' and isinstance(item, str) and ':' in item:
                yield f'{key}.type', item
            yield from _foreign_types(item, f'{key}.{name}')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _foreign_types(item, f'{key}.{index}')


def _package(name: str) -> str:
    return name.partition(':')[0].partition('.')[0]
