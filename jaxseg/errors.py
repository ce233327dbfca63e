"""The one exception for input that cannot be used, and how texts of users are shown."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line: the file or key, the value, the rule it breaks, and the remedy. The
    command line prints it without a traceback and ends with exit status 2.
    """


def printable(text: str) -> str:
    """A text with control characters escaped, for a terminal, which would execute them.

    Names of files and of classes may hold any: escape sequences, line breaks, marks that reverse
    the direction of writing.
    """
    return ''.join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
