"""Choices of an experiment, each with its reason, and the config that they make."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Choice(NamedTuple):
    """A key of a config (dotted), its value, and why."""

    key: str
    value: Any
    reason: str


def plural(count: int, noun: str) -> str:
    """`1 size`, `3 sizes`."""
    return f'{count} {noun}' + ('s' if count > 1 else '')


def apply(choices: Sequence[Choice]) -> dict[str, Any]:
    """The config of these choices: dotted keys nest, numbers are places in a list."""
    config: dict[str, Any] = {}
    for choice in choices:
        *parents, key = choice.key.split('.')
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = choice.value
    return {key: list(value.values()) if key == 'transforms' else value
            for key, value in config.items()}
