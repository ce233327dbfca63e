"""GRU, LSTM and MGU as pure functions, and their scan, which holds what depends on the state only.

Each gate is an array of its own in the scan: XLA on CPU does not vectorise a step that slices the
element of a scanned array, and a GRU step of 90 x 64 took 73 us instead of 19.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.layers.dense import weight_gradient

State = tuple[jax.Array, ...]
Gates = Sequence[jax.Array]


def gru_step(state: State, projected: Gates, from_state: Gates) -> State:
    """Gated recurrent unit (Cho et al. 2014), the reset after the product as in cuDNN and PyTorch.

    `r, z = sigmoid(x_r + u_r), sigmoid(x_z + u_z)`; `n = tanh(x_n + r u_n)`;
    `h' = (1 - z) n + z h`, where `u = h U + b`.

    Args:
      state: (h,), (B, hidden).
      projected: x W + b for the gates r, z, n: (B, hidden) each.
      from_state: u for the same gates.
    """
    (h,), (x_r, x_z, x_n), (u_r, u_z, u_n) = state, projected, from_state
    candidate = jnp.tanh(x_n + jax.nn.sigmoid(x_r + u_r) * u_n)
    return candidate + jax.nn.sigmoid(x_z + u_z) * (h - candidate),


def lstm_step(state: State, projected: Gates, from_state: Gates) -> State:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000) without peepholes.

    `i, f, g, o = x W + h U + b`; `c' = sigmoid(f) c + sigmoid(i) tanh(g)`;
    `h' = sigmoid(o) tanh(c')`. The state is (h, c).
    """
    _, c = state
    i, f, g, o = (x + u for x, u in zip(projected, from_state, strict=True))
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def mgu_step(state: State, projected: Gates, from_state: Gates) -> State:
    """Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420): one gate forgets and resets.

    `f = sigmoid(x_f + u_f)`; `n = tanh(x_n + f u_n)`; `h' = (1 - f) h + f n`, where `u = h U + b`.
    The reset follows the product as in the GRU.
    """
    (h,), (x_f, x_n), (u_f, u_n) = state, projected, from_state
    forget = jax.nn.sigmoid(x_f + u_f)
    return h + forget * (jnp.tanh(x_n + forget * u_n) - h),


class Cell(NamedTuple):
    """A step and the sign of every gate in `chrono_bias_init`.

    `parts` is the number of arrays of the state, `inner_biases` that of the last gates with a bias
    on `h U`.
    """

    step: Callable[[State, Gates, Gates], State]
    signs: tuple[int, ...]
    parts: int = 1
    inner_biases: int = 1


NONLINEAR = {'gru': Cell(gru_step, (0, 1, 0)), 'mgu': Cell(mgu_step, (-1, 0)),
             'lstm': Cell(lstm_step, (-1, 1, 0, 0), parts=2, inner_biases=0)}


def scan_cell(step: Callable, project: Callable, kernel: jax.Array, bias: jax.Array, start: State,
              inputs: jax.Array, valid: jax.Array | None, *, reverse: bool, unroll: int = 1,
              remat: int = 0) -> tuple[jax.Array, State]:
    """Runs a cell over a sequence with time first.

    Args:
      step: `state, projected, from_state -> state`.
      project: the linear map of the input to the gates, (..., B, C) -> (..., B, gates * hidden).
      kernel: (hidden, gates * hidden).
      bias: (gates * hidden,), added to `h U`.
      start: the state before the first step.
      inputs: (L, B, C).
      valid: bool (L, B) or None; where it is False the state does not change.
      remat: 0 stores the projections and states of all steps for the backward pass; otherwise the
        steps of a chunk: one state a chunk is stored and the rest computed again, which reduces
        memory from O(L) to O(L / remat + remat).

    Returns:
      h of all steps, (L, B, hidden), and the last state.
    """
    def gates(inputs):
        return tuple(jnp.split(project(inputs), kernel.shape[1] // kernel.shape[0], -1))

    if not remat:
        return _scan(step, reverse, unroll, kernel, bias, start, gates(inputs), valid)
    length = inputs.shape[0]
    valid = jnp.ones(inputs.shape[:2], bool) if valid is None else valid
    inputs, valid = (jnp.pad(x, [(0, -length % remat)] + [(0, 0)] * (x.ndim - 1))
                     for x in (inputs, valid))
    chunks = tuple(x.reshape(-1, remat, *x.shape[1:]) for x in (inputs, valid))

    @jax.checkpoint
    def chunk(state, at):
        out, state = _scan(step, reverse, unroll, kernel, bias, state, gates(at[0]), at[1])
        return state, out

    last, out = lax.scan(chunk, start, chunks, reverse=reverse)
    return out.reshape(-1, *out.shape[2:])[:length], last


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _scan(step, reverse, unroll, kernel, bias, start, projected, valid):
    """All steps; the gradient of `kernel` is one product over time instead of one a step."""
    (states, _), last = _steps(step, reverse, unroll, kernel, bias, start, projected, valid)
    return states[0], last


def _steps(step, reverse, unroll, kernel, bias, start, projected, valid):
    """((states of all steps, `h U + b` of every gate), last state)."""

    def body(state, at):
        from_state = tuple(jnp.split(state[0] @ kernel + bias[None], len(projected), -1))
        new = _where_valid(step(state, at[0], from_state), state, at[1])
        return new, (new, from_state)

    last, out = lax.scan(body, start, (projected, valid), reverse=reverse, unroll=unroll)
    return out, last


def _where_valid(new: State, old: State, valid: jax.Array | None) -> State:
    if valid is None:
        return new
    return tuple(jnp.where(valid[:, None], *pair) for pair in zip(new, old, strict=True))


def _forward(step, reverse, unroll, kernel, bias, start, projected, valid):
    (states, from_state), last = _steps(step, reverse, unroll, kernel, bias, start, projected,
                                        valid)
    return (states[0], last), (kernel, start, projected, valid, states, from_state)


def _backward(step, reverse, unroll, residuals, cotangents):
    kernel, start, projected, valid, states, from_state = residuals
    previous = tuple(_before(part, first, reverse)
                     for part, first in zip(states, start, strict=True))
    transposed = kernel.T

    def body(d_state, at):
        d_output, state, projected, from_state, valid = at
        d_state = (d_state[0] + d_output, *d_state[1:])
        _, vjp_fn = jax.vjp(lambda *parts: _where_valid(step(*parts), parts[0], valid),
                            state, projected, from_state)
        d_state, d_projected, d_from_state = vjp_fn(d_state)
        d_from_state = jnp.concatenate(d_from_state, -1)
        d_state = (d_state[0] + d_from_state @ transposed, *d_state[1:])
        return d_state, (d_projected, d_from_state)

    d_outputs, d_last = cotangents
    d_start, (d_projected, d_from_state) = lax.scan(
        body, d_last, (d_outputs, previous, projected, from_state, valid), reverse=not reverse,
        unroll=unroll)
    d_kernel = weight_gradient(previous[0], d_from_state)
    return d_kernel, d_from_state.sum((0, 1)), d_start, d_projected, None


def _before(states: jax.Array, start: jax.Array, reverse: bool) -> jax.Array:
    """The state before each step."""
    if reverse:
        return jnp.concatenate([states[1:], start[None]])
    return jnp.concatenate([start[None], states[:-1]])


_scan.defvjp(_forward, _backward)
