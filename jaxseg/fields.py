"""Field types with ranges, and the one check of a value against its annotation.

A field states its range beside its type: `dropout: Annotated[float, Range(0, below=1)] = 0.0`.
`jaxseg.build` checks config entries with `check_value`; parts that are built from Python call
`check_fields(self, where)` in `__post_init__`.
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from jaxseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Range:
    """Limits of a number: at least `low`, above `above`, at most `high`, below `below`."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and self.above < value < self.below

    def __str__(self) -> str:
        parts = [(self.low, -math.inf, 'at least'), (self.above, -math.inf, 'above'),
                 (self.high, math.inf, 'at most'), (self.below, math.inf, 'below')]
        return ' and '.join(f'{word} {limit:.10g}' for limit, none, word in parts if limit != none)


# Where float32, in which parts compute, becomes infinite.
LARGEST_FLOAT = 3.4028235e38
# 2**31 - 1: counters of optimizers and keys of random numbers are 32-bit integers.
LARGEST = 2 ** 31 - 1
PositiveInt = Annotated[int, Range(1, LARGEST)]
NonNegativeInt = Annotated[int, Range(0, LARGEST)]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(0)]
Probability = Annotated[float, Range(0, 1)]
DropRate = Annotated[float, Range(0, below=1)]


def compile_pattern(key: str, pattern: str, remedy: str = '') -> re.Pattern:
    """A regular expression of the user.

    Raises:
      InputError: it is none; `remedy` ends the message.
    """
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f'{key}: {pattern!r} is no regular expression ({error}){remedy}') from None


def check_value(key: str, value: Any, hint: Any):
    """Raises InputError, naming `key`, unless `value` has the annotated type, range or choice.

    Checked are numbers (finite in float32), strings, None, lists, mappings, `Literal`s, unions of
    these and `Range`s; any other annotation is left to the part. A list may be a tuple, and an
    integer key of a mapping may be a string, as JSON returns it.
    """
    if not _fits(value, hint, ranges=False):
        raise InputError(f'{key}: expected {describe(hint)}, got {value!r}'
                         + _suggestion(value, hint))
    if not _fits(value, hint, ranges=True):
        raise InputError(f'{key}: {value!r} is out of range; expected {describe(hint)}')


def check_fields(part: Any, where: str):
    """`check_value` for every field of a dataclass instance; `where` begins the keys in errors."""
    hints = typing.get_type_hints(type(part), include_extras=True)
    for field in dataclasses.fields(part):
        check_value(f'{where}.{field.name}', getattr(part, field.name), hints.get(field.name, Any))


def describe(hint: Any) -> str:
    """An annotation in words, with its range: `float (at least 0 and at most 1) | None`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return f'{describe(arguments[0])} ({", ".join(map(str, arguments[1:]))})'
    if origin is typing.Literal:
        return 'one of ' + ', '.join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return ' | '.join('None' if one is types.NoneType else describe(one) for one in arguments)
    if origin and arguments:
        inner = ', '.join('...' if part is ... else describe(part) for part in arguments)
        return f'{getattr(origin, "__name__", origin)}[{inner}]'
    return hint.__name__ if isinstance(hint, type) else re.sub(r'(\w+\.)+', '', str(hint))


def nearest(name: str, known: Sequence | Mapping) -> str:
    """`'did you mean X? '` where a known name is similar, then the list of the known ones."""
    known = sorted(map(str, known))
    lower = {item.lower(): item for item in known}
    match = difflib.get_close_matches(str(name).lower(), lower, 1, 0.6)
    return (f'did you mean {lower[match[0]]!r}? ' if match else '') + f'known: {", ".join(known)}'


def _suggestion(value: Any, hint: Any) -> str:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    choices = [choice for each in (typing.get_args(hint) if union else (hint,))
               if typing.get_origin(each) is typing.Literal for choice in typing.get_args(each)]
    return f'; {nearest(value, choices)}' if choices and isinstance(value, str) else ''


def _fits(value: Any, hint: Any, *, ranges: bool) -> bool:
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is Annotated:
        limits = [limit for limit in arguments[1:] if ranges and isinstance(limit, Range)]
        return (_fits(value, arguments[0], ranges=ranges)
                and all(value in limit for limit in limits))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument, ranges=ranges) for argument in arguments)
    if origin is typing.Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and (not ranges or abs(value) <= LARGEST_FLOAT)  # which NaN is not
    if origin in (bool, str, types.NoneType):
        return isinstance(value, origin)
    if origin in (tuple, list, Sequence):
        return isinstance(value, (list, tuple)) and _items_fit(value, origin, arguments, ranges)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and (not arguments or all(
            _key_fits(key, arguments[0]) and _fits(item, arguments[1], ranges=ranges)
            for key, item in value.items()))
    return True


def _items_fit(values: Sequence, origin: Any, hints: tuple, ranges: bool) -> bool:
    """`tuple[int, str]` types each item, `tuple[int, ...]` and `Sequence[int]` all of them."""
    if origin is tuple and hints and hints[-1] is not ...:
        return len(values) == len(hints) and all(
            _fits(value, hint, ranges=ranges) for value, hint in zip(values, hints, strict=True))
    return not hints or all(_fits(value, hints[0], ranges=ranges) for value in values)


def _key_fits(key: Any, hint: Any) -> bool:
    digits = isinstance(key, str) and key.isascii() and key.removeprefix('-').isdigit()
    return _fits(key, hint, ranges=False) or (hint is int and digits)


def from_keys(cls: type, key: str, values: Any, example: Mapping[str, Any]) -> Any:
    """A dataclass from a group of keys of a config.

    Args:
      key: of the group, such as 'config.parallel'.
      example: of a group, for the message.

    Raises:
      InputError: no mapping, an unknown key, or what the dataclass raises.
    """
    known = [field.name for field in dataclasses.fields(cls)]
    if not isinstance(values, Mapping):
        raise InputError(f'{key}: expected keys, such as {example}, got {values!r}; '
                         f'known: {", ".join(known)}')
    for name in values:
        if name not in known:
            raise InputError(f'{key}.{name}: no such key; {nearest(name, known)}')
    return cls(**values)
