"""Gated linear recurrences `h_t = a_t h_{t-1} + b_t`: one function, several schedules with the same result."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.errors import InputError


def linear_recurrence(a: jax.Array, b: jax.Array, start: jax.Array | None = None, *, schedule: str = 'auto',
                      reverse: bool = False, axis: int = 1) -> tuple[jax.Array, jax.Array]:
    """`h_t = a_t h_{t-1} + b_t` along an axis, element by element.

    There is no logarithm and no division, so decays of exactly 0 (forget) and 1 (keep) are exact, forward and backward.
    The gradient is the same recurrence run the other way (Martin & Cundy 2018, arXiv:1709.04057): it holds `a` and `h`
    and nothing else.

    Args:
      a: decays, real or complex, of a shape that broadcasts to that of `b`.
      b: (B, L, ...), or (L, B, ...) with `axis` 0: every step then is one block of the memory, and nothing is moved.
      start: `h_0`, (B, ...): the carry of the piece before; zeros if not given.
      schedule: 'sequential' (`lax.scan`: the least work), 'associative' (`lax.associative_scan`: depth log L, Blelloch
        1990), 'chunked' (the chunks of about sqrt(L) steps side by side, then the carry through the chunks: depth
        2 sqrt(L), twice the work), 'pallas' (a GPU kernel, real numbers only: every number passes through memory once) or
        'auto', which picks one of the first two by platform.
      reverse: from the end to the beginning; `start` then comes after the last position.

    Returns:
      h of the shape of `b` and the last state (B, ...), float32 or complex64.

    Raises:
      InputError: an unknown schedule; 'pallas' for complex numbers or without a GPU.
    """
    if schedule not in (*SCHEDULES, 'auto', 'pallas'):
        raise InputError(f'schedule: {schedule!r} is unknown; known: auto, {", ".join(SCHEDULES)}, pallas')
    kind = jnp.complex64 if jnp.iscomplexobj(a) or jnp.iscomplexobj(b) else jnp.float32
    a, b = jnp.broadcast_to(a.astype(kind), b.shape), b.astype(kind)
    a, b = (jnp.moveaxis(part, axis, 0) for part in (a, b))
    start = jnp.zeros(b.shape[1:], kind) if start is None else start.astype(kind)
    if schedule == 'auto':
        schedule = _pick()
    h = _pallas(a, b, start, reverse) if schedule == 'pallas' else _recur(schedule, reverse, a, b, start)
    return jnp.moveaxis(h, 0, axis), h[0 if reverse else -1]


def _pick() -> str:
    """The fastest schedule where it was measured (experiments/benchmarks/schedules.py).

    On 2 CPU cores 'sequential' took half the time of 'chunked', forward and backward, at 1,024 to 10,800 steps of 64 to 2,048
    channels. Nothing was measured on a GPU, so 'pallas' is not picked there.
    """
    return 'sequential' if jax.default_backend() == 'cpu' else 'associative'


def _pallas(a: jax.Array, b: jax.Array, start: jax.Array, reverse: bool) -> jax.Array:
    if jnp.iscomplexobj(b):
        raise InputError("schedule: 'pallas' asked for complex numbers, and its kernel is real; take 'auto' or 'sequential'")
    if jax.default_backend() != 'gpu':
        raise InputError(f"schedule: 'pallas' needs a GPU, and JAX runs on {jax.default_backend()}; take 'auto' or 'sequential'")
    # JAX is about to drop what this needs; nobody else shall notice.
    from jaxseg.layers.linear_recurrence_kernel import pallas_recurrence

    return pallas_recurrence(a, b, start, reverse)


def _sequential(a: jax.Array, b: jax.Array, start: jax.Array, reverse: bool) -> jax.Array:
    def step(h, at):
        h = at[0] * h + at[1]
        return h, h

    return lax.scan(step, start, (a, b), reverse=reverse)[1]


def _associative(a: jax.Array, b: jax.Array, start: jax.Array, reverse: bool) -> jax.Array:
    def join(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    first = -1 if reverse else 0
    return lax.associative_scan(join, (a, b.at[first].add(a[first] * start)), reverse=reverse)[1]


def _chunked(a: jax.Array, b: jax.Array, start: jax.Array, reverse: bool) -> jax.Array:
    """All chunks step in parallel from zero; then each adds its carry, which has passed through the chunks before it.

    Inside a chunk this is the product with the lower triangular matrix of decays, one row at a time: the matrix itself
    would be as many times larger than `a` as a chunk has steps, since every channel has decays of its own.
    """
    if reverse:
        return jnp.flip(_chunked(jnp.flip(a, 0), jnp.flip(b, 0), start, False), 0)
    length = a.shape[0]
    chunk = max(1, round(length ** 0.5))
    # A decay of 1 and an input of 0 leave the state alone.
    margin = [(0, -length % chunk)] + [(0, 0)] * (a.ndim - 1)
    a, b = jnp.pad(a, margin, constant_values=1), jnp.pad(b, margin)
    a, b = (jnp.swapaxes(part.reshape(-1, chunk, *part.shape[1:]), 0, 1) for part in (a, b))

    def step(state, at):
        state = at[0] * state[0], at[0] * state[1] + at[1]
        return state, state

    # decay[t]: the product of the chunk's first t decays; local[t]: its state when it starts from zero.
    _, (decay, local) = lax.scan(step, (jnp.ones_like(a[0]), jnp.zeros_like(a[0])), (a, b))

    def carry(h, at):
        return at[0] * h + at[1], h

    _, entering = lax.scan(carry, start, (decay[-1], local[-1]))
    h = jnp.swapaxes(decay * entering[None] + local, 0, 1)
    return h.reshape(-1, *h.shape[2:])[:length]


# On every platform.
SCHEDULES: dict[str, Callable] = {'sequential': _sequential, 'associative': _associative, 'chunked': _chunked}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recur(schedule: str, reverse: bool, a: jax.Array, b: jax.Array, start: jax.Array) -> jax.Array:
    """As `linear_recurrence`, time first: a and b (L, B, ...)."""
    return SCHEDULES[schedule](a, b, start, reverse)


def _forward(schedule: str, reverse: bool, a: jax.Array, b: jax.Array, start: jax.Array):
    h = _recur(schedule, reverse, a, b, start)
    return h, (a, h, start)


def _backward(schedule: str, reverse: bool, kept, slope: jax.Array):
    a, h, start = kept
    nothing, previous = jnp.zeros_like(start), _shifted(h, start, reverse)
    # dL/dh_t = slope_t + a_{t+1} dL/dh_{t+1}: the same recurrence the other way, with the decays of the next position.
    if schedule == 'sequential':
        # One step after the other can hand on the whole second term, so that no array of next decays is made.
        d_start, db = lax.scan(_slope_step, nothing, (a, slope), reverse=not reverse)
    else:
        db = _recur(schedule, not reverse, _shifted(a, nothing, not reverse), slope, nothing)
        first = -1 if reverse else 0
        d_start = a[first] * db[first]
    return db * previous, db, d_start


def _slope_step(later: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    slope = at[1] + later
    return at[0] * slope, slope


def _shifted(x: jax.Array, edge: jax.Array, backward: bool) -> jax.Array:
    """Position t holds what t - 1 held (`backward`: t + 1), and the first one (the last one) holds `edge`."""
    if backward:
        return jnp.concatenate([x[1:], edge[None]])
    return jnp.concatenate([edge[None], x[:-1]])


_recur.defvjp(_forward, _backward)
