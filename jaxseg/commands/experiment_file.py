"""An experiment file as text: plain Python, with the reason beside every choice."""

import keyword
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.commands.choices import Choice

WIDTH = 100
INDENT = 8


def experiment_text(title: str, notes: Sequence[str], choices: Sequence[Choice],
                    commands: Sequence[str]) -> str:
    """The text of a file that defines `get_config()`.

    Args:
      title: the first line of its docstring.
      notes: the lines after it.
      choices: in the order of the file; those of one group (`model.encoder`, `model.decoder`)
        follow each other.
      commands: to run next.
    """
    lines = [f'"""{_docstring(title)}', '', *map(_docstring, notes), '"""', '',
             'from ml_collections import ConfigDict', '', '', 'def get_config() -> ConfigDict:',
             '    """The experiment\'s record."""', '    return ConfigDict(dict(',
             *_entries(choices), '    ))', '', '', '# Then:',
             *(f'#   {command}' for command in commands)]
    return '\n'.join(lines) + '\n'


def _entries(choices: Sequence[Choice]) -> list[str]:
    """The lines of all choices; the parts of a dotted key are groups inside each other."""
    lines: list[str] = []
    opened: list[str] = []
    closing: list[str] = []  # of each group that is open, its last line
    for choice in [*choices, None]:
        *groups, name = choice.key.split('.') if choice else ['']
        while opened != groups[:len(opened)]:
            opened.pop()
            lines.append(closing.pop())
        for group in groups[len(opened):]:
            first, last = '[]' if name.isdecimal() else ('dict(', ')')
            space = _space(len(opened))
            lines.append(f'{space}{group}={first}')
            opened.append(group)
            closing.append(f'{space}{last},')
        lines += _entry(choice, _space(len(opened))) if choice else []
    return lines


def _space(depth: int) -> str:
    return ' ' * (INDENT + 4 * depth)


def _entry(choice: Choice, space: str) -> list[str]:
    """A comment with the reason, and the value."""
    name = choice.key.rpartition('.')[2]
    reason = _plain(choice.reason)
    comment = textwrap.wrap(reason[:1].upper() + reason[1:], WIDTH - len(space) - 2,
                            break_long_words=False)
    start = '' if name.isdecimal() else f'{name}='
    return [*(f'{space}# {line}' for line in comment),
            *_wrapped(f'{start}{literal(choice.value)},', space)]


def _wrapped(text: str, space: str) -> list[str]:
    """Lines of at most `WIDTH` columns where the text can be broken: after commas."""
    lines, rest = [], space + text
    while len(rest) > WIDTH:
        place = _last_break(rest)
        if place is None:
            break
        lines.append(rest[:place].rstrip())
        rest = f'{space}    {rest[place:].lstrip()}'
    return [*lines, rest]


def _last_break(line: str) -> int | None:
    """Behind the last comma outside of quotes that leaves a line within the width."""
    found, quote, escaped = None, '', False
    for place, letter in enumerate(line):
        if escaped:
            escaped = False
        elif letter == '\\' and quote:
            escaped = True
        elif letter in '\'"' and quote in ('', letter):
            quote = '' if quote else letter
        elif letter == ',' and not quote and place + 1 < len(line) and (
                found is None or place < WIDTH):
            found = place + 1
    return found


def literal(value: Any) -> str:
    """A value as Python: dicts by `dict(...)` where all of their keys are names."""
    if isinstance(value, Mapping):
        items = {str(key): literal(item) for key, item in value.items()}
        if all(key.isidentifier() and not keyword.iskeyword(key) for key in items):
            return f'dict({", ".join(f"{key}={item}" for key, item in items.items())})'
        return f'{{{", ".join(f"{key!r}: {item}" for key, item in items.items())}}}'
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(literal, value))}]'
    return repr(value)


def _plain(text: str) -> str:
    """One line that a comment can hold, whatever the names of files and classes."""
    return ' '.join(''.join(letter if letter.isprintable() else repr(letter)[1:-1]
                            for letter in text).split())


def _docstring(text: str) -> str:
    """A line that the docstring can hold."""
    shown = ''.join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return shown.replace('\\', '\\\\').replace('"""', '\\"\\"\\"').rstrip()
