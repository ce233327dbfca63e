"""The only place that turns a config entry into an object.

An entry is a dict with a `type`: `'file.Symbol'` inside the package that the entry's key names
(`encoder=dict(type='resnet.ResNet', depth=18)` is `jaxseg/encoders/resnet.py: ResNet(depth=18)`),
or `'package.module:Symbol'` for a part in the user's code. The other keys are the part's fields.
Entries nest; lists become tuples.
"""

import functools
import importlib
import importlib.util
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxseg.errors import InputError
from jaxseg.fields import NonNegative, check_value, nearest

PACKAGES = {
    'data': 'data', 'transforms': 'data', 'preprocess': 'data',
    'augmentations': 'data', 'sampling': 'data',
    'model': 'models', 'encoder': 'encoders', 'context': 'context',
    'decoder': 'decoders', 'auxiliary': 'decoders', 'head': 'layers',
    'task': 'tasks', 'losses': 'losses',
    'algorithm': 'training', 'optimizer': 'training', 'schedule': 'training',
    'inference': 'inference', 'method': 'inference', 'pretrained': 'pretrained',
    'classifier': 'classical', 'pixel_features': 'classical',
}


def build(key: str, entry: Any, **given: Any) -> Any:
    """The object that a config entry describes.

    Args:
      key: the entry's key in the config, possibly with its parents (`'model.encoder'`); its last
        word names the package.
      entry: `{'type': ..., field: value, ...}`, or a list of such.
      given: values from the run instead of the config, such as the number of classes. Every part,
        nested ones too, receives those that it has a field for.

    Raises:
      InputError: an unknown package, file, symbol or field (with the nearest known one), a symbol
        of another kind than the key expects, a missing field, a wrong type or a value out of range.
    """
    if isinstance(entry, (list, tuple)):
        return tuple(_build_one(f'{key}.{index}', item, given) for index, item in enumerate(entry))
    return _build_one(key, entry, given)


def _build_one(key: str, entry: Any, given: Mapping) -> Any:
    symbol = _symbol(key, entry)
    parameters = fields_of(symbol)
    fields = _fields(key, entry, parameters, given)
    return symbol(**fields, **{name: value for name, value in given.items() if name in parameters})


def build_function(key: str, entry: Any) -> Callable:
    """The function that an entry names, with the entry's fields bound to its keyword options."""
    symbol = _symbol(key, entry)
    options = {name: p for name, p in fields_of(symbol).items()
               if p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD)}
    return functools.partial(symbol, **_fields(key, entry, options, {}))


def build_losses(entries: Any) -> Any:
    """`{name: {'type': ..., 'weight': ..., options}}` as one weighted sum of named losses.

    Raises:
      InputError: no losses, one without a type, a negative weight, or an error of
        `build_function`.
    """
    if not isinstance(entries, Mapping) or not entries or 'type' in entries:
        raise InputError(f'losses: expected named losses, such as losses.cross_entropy = '
                         f"{{'type': 'cross_entropy.cross_entropy', 'weight': 1.0}}, "
                         f'got {entries!r}')
    terms = {}
    for name, entry in entries.items():
        weight = 1.0
        if isinstance(entry, Mapping):
            weight = entry.get('weight', 1.0)
            entry = {key: value for key, value in entry.items() if key != 'weight'}
        check_value(f'losses.{name}.weight', weight, NonNegative)
        terms[name] = (float(weight), build_function(f'losses.{name}', entry))
    return importlib.import_module('jaxseg.losses.weighted').WeightedSum(terms)


def _fields(key: str, entry: Mapping, parameters: Mapping[str, inspect.Parameter],
            given: Mapping) -> dict[str, Any]:
    """The fields of an entry, checked, with nested entries built."""
    part, open_ended = entry['type'], any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = {name: p for name, p in parameters.items()
             if name not in given and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    fields = {}
    for name, value in entry.items():
        if name == 'type':
            continue
        if name in given and name in parameters:
            raise InputError(f'{key}.{name}: {part} receives this from elsewhere in the run; '
                             f'remove the key')
        if name not in known and not open_ended:
            raise InputError(f'{key}.{name}: {part} has no field {name!r}; '
                             f'{nearest(name, list(known))}')
        hint = known[name].annotation if name in known else Any
        fields[name] = _value(f'{key}.{name}', value, hint, given)
    missing = [name for name, p in known.items() if p.default is p.empty and name not in fields]
    if missing:
        raise InputError(f'{key}: {part} needs {", ".join(missing)}; '
                         f'add {key}.{missing[0]} to the config')
    return fields


def _value(key: str, value: Any, hint: Any, given: Mapping) -> Any:
    """A field's value: parts built, lists turned into tuples, all else checked by annotation."""
    name = key.rsplit('.', 1)[-1]
    optional = types.NoneType in typing.get_args(hint)
    if name in PACKAGES and not (value is None and optional):
        if isinstance(value, (list, tuple)) and not _takes_several(hint):
            raise InputError(f'{key}: expected one entry with a type, got a list: {value!r}')
        return build(key, value, **given)
    if isinstance(value, Mapping) and 'type' in value:
        raise InputError(f'{key}: an entry with a type, but no field that takes parts; '
                         f'those are {", ".join(PACKAGES)}')
    value = _plain(value)
    check_value(key, value, hint)
    return value


def _takes_several(hint: Any) -> bool:
    """Whether a field may hold a tuple of parts; without an annotation it may."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(map(_takes_several, typing.get_args(hint)))
    kind = typing.get_origin(hint) or hint
    return not isinstance(kind, type) or kind in (object, inspect.Parameter.empty) or issubclass(
        kind, Sequence)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _kind(key: str) -> str:
    """The word of a key that names a package: its last one that is no index, or its first one."""
    words = [word for word in key.split('.') if not word.isdecimal()]
    return next((word for word in (words[-1], words[0]) if word in PACKAGES), '')


def _symbol(key: str, entry: Any) -> Callable:
    """What an entry's `type` names, if it is a part of the kind that the key expects."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get('type'), str):
        raise InputError(f'{key}: expected an entry with a type, '
                         f"such as {{'type': 'file.Symbol', ...}}, got {entry!r}")
    kind, name = _kind(key), entry['type']
    if not kind:
        raise InputError(f'{key}: no package of jaxseg holds such parts; '
                         f'known keys: {", ".join(PACKAGES)}')
    if ':' in name:
        module_name, _, symbol_name = name.partition(':')
        module = _import_user_module(f'{key} {name!r}', module_name)
    else:
        file, _, symbol_name = name.partition('.')
        if file not in _files(PACKAGES[kind]):
            raise InputError(f'{key} {name!r}: there is no jaxseg/{PACKAGES[kind]}/{file}.py; '
                             f'{nearest(name, parts_of(kind))}')
        module = importlib.import_module(f'jaxseg.{PACKAGES[kind]}.{file}')
    symbol = vars(module).get(symbol_name)
    if not callable(symbol):
        known = _defined(module) if ':' in name else parts_of(kind)
        raise InputError(f'{key} {name!r}: {module.__name__} does not define {symbol_name!r}; '
                         f'{nearest(symbol_name if ":" in name else name, known)}')
    is_part, description = _KINDS[kind]
    imported = ':' not in name and symbol.__module__ != module.__name__
    if symbol_name.startswith('_') or imported or not is_part(symbol):
        known = '' if ':' in name else f'; {nearest(name, parts_of(kind))}'
        raise InputError(f'{key} {name!r}: {symbol_name} is not such a part; '
                         f'{kind} expects {description}{known}')
    return symbol


def _import_user_module(where: str, name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the user's file raises when it runs
        reason = (str(error).splitlines() or [''])[0]
        raise InputError(f'{where}: cannot import {name!r} ({type(error).__name__}: {reason}); '
                         f'is its folder on PYTHONPATH, and does the file run?') from error


def _files(package: str) -> list[str]:
    spec = importlib.util.find_spec(f'jaxseg.{package}')
    return sorted(found.name for found in pkgutil.iter_modules(spec.submodule_search_locations))


def parts_of(kind: str) -> dict[str, Callable]:
    """Every part of the library of this kind by its `file.Symbol`; it imports the whole package."""
    modules = {file: importlib.import_module(f'jaxseg.{PACKAGES[kind]}.{file}')
               for file in _files(PACKAGES[kind])}
    is_part, _ = _KINDS[kind]
    return {f'{file}.{name}': vars(module)[name] for file, module in modules.items()
            for name in _defined(module) if is_part(vars(module)[name])}


def _defined(module: types.ModuleType) -> list[str]:
    return [name for name, value in vars(module).items()
            if callable(value) and not name.startswith('_')
            and getattr(value, '__module__', '') == module.__name__]


def fields_of(symbol: Callable) -> dict[str, inspect.Parameter]:
    """The parameters of a part, with annotations that are strings resolved where they can be."""
    own_init = (isinstance(symbol, type) and '__init__' in vars(symbol)
                and not hasattr(symbol, '__dataclass_fields__'))
    try:
        hints = typing.get_type_hints(symbol.__init__ if own_init else symbol, include_extras=True)
    except Exception:  # The annotation may name what only a type checker imports: not checked then.
        hints = {}
    linen = hasattr(symbol, 'scope')  # Linen adds two fields of its own to every module
    return {name: p.replace(annotation=hints.get(name, p.annotation))
            for name, p in inspect.signature(symbol).parameters.items()
            if not (linen and name in ('parent', 'name'))}


def _takes(*names: str) -> Callable[[Any], bool]:
    """Whether a function has these parameters."""
    return lambda symbol: (inspect.isfunction(inspect.unwrap(symbol))
                           and set(names) <= set(inspect.signature(symbol).parameters))


def _is_schedule(symbol: Any) -> bool:
    """Whether a function takes `steps`, and all else by name."""
    function = inspect.isfunction(inspect.unwrap(symbol))  # as `jax.jit` returns it, too
    parameters = inspect.signature(symbol).parameters if function else {}
    positional = {name for name, p in parameters.items()
                  if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)}
    return 'steps' in parameters and positional <= {'steps'}


def _has(*names: str) -> Callable[[Any], bool]:
    """Whether a class that is not abstract has these methods, properties or fields."""
    return lambda symbol: isinstance(symbol, type) and not inspect.isabstract(symbol) and all(
        hasattr(symbol, name) or name in getattr(symbol, '__dataclass_fields__', {})
        for name in names)


def _called_with(*names: str) -> Callable[[Any], bool]:
    """Whether a class has instances that are called with these arguments."""
    def check(symbol: Any) -> bool:
        bases = symbol.__mro__ if isinstance(symbol, type) else ()
        call = next((vars(base)['__call__'] for base in bases if '__call__' in vars(base)), None)
        return bool(call) and set(names) <= set(inspect.signature(call).parameters)

    return check


def _layer(*names: str) -> Callable[[Any], bool]:
    """Whether a class is a Linen module, called with `train`, with these fields or properties."""
    return lambda symbol: _has('init', 'apply', *names)(symbol) and _called_with('train')(symbol)


# How the parts of every key are recognised, the user's own too, before they are called.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    'data': (_has('spec', 'source'), 'a class with `spec` and `source(split)`'),
    'transforms': (_called_with('image', 'mask', 'rng', 'fill'),
                   'a class called with (image, mask, *, rng, fill)'),
    'preprocess': (_called_with('batch', 'key'), 'a class called with (batch, key)'),
    'augmentations': (_called_with('images', 'labels', 'valid', 'keys'),
                      'a class called with (images, labels, valid, keys)'),
    'sampling': (_called_with('source', 'spec'), 'a class called with (source, spec)'),
    'model': (_layer('encoder'), 'a Linen module with an encoder, called with (images, *, train)'),
    'encoder': (_layer('stride'),
                'a Linen module with a property `stride`, called with (images, *, train)'),
    'context': (_layer(), 'a Linen module called with (features, *, train)'),
    'decoder': (_layer(), 'a Linen module called with (stages, *, train)'),
    'auxiliary': (_layer(), 'a Linen module called with (stages, *, train)'),
    'head': (_layer('classes'),
             'a Linen module with a field `classes`, called with (features, *, train)'),
    'task': (_has('losses', 'total', 'probabilities', 'predictions', 'decide', 'scores'),
             'a class with losses, total, probabilities, predictions, decide and scores'),
    'losses': (_takes('logits', 'labels', 'valid'),
               'a function (logits, labels, valid, *, options) -> (sum, count)'),
    'algorithm': (_has('init', 'step', 'variables'), 'a class with init, step and variables'),
    'optimizer': (_takes('learning_rate'),
                  'a function with a parameter learning_rate that returns an optax transformation'),
    'schedule': (_is_schedule, 'a function (*, steps, options) that returns step -> factor'),
    'inference': (_has('predictions', 'probabilities', 'compilations', 'windowed'),
                  'a class with predictions, probabilities, compilations and windowed'),
    'method': (_has('predictions', 'probabilities', 'compilations', 'windowed'),
               'a class with predictions, probabilities, compilations and windowed'),
    'pretrained': (_has('part', 'mean', 'std', 'license', 'files', 'size', 'check', 'load'),
                   'a class with part, mean, std, license, files, size(model), check(model) and '
                   'load(wanted)'),
    'classifier': (_has('fit'), 'a class with fit(features, labels, *, classes, seed)'),
    'pixel_features': (_called_with('image', 'rows'), 'a class called with (image, rows)'),
}
