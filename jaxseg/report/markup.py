"""HTML and SVG elements whose texts and attributes are escaped."""

import html
from typing import Any


class Markup(str):
    """A text that is HTML already; every other text is escaped when it becomes part of one."""

    __slots__ = ()


# Elements without an end tag.
EMPTY = {'br', 'col', 'hr', 'img', 'input', 'link', 'meta'}


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """`<name attribute="value">children</name>`.

    Args:
      children: Markup is taken as it is, lists and tuples one by one, None is left out, everything
        else is escaped text.
      attributes: True is an attribute without a value, None and False none at all. `class_` stands
        for `class`, and `data_layer` for `data-layer`.
    """
    opened = ''.join(_attribute(key, value) for key, value in attributes.items())
    if name in EMPTY:
        assert not children
        return Markup(f'<{name}{opened}>')
    return Markup(f'<{name}{opened}>{joined(*children)}</{name}>')


def joined(*children: Any) -> Markup:
    """The children of an element, one after the other."""
    return Markup(''.join(map(_child, children)))


def _child(child: Any) -> str:
    if child is None:
        return ''
    if isinstance(child, (list, tuple)):
        return joined(*child)
    return child if isinstance(child, Markup) else escaped(str(child))


def escaped(text: str) -> str:
    """A text for an element or a quoted attribute.

    Halves of surrogate pairs, which names of files may hold and no page can, become escapes, and so
    do control characters, among them those that turn the direction of writing.
    """
    plain = ''.join(letter if letter.isprintable() or letter == '\n' else repr(letter)[1:-1]
                    for letter in text)
    return html.escape(plain, quote=True)


def _attribute(key: str, value: Any) -> str:
    # `viewBox` and its like are written as they are: names of SVG know upper case.
    name = key.rstrip('_').replace('_', '-')
    if value is None or value is False:
        return ''
    return f' {name}' if value is True else f' {name}="{escaped(str(value))}"'
