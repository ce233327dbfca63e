"""Parameters by name: some of a model's, chosen by regular expressions."""

from collections.abc import Sequence
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.errors import InputError
from jaxseg.fields import compile_pattern


def named(params: Any) -> dict[str, Any]:
    """`{'encoder/conv1/kernel': array, ...}` of the nested dicts of a model."""
    return flatten_dict(params, sep='/')


def nested(parameters: dict[str, Any]) -> Any:
    """The nested dicts of named parameters."""
    return unflatten_dict(parameters, sep='/')


def matching(key: str, pattern: str, names: Sequence[str], note: str = '') -> list[str]:
    """The names that a pattern matches as a whole.

    Args:
      note: which names are left out, for the message.

    Raises:
      InputError: there are none, or the pattern is no regular expression; `key` is the place in the
        config.
    """
    expression = compile_pattern(key, pattern)
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
