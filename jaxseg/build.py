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
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxseg.errors import InputError

ROOMS = {
    'data': 'data', 'transforms': 'data', 'model': 'models', 'encoder': 'encoders', 'context': 'context',
    'decoder': 'decoders', 'auxiliary': 'decoders', 'losses': 'losses', 'optimizer': 'training', 'schedule': 'training',
}
# What tells such parts from the other symbols of their room; the parts of the remaining keys are modules that are called.
_MARKS: dict[str, Callable[[Any], bool]] = {
    'data': lambda symbol: hasattr(symbol, 'source'),
    'encoder': lambda symbol: hasattr(symbol, 'stride'),
    'losses': lambda symbol: 'logits' in _parameters(symbol),
    'optimizer': lambda symbol: symbol.__module__.endswith('.optimizer') and 'schedule' in _parameters(symbol),
    'schedule': lambda symbol: symbol.__module__.endswith('.schedule'),
}


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
    kind = next((word for word in (key.split('.')[-1], key.split('.')[0]) if word in ROOMS), '')
    if ':' in name:
        module_name, _, symbol_name = name.partition(':')
        module = _import_theirs(key, module_name)
    else:
        if not kind:
            raise InputError(f'{key}: no room of jaxseg holds such parts; rooms are for {", ".join(ROOMS)}')
        room = ROOMS[kind]
        file, _, symbol_name = name.partition('.')
        if file not in _files(room):
            raise InputError(f'{key} {name!r}: there is no jaxseg/{room}/{file}.py; {nearest(name, _parts(kind))}')
        module = importlib.import_module(f'jaxseg.{room}.{file}')
    symbol = getattr(module, symbol_name, None)
    if not callable(symbol):
        known = _defined(module) if ':' in name else _parts(kind)
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


def _parts(kind: str) -> list[str]:
    """Every `file.Symbol` of a room that can be such a part. Imports the whole room, so it is for error messages only."""
    modules = {file: importlib.import_module(f'jaxseg.{ROOMS[kind]}.{file}') for file in _files(ROOMS[kind])}
    is_part = _MARKS.get(kind, _makes_callables)
    return [f'{file}.{name}' for file, module in modules.items() for name in _defined(module) if is_part(vars(module)[name])]


def _makes_callables(symbol: Any) -> bool:
    return isinstance(symbol, type) and any('__call__' in vars(base) for base in symbol.__mro__)


def _defined(module) -> list[str]:
    return [name for name, value in vars(module).items()
            if callable(value) and not name.startswith('_') and getattr(value, '__module__', '') == module.__name__]


def _parameters(symbol: Callable) -> dict[str, inspect.Parameter]:
    """The parameters of a part, with annotations that are strings resolved where they can be."""
    try:
        hints = typing.get_type_hints(symbol)
    except Exception:  # A user's annotation may name what only a type checker imports; it is then not checked.
        hints = {}
    linen = hasattr(symbol, 'scope')  # Linen adds two fields of its own to every module
    return {name: p.replace(annotation=hints.get(name, p.annotation))
            for name, p in inspect.signature(symbol).parameters.items() if not (linen and name in ('parent', 'name'))}


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


def _check_type(key: str, value: Any, hint: Any):
    if not _fits(value, hint):
        # 'collections.abc.Sequence[int] | None' is 'Sequence[int] | None' to a reader.
        expected = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else re.sub(r'(\w+\.)+', '', str(hint))
        raise InputError(f'{key}: expected {expected}, got {value!r}')


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the annotated type: numbers, strings, None, lists, mappings and unions of these.

    Every other annotation is the part's own affair. A list may be a tuple, and an int that is the key of a mapping may be
    a string: so it comes back from JSON.
    """
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin in (int, float):
        return isinstance(value, (int, origin)) and not isinstance(value, bool)
    if origin in (bool, str, types.NoneType):
        return isinstance(value, origin)
    if origin in (tuple, list, Sequence):
        return isinstance(value, (list, tuple)) and _items_fit(value, origin, arguments)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and (not arguments or all(
            _key_fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in value.items()))
    return True


def _items_fit(values: Sequence, origin: Any, hints: tuple) -> bool:
    """`tuple[int, str]` says the type of each item, `tuple[int, ...]` and `Sequence[int]` that of all."""
    if origin is tuple and hints and hints[-1] is not ...:
        return len(values) == len(hints) and all(map(_fits, values, hints))
    return not hints or all(_fits(value, hints[0]) for value in values)


def _key_fits(key: Any, hint: Any) -> bool:
    return _fits(key, hint) or (hint is int and isinstance(key, str) and key.removeprefix('-').isdecimal())
