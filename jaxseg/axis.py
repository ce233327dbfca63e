"""The mapped axis of a step, for layers that depend on the whole batch."""

import contextlib
import contextvars
from collections.abc import Iterator

_AXIS: contextvars.ContextVar[str | None] = contextvars.ContextVar('mapped_axis', default=None)


@contextlib.contextmanager
def mapped_over(axis: str | None) -> Iterator[None]:
    """Names the axis of the batch while a step is traced for `pmap`; under `jit` there is none."""
    token = _AXIS.set(axis)
    try:
        yield
    finally:
        _AXIS.reset(token)


def mapped_axis() -> str | None:
    """The axis of the innermost `mapped_over`; None outside."""
    return _AXIS.get()
