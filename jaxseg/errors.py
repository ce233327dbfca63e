"""The one exception for input that cannot be used."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line for a stranger: the file or key, the value that came, the rule it breaks and the way out.
    The command line prints it without a traceback and ends with exit status 2.
    """
