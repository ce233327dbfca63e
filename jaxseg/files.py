"""Files that are replaced whole: a reader finds the old one or the new one, never a part."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """Adds the name of a file to errors of the system that have none, as of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def replacing(path: pathlib.Path, *, durable: bool = True) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to, which replaces it at the end.

    After an error, such as a full disk, `path` is as it was, and nothing is left beside it.

    Args:
      durable: waits until the disk has the file, so that it survives a power failure, too.
    """
    partial = path.with_name(f'{path.stem}.partial{path.suffix}')
    # A link there, in a folder from somebody else, would lead the writing to any other file.
    partial.unlink(missing_ok=True)
    try:
        with naming(path):
            yield partial
            if durable:
                _wait_for_disk(partial)
            os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def _wait_for_disk(path: pathlib.Path):
    with path.open('rb') as file:
        os.fsync(file.fileno())
