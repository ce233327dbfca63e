"""Errors for files that are truncated or damaged; who opened the file adds its name."""

from jaxseg.errors import InputError

# What decoders write where a file ends too early.
_TRUNCATED = ('truncated', 'incomplete', 'buffer is smaller', 'unexpected end', 'end of file',
              'eof')


def truncated(reason: str) -> InputError:
    """The error for a file that ends too early."""
    return InputError(f'cannot be decoded: the file is truncated ({reason}); copy it again, or '
                      f'remove it')


def damaged(error: Exception) -> InputError:
    """The error for a file that made a decoder raise `error`."""
    reason = first_line(error)
    if any(words in reason.lower() for words in _TRUNCATED):
        return truncated(reason)
    return InputError(f'cannot be decoded: the file is damaged ({reason}); replace or remove it')


def first_line(error: Exception) -> str:
    """The message of an exception, or its name where it has none."""
    return str(error).splitlines()[0] if str(error).strip() else type(error).__name__
