"""The platform that a model is traced for: some layers have another, equal program on each."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar('platform', default=None)


def platform() -> str:
    """'cpu', 'gpu', 'tpu' as JAX runs on it, or what `traced_for` says."""
    return _chosen.get() or jax.default_backend()


def runs_here() -> bool:
    """Whether what is traced is for this machine, whose cores are known, not in `traced_for`."""
    return _chosen.get() is None


@contextlib.contextmanager
def traced_for(name: str) -> Iterator[None]:
    """What is traced inside is for a platform of other machines: 'onnx', or one of JAX's."""
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)
