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


def gru_gates(projected: Gates, from_state: Gates) -> Gates:
    """Gated recurrent unit (Cho et al. 2014), the reset after the product as in cuDNN and PyTorch.

    `r, z = sigmoid(x_r + u_r), sigmoid(x_z + u_z)`; `n = tanh(x_n + r u_n)`;
    `h' = (1 - z) n + z h`, where `u = h U + b`.

    Args:
      projected: x W + b for the gates r, z, n: (B, hidden) each.
      from_state: u for the same gates.

    Returns:
      r, z, n and u_n, which `gru_gradient` needs.
    """
    (x_r, x_z, x_n), (u_r, u_z, u_n) = projected, from_state
    r, z = jax.nn.sigmoid(x_r + u_r), jax.nn.sigmoid(x_z + u_z)
    return r, z, jnp.tanh(x_n + r * u_n), u_n


def gru_update(state: State, gates: Gates) -> State:
    """The next state, from (h,), (B, hidden), and the result of `gru_gates`."""
    (h,), (_, z, n, _) = state, gates
    return n + z * (h - n),


def gru_gradient(gates: Gates, cotangents: Gates) -> tuple[Gates, Gates]:
    """The gradients of `gru_gates` by projections and by what comes from the state."""
    (r, z, n, u_n), (_, d_z, d_n, _) = gates, cotangents
    d_n = d_n * _slope_of_tanh(n)
    d_r, d_z = d_n * u_n * _slope_of_sigmoid(r), d_z * _slope_of_sigmoid(z)
    return (d_r, d_z, d_n), (d_r, d_z, d_n * r)


def lstm_gates(projected: Gates, from_state: Gates) -> Gates:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000) without peepholes.

    `i, f, g, o = x W + h U + b`; `c' = sigmoid(f) c + sigmoid(i) tanh(g)`;
    `h' = sigmoid(o) tanh(c')`. The state is (h, c).
    """
    i, f, g, o = (x + u for x, u in zip(projected, from_state, strict=True))
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def lstm_update(state: State, gates: Gates) -> State:
    """The next state."""
    (_, c), (i, f, g, o) = state, gates
    c = f * c + i * g
    return o * jnp.tanh(c), c


def lstm_gradient(gates: Gates, cotangents: Gates) -> tuple[Gates, Gates]:
    """The gradient of `lstm_gates`, which is the same by both arguments."""
    slopes = (_slope_of_sigmoid, _slope_of_sigmoid, _slope_of_tanh, _slope_of_sigmoid)
    both = tuple(d * slope(gate) for d, slope, gate in zip(cotangents, slopes, gates, strict=True))
    return both, both


def mgu_gates(projected: Gates, from_state: Gates) -> Gates:
    """Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420): one gate forgets and resets.

    `f = sigmoid(x_f + u_f)`; `n = tanh(x_n + f u_n)`; `h' = (1 - f) h + f n`, where `u = h U + b`.
    The reset follows the product as in the GRU.
    """
    (x_f, x_n), (u_f, u_n) = projected, from_state
    f = jax.nn.sigmoid(x_f + u_f)
    return f, jnp.tanh(x_n + f * u_n), u_n


def mgu_update(state: State, gates: Gates) -> State:
    """The next state."""
    (h,), (f, n, _) = state, gates
    return h + f * (n - h),


def mgu_gradient(gates: Gates, cotangents: Gates) -> tuple[Gates, Gates]:
    """The gradients of `mgu_gates`."""
    (f, n, u_n), (d_f, d_n, _) = gates, cotangents
    d_n = d_n * _slope_of_tanh(n)
    d_f = (d_f + d_n * u_n) * _slope_of_sigmoid(f)
    return (d_f, d_n), (d_f, d_n * f)


def _slope_of_sigmoid(y: jax.Array) -> jax.Array:
    """The derivative where the sigmoid is y."""
    return y * (1 - y)


def _slope_of_tanh(y: jax.Array) -> jax.Array:
    return 1 - y * y


class Cell(NamedTuple):
    """A cell: `update(state, gates(projected, from_state))` is the next state.

    The backward pass keeps the result of `gates`, from which `gradient(gates, cotangents)` finds
    the cotangents of `projected` and `from_state` without another sigmoid or tanh. `signs` has the
    sign of every gate in `chrono_bias_init`. `parts` is the number of arrays of the state,
    `inner_biases` that of the last gates with a bias on `h U`; without any, the gates depend on
    `projected + from_state` alone.
    """

    gates: Callable[[Gates, Gates], Gates]
    update: Callable[[State, Gates], State]
    gradient: Callable[[Gates, Gates], tuple[Gates, Gates]]
    signs: tuple[int, ...]
    parts: int = 1
    inner_biases: int = 1


NONLINEAR = {
    'gru': Cell(gru_gates, gru_update, gru_gradient, (0, 1, 0)),
    'mgu': Cell(mgu_gates, mgu_update, mgu_gradient, (-1, 0)),
    'lstm': Cell(lstm_gates, lstm_update, lstm_gradient, (-1, 1, 0, 0), parts=2, inner_biases=0),
}


def scan_cell(cell: Cell, project: Callable, kernel: jax.Array, bias: jax.Array, start: State,
              inputs: jax.Array, valid: jax.Array | None, *, reverse: bool, unroll: int = 1,
              remat: int = 0) -> tuple[jax.Array, State]:
    """Runs a cell over a sequence with time first.

    Args:
      cell: the cell.
      project: the linear map of the input to the gates, (..., B, C) -> (..., B, gates * hidden).
      kernel: (hidden, gates * hidden).
      bias: (gates * hidden,), added to `h U`.
      start: the state before the first step.
      inputs: (L, B, C).
      valid: bool (L, B) or None; where it is False the state does not change.
      remat: 0 stores the gates and states of all steps for the backward pass; otherwise the steps
        of a chunk: one state a chunk is stored and the rest computed again, which reduces memory
        from O(L) to O(L / remat + remat).

    Returns:
      h of all steps, (L, B, hidden), and the last state.
    """
    if not remat:
        return _scan(cell, reverse, unroll, kernel, bias, start, project(inputs), valid)
    length = inputs.shape[0]
    valid = jnp.ones(inputs.shape[:2], bool) if valid is None else valid
    inputs, valid = (jnp.pad(x, [(0, -length % remat)] + [(0, 0)] * (x.ndim - 1))
                     for x in (inputs, valid))
    chunks = tuple(x.reshape(-1, remat, *x.shape[1:]) for x in (inputs, valid))

    @jax.checkpoint
    def chunk(state, at):
        out, state = _scan(cell, reverse, unroll, kernel, bias, state, project(at[0]), at[1])
        return state, out

    last, out = lax.scan(chunk, start, chunks, reverse=reverse)
    return out.reshape(-1, *out.shape[2:])[:length], last


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _scan(cell, reverse, unroll, kernel, bias, start, projected, valid):
    """All steps; the gradient of `kernel` is one product over time instead of one a step."""
    (states, _), last = _steps(cell, reverse, unroll, kernel, bias, start, projected, valid)
    return states[0], last


def _steps(cell, reverse, unroll, kernel, bias, start, projected, valid):
    """((states, gates) of all steps, last state)."""
    count = len(cell.signs)

    def body(state, at):
        from_state = jnp.split(state[0] @ kernel + bias[None], count, -1)
        gates = cell.gates(at[0], from_state)
        new = _where_valid(cell.update(state, gates), state, at[1])
        return new, (new, gates)

    projected = tuple(jnp.split(projected, count, -1))
    last, out = lax.scan(body, start, (projected, valid), reverse=reverse, unroll=unroll)
    return out, last


def _where_valid(new: State, old: State, valid: jax.Array | None) -> State:
    if valid is None:
        return new
    return tuple(jnp.where(valid[:, None], *pair) for pair in zip(new, old, strict=True))


def _forward(cell, reverse, unroll, kernel, bias, start, projected, valid):
    (states, gates), last = _steps(cell, reverse, unroll, kernel, bias, start, projected, valid)
    return (states[0], last), (kernel, start, valid, states, gates)


def _backward(cell, reverse, unroll, residuals, cotangents):
    kernel, start, valid, states, gates = residuals
    previous = tuple(_before(part, first, reverse)
                     for part, first in zip(states, start, strict=True))
    transposed = kernel.T

    def body(d_state, at):
        d_output, state, gates, valid = at
        d_state = (d_state[0] + d_output, *d_state[1:])
        _, vjp_fn = jax.vjp(lambda *parts: _where_valid(cell.update(*parts), parts[0], valid),
                            state, gates)
        d_state, d_gates = vjp_fn(d_state)
        d_projected, d_from_state = (jnp.concatenate(parts, -1)
                                     for parts in cell.gradient(gates, d_gates))
        d_state = (d_state[0] + d_from_state @ transposed, *d_state[1:])
        return d_state, (d_projected, d_from_state) if cell.inner_biases else (d_projected,)

    d_outputs, d_last = cotangents
    d_start, d_gates = lax.scan(body, d_last, (d_outputs, previous, gates, valid),
                                reverse=not reverse, unroll=unroll)
    d_projected, d_from_state = d_gates[0], d_gates[-1]
    d_kernel = weight_gradient(previous[0], d_from_state)
    return d_kernel, d_from_state.sum((0, 1)), d_start, d_projected, None


def _before(states: jax.Array, start: jax.Array, reverse: bool) -> jax.Array:
    """The state before each step."""
    if reverse:
        return jnp.concatenate([states[1:], start[None]])
    return jnp.concatenate([start[None], states[:-1]])


_scan.defvjp(_forward, _backward)
