"""Parameters by name: some of a model's, chosen by regular expressions."""

import re
from collections.abc import Sequence
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.errors import InputError


def named(params: Any) -> dict[str, Any]:
    """`{'encoder/conv1/kernel': array, ...}` of the nested dicts of a model."""
    return flatten_dict(params, sep='/')


def nested(parameters: dict[str, Any]) -> Any:
    """The nested dicts of named parameters."""
    return unflatten_dict(parameters, sep='/')


def compiled(key: str, pattern: str) -> re.Pattern:
    """A regular expression of the config.

    Raises:
      InputError: it is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f'{key}: {pattern!r} is no regular expression ({error})') from error


def matching(key: str, pattern: str, names: Sequence[str], note: str = '') -> list[str]:
    """The names that a pattern matches as a whole.

    Args:
      note: which names are left out, for the message.

    Raises:
      InputError: there are none, or the pattern is no regular expression; `key` is the place in the
        config.
    """
    expression = compiled(key, pattern)
    found = [name for name in names if expression.fullmatch(name)]
    if not found:
        raise InputError(f'{key}: {pattern!r} matches the whole name of no parameter; the names '
                         f'begin with {", ".join(beginnings(names))}; '
                         f"'encoder/.*' is the encoder{note}")
    return found


def beginnings(names: Sequence[str]) -> list[str]:
    """The first two words of the names, a few of them."""
    found = sorted({'/'.join(name.split('/')[:2]) for name in names})
    return found[:8] + ['...'] * (len(found) > 8)
