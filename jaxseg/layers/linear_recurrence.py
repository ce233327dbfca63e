"""Gated linear recurrences `h_t = a_t h_{t-1} + b_t` by several schedules with one result."""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.errors import InputError
from jaxseg.layers.platform import platform
from jaxseg.layers.split_scan import split_recurrence, split_shift

Schedule = Literal['auto', 'sequential', 'associative', 'chunked', 'pallas']


def linear_recurrence(a: jax.Array, b: jax.Array, start: jax.Array | None = None, *,
                      schedule: Schedule = 'auto', reverse: bool = False, axis: int = 1,
                      split: bool = False) -> tuple[jax.Array, jax.Array]:
    """`h_t = a_t h_{t-1} + b_t` along an axis, element by element.

    There is no logarithm and no division, so decays of exactly 0 (forget) and 1 (keep) are exact,
    forward and backward. The gradient is the same recurrence in the other direction (Martin & Cundy
    2018, arXiv:1709.04057); its residuals are `a` and `h`.

    Args:
      a: decays, real or complex, of a shape that broadcasts to that of `b`.
      b: (B, L, ...), or (L, B, ...) with `axis` 0, where every step is contiguous in memory.
      start: `h_0`, (B, ...): the last state of the piece before; zeros if not given.
      schedule: 'sequential' (`lax.scan`: the least work), 'associative' (`lax.associative_scan`:
        depth log L, Blelloch 1990), 'chunked' (chunks of about sqrt(L) steps side by side, then the
        carry through the chunks: depth 2 sqrt(L), twice the work), 'pallas' (a GPU kernel, real
        numbers only, one pass over memory) or 'auto', which picks one of the first two by platform.
      reverse: from the end to the beginning; `start` then comes after the last position.
      split: the positions are split over devices, of which L is a multiple
        (`jaxseg.layers.split_scan`).

    Returns:
      h of the shape of `b` and the last state (B, ...), float32 or complex64.

    Raises:
      InputError: an unknown schedule; 'pallas' for complex numbers or without a GPU.
    """
    if schedule not in (*SCHEDULES, 'auto', 'pallas'):
        raise InputError(f'schedule: {schedule!r} is unknown; known: auto, '
                         f'{", ".join(SCHEDULES)}, pallas')
    kind = jnp.complex64 if jnp.iscomplexobj(a) or jnp.iscomplexobj(b) else jnp.float32
    a, b = jnp.broadcast_to(a.astype(kind), b.shape), b.astype(kind)
    a, b = (jnp.moveaxis(part, axis, 0) for part in (a, b))
    start = jnp.zeros(b.shape[1:], kind) if start is None else start.astype(kind)
    schedule = _pick() if schedule == 'auto' else schedule
    if schedule == 'pallas' and not split:
        h = _pallas(a, b, start, reverse)
    else:
        h = _recur(schedule, reverse, split, a, b, start)
    return jnp.moveaxis(h, 0, axis), h[0 if reverse else -1]


def _pick() -> str:
    """The fastest schedule where it was measured (experiments/benchmarks/schedules.py).

    On 2 CPU cores 'sequential' took half the time of 'chunked', forward and backward, at 1,024 to
    10,800 steps of 64 to 2,048 channels. 'pallas' was not measured on a GPU and is not picked.
    """
    return 'sequential' if platform() in ('cpu', 'onnx') else 'associative'


def _pallas(a: jax.Array, b: jax.Array, start: jax.Array, reverse: bool) -> jax.Array:
    if jnp.iscomplexobj(b):
        raise InputError("schedule: 'pallas' is for real numbers, and this cell is complex; use "
                         "'auto' or 'sequential'")
    if platform() != 'gpu':
        raise InputError(f"schedule: 'pallas' needs a GPU, and this program is for {platform()}; "
                         f"use 'auto' or 'sequential'")
    # Imported here alone: later releases of JAX drop the Triton backend that it needs.
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
    """All chunks run in parallel from zero; then the state before each is added to its states.

    Inside a chunk this is the product with the lower triangular matrix of decays, one row at a
    time: the matrix itself would be as many times larger than `a` as a chunk has steps, since every
    channel has its own decays.
    """
    if reverse:
        return jnp.flip(_chunked(jnp.flip(a, 0), jnp.flip(b, 0), start, False), 0)
    length = a.shape[0]
    chunk = max(1, round(length ** 0.5))
    # A decay of 1 and an input of 0 keep the state.
    margin = [(0, -length % chunk)] + [(0, 0)] * (a.ndim - 1)
    a, b = jnp.pad(a, margin, constant_values=1), jnp.pad(b, margin)
    a, b = (jnp.swapaxes(part.reshape(-1, chunk, *part.shape[1:]), 0, 1) for part in (a, b))

    def step(state, at):
        state = at[0] * state[0], at[0] * state[1] + at[1]
        return state, state

    # decay[t]: the product of the first t decays of a chunk; local[t]: its state from a zero start.
    _, (decay, local) = lax.scan(step, (jnp.ones_like(a[0]), jnp.zeros_like(a[0])), (a, b))

    def carry(h, at):
        return at[0] * h + at[1], h

    _, entering = lax.scan(carry, start, (decay[-1], local[-1]))
    h = jnp.swapaxes(decay * entering[None] + local, 0, 1)
    return h.reshape(-1, *h.shape[2:])[:length]


# On every platform.
SCHEDULES: dict[str, Callable] = {
    'sequential': _sequential, 'associative': _associative, 'chunked': _chunked}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _recur(schedule: str, reverse: bool, split: bool, a: jax.Array, b: jax.Array, start: jax.Array
           ) -> jax.Array:
    """As `linear_recurrence`, time first: a and b (L, B, ...)."""
    run = SCHEDULES.get(schedule, _pallas)
    return split_recurrence(run, a, b, start, reverse) if split else run(a, b, start, reverse)


def _forward(schedule: str, reverse: bool, split: bool, a: jax.Array, b: jax.Array,
             start: jax.Array):
    h = _recur(schedule, reverse, split, a, b, start)
    return h, (a, h, start)


def _backward(schedule: str, reverse: bool, split: bool, residuals, cotangent: jax.Array):
    a, h, start = residuals
    shift = split_shift if split else _shifted
    zeros, previous = jnp.zeros_like(start), shift(h, start, reverse)
    # dL/dh_t = cotangent_t + a_{t+1} dL/dh_{t+1}: the recurrence in the other direction, with the
    # decays of the next position.
    if schedule == 'sequential' and not split:
        # The carry is the whole second term, so that no array of the next decays is needed.
        d_start, db = lax.scan(_cotangent_step, zeros, (a, cotangent), reverse=not reverse)
    else:
        next_a = shift(a, zeros, not reverse)
        db = _recur(schedule, not reverse, split, next_a, cotangent, zeros)
        first = -1 if reverse else 0
        d_start = a[first] * db[first]
    return db * previous, db, d_start


def _cotangent_step(later: jax.Array, at: tuple[jax.Array, jax.Array]
                    ) -> tuple[jax.Array, jax.Array]:
    a, cotangent = at
    total = cotangent + later
    return a * total, total


def _shifted(x: jax.Array, edge: jax.Array, backward: bool) -> jax.Array:
    """Value t is x at t - 1 (`backward`: t + 1); the first (the last) is `edge`."""
    if backward:
        return jnp.concatenate([x[1:], edge[None]])
    return jnp.concatenate([edge[None], x[:-1]])


_recur.defvjp(_forward, _backward)
