"""The axis over which a step is mapped, for the layers that need the whole batch."""

import contextlib
import contextvars
from collections.abc import Iterator

_AXIS: contextvars.ContextVar[str | None] = contextvars.ContextVar('mapped_axis', default=None)


@contextlib.contextmanager
def mapped_over(axis: str | None) -> Iterator[None]:
    """While a step is traced for `pmap`: names the axis that norms and dropout reduce over. Under `jit` there is none."""
    token = _AXIS.set(axis)
    try:
        yield
    finally:
        _AXIS.reset(token)


def mapped_axis() -> str | None:
    """The axis of the innermost `mapped_over`; None outside."""
    return _AXIS.get()
