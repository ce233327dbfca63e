"""`h_t = a_t h_{t-1} + b_t` as a GPU kernel (Pallas, lowered to Triton).

A program runs along the sequence with the states of a few channels in registers, so that every
number passes through memory once: a, b and h forward; a, h and the cotangents of h, a and b
backward (Martin & Cundy 2018, arXiv:1709.04057). Triton needs an NVIDIA GPU of compute capability
8.0 or later. JAX 0.11 and later warn that a future release drops this backend.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

BLOCK = 32  # channels of a program: one warp reads a position as one line of 128 bytes
STEPS = 16  # positions read before the first is used: a warp waits for memory once for all


def pallas_recurrence(a: jax.Array, b: jax.Array, start: jax.Array, reverse: bool, *,
                      interpret: bool = False) -> jax.Array:
    """`h_t = a_t h_{t-1} + b_t` along axis 0, with its gradient, as in `linear_recurrence`.

    Args:
      a: (L, ...) float32.
      b: (L, ...) float32.
      start: (...) float32.
      reverse: from the end to the beginning.
      interpret: the kernel in plain JAX, on any platform and slow: for tests.

    Returns:
      h of shape (L, ...), float32.
    """
    length = b.shape[0]
    flat = a.reshape(length, -1), b.reshape(length, -1), start.reshape(1, -1)
    return _recur(reverse, interpret, *flat).reshape(b.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recur(reverse: bool, interpret: bool, a: jax.Array, b: jax.Array, start: jax.Array
           ) -> jax.Array:
    return _run(_recurrence, (a, b, start), (b,), reverse, interpret)[0]


def _forward(reverse: bool, interpret: bool, a: jax.Array, b: jax.Array, start: jax.Array):
    h = _recur(reverse, interpret, a, b, start)
    return h, (a, h, start)


def _backward(reverse: bool, interpret: bool, residuals, cotangent: jax.Array):
    a, h, start = residuals
    inputs = a, h, cotangent, start
    return tuple(_run(_recurrence_gradient, inputs, (a, h, start), reverse, interpret))


_recur.defvjp(_forward, _backward)


def _run(kernel: Callable, inputs: tuple, outputs: tuple, reverse: bool, interpret: bool
         ) -> list[jax.Array]:
    """`kernel` for every block of channels, those of all sequences in a row.

    The results have the shapes of `outputs`.
    """
    width = inputs[0].shape[1]

    def block(x: jax.Array) -> pl.BlockSpec:
        return pl.BlockSpec((x.shape[0], BLOCK), lambda channels: (0, channels))

    return pl.pallas_call(
        functools.partial(kernel, reverse=reverse, width=width),
        [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs], grid=(pl.cdiv(width, BLOCK),),
        in_specs=[block(x) for x in inputs], out_specs=[block(x) for x in outputs],
        compiler_params=triton.CompilerParams(num_warps=1, num_stages=1),
        interpret=interpret)(*inputs)


def _recurrence(a, b, start, h, *, reverse: bool, width: int):
    load, store = _masked(width)
    length = a.shape[0]
    first, stride = (length - 1, -1) if reverse else (0, 1)

    def step(t, row, state):
        decay, new = row
        state = decay * state + new
        store(h, t, state)
        return state

    _run_along(first, stride, length, lambda t: (load(a, t), load(b, t)), step, load(start, 0))


def _recurrence_gradient(a, h, cotangent, start, da, db, dstart, *, reverse: bool, width: int):
    """dL/dh_t = cotangent_t + a_{t+1} dL/dh_{t+1}, from the last position to the first.

    `later` is the second term.
    """
    load, store = _masked(width)
    length = a.shape[0]
    first, stride = (0, 1) if reverse else (length - 1, -1)

    def step(t, row, later):
        decay, own, previous = row
        total = own + later
        store(da, t, total * previous)
        store(db, t, total)
        return decay * total

    later = _run_along(first, stride, length - 1,
                  lambda t: (load(a, t), load(cotangent, t), load(h, t + stride)), step,
                  jnp.zeros((1, BLOCK)))
    # The state before the first position is the start.
    t = first + stride * (length - 1)
    store(dstart, 0, step(t, (load(a, t), load(cotangent, t), load(start, 0)), later))


def _masked(width: int) -> tuple[Callable, Callable]:
    """`load(ref, t)` and `store(ref, t, value)` of one position, (1, BLOCK), channels masked."""
    inside = (pl.program_id(0) * BLOCK + jnp.arange(BLOCK) < width)[None]

    def load(ref, t):
        return triton.load(ref.at[pl.ds(t, 1)], mask=inside)

    def store(ref, t, value):
        triton.store(ref.at[pl.ds(t, 1)], value, mask=inside)

    return load, store


def _run_along(first: int, stride: int, count: int, read: Callable, step: Callable, state: jax.Array
          ) -> jax.Array:
    """`state = step(t, read(t), state)` at `count` positions t, from `first` by `stride`."""
    def part(begin, size, state):
        positions = [first + stride * (begin + n) for n in range(size)]
        for t, row in zip(positions, [read(t) for t in positions], strict=True):
            state = step(t, row, state)
        return state

    whole = count // STEPS
    if whole:
        state = lax.fori_loop(0, whole, lambda n, state: part(n * STEPS, STEPS, state), state)
    return part(whole * STEPS, count % STEPS, state)
