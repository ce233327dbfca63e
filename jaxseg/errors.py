"""The one exception for input that cannot be used."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line: the file or key, the value, the rule it breaks, and the remedy. The
    command line prints it without a traceback and ends with exit status 2.
    """
