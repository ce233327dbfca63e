"""Configs: from a file or a work directory, with overrides from the command line."""

import ast
import contextlib
import copy
import importlib.util
import json
import os
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxseg.commands.paths import path_argument
from jaxseg.errors import InputError

# Accepted in any case, as in shell scripts.
LITERALS = {'true': 'True', 'false': 'False', 'none': 'None'}
# Modules whose classes are dtypes, which configs name by text.
DTYPES = ('numpy', 'jax.numpy', 'ml_dtypes')


def from_file(path: str) -> dict[str, Any]:
    """What `get_config()` of an experiment file returns, as plain values.

    Raises:
      InputError: no such file, an error in it, no `get_config`, or a value that is not plain.
    """
    file = path_argument(path, '--config')
    if not file.is_file():
        raise InputError(f'--config={path}: no such file; '
                         f'give an experiment such as experiments/shapes/recurrent.py')
    if file.suffix != '.py':
        raise InputError(f'--config={path}: not a Python file; '
                         f'an experiment is a .py file that defines get_config()')
    # An experiment may import another one as `experiments.folder.file`.
    for parent in file.resolve().parents:
        if parent.name == 'experiments' and str(parent.parent) not in sys.path:
            sys.path.append(str(parent.parent))
    spec = importlib.util.spec_from_file_location('jaxseg_experiment', file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    except (Exception, SystemExit, GeneratorExit) as error:
        reason = (str(error).splitlines() or [''])[0]
        raise InputError(f'--config={path}: {type(error).__name__}: {reason}; '
                         f'the file must run, and define get_config()'
                         ) from error
    if not isinstance(config, (ConfigDict, Mapping)):
        raise InputError(f'--config={path}: get_config() returned {type(config).__name__}, '
                         f'expected a ConfigDict')
    return plain(config)


def plain(config: Any) -> dict[str, Any]:
    """A config as dicts, lists, numbers, strings, bools and None only, as JSON holds them.

    Paths become strings, and scalars of NumPy numbers of Python.

    Raises:
      InputError: a value or a name is something else, or the config contains itself.
    """
    try:
        values = _plain(config, 'config')
    except RecursionError:
        raise InputError('config: contains itself, or nests too deeply; '
                         'a config holds plain values only') from None
    return json.loads(json.dumps(values))


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, (ConfigDict, Mapping)):
        wrong = [name for name in value if not isinstance(name, (str, int))]
        if wrong:
            raise InputError(f'{key}: {wrong[0]!r} is no name of a key; give a string')
        return {name: _plain(item, f'{key}.{name}') for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f'{key}.{index}') for index, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (bool, int, float, str, types.NoneType)):
        raise InputError(f'{key}: {_not_plain(value)}')
    return value


def _not_plain(value: Any) -> str:
    """What is wrong with a value that is not plain, and what to write instead."""
    name, module = (getattr(value, attribute, None) for attribute in ('__qualname__', '__module__'))
    if not callable(value) or name is None:
        return (f'a value of type {type(value).__name__} is not plain; a config holds numbers, '
                f'strings, lists and dicts, and names parts by their type')
    if isinstance(value, type) and module in DTYPES:
        return f'the class {name} is not plain; name the dtype as text, {name!r}'
    problem = f'the {"class" if isinstance(value, type) else "function"} {name} is not plain'
    if module is None or not name.isidentifier():
        return (f"{problem}; define it at the top level of a module that can be imported, and name "
                f"it as text, type='module:name'")
    own = module.startswith('jaxseg.')
    text = f'{module.rpartition(".")[2]}.{name}' if own else f'{module}:{name}'
    return f'{problem}; name it as text, type={text!r}'


def override(config: Mapping[str, Any], arguments: Sequence[str], prefix: str = '--config.'
             ) -> dict[str, Any]:
    """A copy of the config with `--config.key.subkey=value` applied.

    Values are Python literals or JSON; anything else is a string. A key or a group that the config
    does not have is added, so that any field of a part can be set; `jaxseg.build` checks its name
    and type.

    Raises:
      InputError: no value, a parent that is not a dict, or a value of another type than before.
    """
    result = copy.deepcopy(dict(config))
    for argument in arguments:
        name, equals, text = argument.removeprefix(prefix).partition('=')
        if not equals:
            raise InputError(f'{prefix}{name}: no value; write {prefix}{name}=VALUE')
        *parents, key = name.split('.')
        place: Any = result
        for depth, parent in enumerate(parents, 1):
            if isinstance(place, dict):
                place.setdefault(parent, {})
            _check_index(place, parent, f'{prefix}{name}')
            place = _items(place)[parent]
            if not isinstance(place, (dict, list)):
                group = f'{prefix}{".".join(parents[:depth])}'
                raise InputError(f'{prefix}{name}: {group.lstrip("-")} is {place!r}, and no group; '
                                 f"give it as a whole: {group}='{{...}}'")
        _assign(place, key, text, f'{prefix}{name}')
    return result


def difference(old: Mapping, new: Mapping, prefix: str = '') -> dict[str, tuple[Any, Any]]:
    """`{dotted key: (old value, new value)}` of all that differs."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in {**old, **new}:
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found.update(difference(a, b, f'{prefix}{key}.'))
        elif a != b:
            found[f'{prefix}{key}'] = (a, b)
    return found


def _items(place: dict | list) -> dict[str, Any]:
    """The values of a group by name, of a list by index."""
    return place if isinstance(place, dict) else {str(i): item for i, item in enumerate(place)}


def _check_index(place: dict | list, key: str, argument: str):
    if isinstance(place, list) and key not in _items(place):
        raise InputError(f'{argument}: {key!r} is not an index of this list; '
                         f'give 0 to {len(place) - 1}')


def _assign(place: dict | list, key: str, text: str, argument: str):
    _check_index(place, key, argument)
    if isinstance(place, list):
        place[int(key)] = _typed(place[int(key)], text, argument)
    else:
        place[key] = _typed(place.get(key), text, argument)


def _literal(text: str) -> Any:
    """A Python literal, a JSON object or list, or else the text itself."""
    read = [lambda: ast.literal_eval(LITERALS.get(text.lower(), text))]
    if text.startswith(('{', '[')):
        read.append(lambda: json.loads(text))
    for attempt in read:
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return attempt()
    return text


def _typed(before: Any, text: str, argument: str) -> Any:
    value = _literal(text)
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(before, str) and not isinstance(value, str) and value is not None:
        value = text  # A folder called 2024 is still a folder.
    if isinstance(before, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if before is not None and value is not None and type(value) is not type(before):
        raise InputError(f'{argument}={text}: expected {type(before).__name__}, such as {before!r}')
    return value
