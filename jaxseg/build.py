"""The only place that turns a config entry into an object.

An entry is a dict with a `type`: `'file.Symbol'` inside the room that the entry's key names (`encoder=dict(type='resnet.ResNet',
depth=18)` is `jaxseg/encoders/resnet.py: ResNet(depth=18)`), or `'package.module:Symbol'` for a part that lives in the user's code.
The other keys are the part's fields. Entries nest; lists become tuples.
"""

import difflib
import functools
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from jaxseg.errors import InputError

ROOMS = {
    'data': 'data', 'transforms': 'data', 'model': 'models', 'encoder': 'encoders', 'context': 'context',
    'decoder': 'decoders', 'auxiliary': 'decoders', 'losses': 'losses', 'optimizer': 'training', 'schedule': 'training',
}
_SIMPLE = {'int': int, 'float': (int, float), 'bool': bool, 'str': str}


def build(key: str, entry: Any, **given: Any) -> Any:
    """The object that a config entry describes.

    Args:
      key: the entry's key in the config, possibly with its parents (`'model.encoder'`); its last word names the room.
      entry: `{'type': ..., field: value, ...}`, or a list of such.
      given: fields that the caller knows and no config says, such as the number of classes. They reach every nested part
        that has a field of that name, too.

    Raises:
      InputError: an unknown room, file, symbol or field (with the nearest known one), a missing field, a wrong type.
    """
    if isinstance(entry, (list, tuple)):
        return tuple(build(key, item, **given) for item in entry)
    symbol, fields = _part(key, entry, given)
    _check(key, entry['type'], fields, given, _parameters(symbol))
    return symbol(**fields, **given)


def build_function(key: str, entry: Any) -> Callable:
    """The function that an entry names, with the entry's fields bound to its keyword-only options."""
    symbol, fields = _part(key, entry, {})
    options = {name: p for name, p in _parameters(symbol).items() if p.kind is p.KEYWORD_ONLY}
    _check(key, entry['type'], fields, {}, options)
    return functools.partial(symbol, **fields)


def build_losses(entries: Any) -> Any:
    """`{name: {'type': ..., 'weight': ..., options}}` as one weighted sum of named losses."""
    if not isinstance(entries, Mapping) or not entries or 'type' in entries:
        raise InputError(f'losses: expected named losses, such as losses.cross_entropy = '
                         f"{{'type': 'cross_entropy.cross_entropy', 'weight': 1.0}}, got {entries!r}")
    terms = {}
    for name, entry in entries.items():
        options = dict(entry) if isinstance(entry, Mapping) else entry
        weight = options.pop('weight', 1.0) if isinstance(entry, Mapping) else 1.0
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise InputError(f'losses.{name}.weight: expected a number, got {weight!r}')
        terms[name] = (float(weight), build_function(f'losses.{name}', options))
    return importlib.import_module('jaxseg.losses.weighted').WeightedSum(terms)


def check_call(function: Callable, arguments: Mapping, where: str):
    """Raises InputError unless `arguments` fit the signature of `function`: names, missing ones, simple types."""
    _check(where, function.__name__, arguments, {}, _parameters(function))


def nearest(name: str, known) -> str:
    """`'Did you mean X? '` or nothing, then the list of what is known."""
    known = sorted(map(str, known))
    lower = {item.lower(): item for item in known}
    match = difflib.get_close_matches(str(name).lower(), lower, 1, 0.6)
    return (f'did you mean {lower[match[0]]!r}? ' if match else '') + f'known: {", ".join(known)}'


def _part(key: str, entry: Any, given: Mapping) -> tuple[Callable, dict]:
    """The symbol that an entry names, and its fields with nested entries built."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get('type'), str):
        raise InputError(f"{key}: expected an entry with a type, such as {{'type': 'file.Symbol', ...}}, got {entry!r}")
    symbol = _symbol(key, entry['type'])
    return symbol, {name: _value(f'{key}.{name}', value, given) for name, value in entry.items() if name != 'type'}


def _value(key: str, value: Any, given: Mapping) -> Any:
    """A field's value: nested entries built, lists turned into tuples."""
    if isinstance(value, Mapping):
        return _nested(key, value, given) if 'type' in value else dict(value)
    if isinstance(value, (list, tuple)):
        return tuple(_value(key, item, given) for item in value)
    return value


def _nested(key: str, entry: Mapping, given: Mapping) -> Any:
    """A part inside another: of what is given, it gets what it has a field for."""
    symbol, fields = _part(key, entry, given)
    parameters = _parameters(symbol)
    taken = {name: value for name, value in given.items() if name in parameters}
    _check(key, entry['type'], fields, taken, parameters)
    return symbol(**fields, **taken)


def _symbol(key: str, name: str) -> Callable:
    words = key.split('.')
    room = ROOMS.get(words[-1]) or ROOMS.get(words[0])
    if ':' in name:
        module_name, _, symbol_name = name.partition(':')
        module = _import_theirs(key, module_name)
    else:
        if room is None:
            raise InputError(f'{key}: no room of jaxseg holds such parts; rooms are for {", ".join(ROOMS)}')
        file, _, symbol_name = name.partition('.')
        files = _files(room)
        if file not in files:
            raise InputError(f'{key} {name!r}: there is no jaxseg/{room}/{file}.py; {nearest(name, _parts(room))}')
        module = importlib.import_module(f'jaxseg.{room}.{file}')
    symbol = getattr(module, symbol_name, None)
    if not callable(symbol):
        known = _defined(module) if ':' in name else _parts(room)
        raise InputError(f'{key} {name!r}: {module.__name__} does not define {symbol_name!r}; '
                         f'{nearest(symbol_name if ":" in name else name, known)}')
    return symbol


def _import_theirs(key: str, name: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f'{key}: cannot import {name!r} ({error}); is its folder on PYTHONPATH?') from None


def _files(room: str) -> list[str]:
    spec = importlib.util.find_spec(f'jaxseg.{room}')
    return sorted(found.name for found in pkgutil.iter_modules(spec.submodule_search_locations))


def _parts(room: str) -> list[str]:
    """Every `file.Symbol` of a room. Imports the whole room, so it is for error messages only."""
    modules = {file: importlib.import_module(f'jaxseg.{room}.{file}') for file in _files(room)}
    return [f'{file}.{name}' for file, module in modules.items() for name in _defined(module)]


def _defined(module) -> list[str]:
    return [name for name, value in vars(module).items()
            if callable(value) and not name.startswith('_') and getattr(value, '__module__', '') == module.__name__]


def _parameters(symbol: Callable) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(symbol).parameters
    linen = hasattr(symbol, 'scope')  # Linen adds two fields of its own to every module
    return {name: p for name, p in parameters.items() if not (linen and name in ('parent', 'name'))}


def _check(key: str, part: str, fields: Mapping, given: Mapping, parameters: Mapping[str, inspect.Parameter]):
    known = [name for name in parameters if name not in given]
    for name, value in fields.items():
        if name in given:
            raise InputError(f'{key}.{name}: {part} gets this from elsewhere in the run; remove the key')
        if name not in parameters:
            raise InputError(f'{key}.{name}: {part} has no field {name!r}; {nearest(name, known)}')
        _check_type(f'{key}.{name}', value, parameters[name].annotation)
    missing = [name for name, p in parameters.items()
               if p.default is p.empty and name not in fields and name not in given]
    if missing:
        raise InputError(f'{key}: {part} needs {", ".join(missing)}; add {key}.{missing[0]} to the config')


def _check_type(key: str, value: Any, annotation: Any):
    """Holds fields annotated with int, float, bool or str to their type; other annotations are the part's own affair."""
    name = annotation if isinstance(annotation, str) else getattr(annotation, '__name__', '')
    if name not in _SIMPLE:
        return
    wrong_bool = isinstance(value, bool) and name != 'bool'
    if wrong_bool or not isinstance(value, _SIMPLE[name]):
        raise InputError(f'{key}: expected {name}, got {value!r}')
