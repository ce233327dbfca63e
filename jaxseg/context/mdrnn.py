"""Two-dimensional recurrence: each state depends on its top and left neighbours."""

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.fields import PositiveInt
from jaxseg.layers.chrono_bias_init import chrono_bias_init
from jaxseg.layers.dense import Dense
from jaxseg.layers.merge import Combination, Merge, MergeKind, combine, fold
from jaxseg.layers.nonlinear_cells import gru_gates, gru_update
from jaxseg.layers.partition import constrain, gather_height

CellName = Literal['linear', 'gru']


class MDRNN2D(nn.Module):
    """Multi-dimensional recurrence from four corners (Graves et al. 2007, arXiv:0705.2011).

    (B, H, W, C) -> (B, H, W, features) summed, (B, H, W, 4 features) concatenated, or C channels
    where `merge` adds to the input. `h[i, j]` depends on `x[i, j]`, `h[i - 1, j]` and
    `h[i, j - 1]`; states outside the map are zero. The other three corners do the same to the
    flipped map, with their own parameters (a leading axis of 4: not flipped, rows, columns, both).
    After one layer every position depends on every other, along every path.

    All positions of an anti-diagonal are computed at once, as in PixelRNN (van den Oord et al.
    2016, arXiv:1601.06759): H + W - 1 steps, all corners in the same step. The state is float32;
    memory is linear in H * W, forward and backward.

    - 'linear': `h = u h_up + l h_left + (1 - u - l) v`, where v is linear in x and
      `u, l, 1 - u - l` are the softmax of three linear functions of x: the state stays in the
      convex hull of the v and 0. Spatial propagation (Liu et al. 2017, arXiv:1710.01020) with two
      neighbours.
    - 'gru': a GRU whose previous state is `(h_up + h_left) / 2`, with the reset after the product.

    `patch` and `merge` as in `renet.ReNet`.
    """

    features: PositiveInt
    cell: CellName = 'linear'
    combine: Combination = 'sum'
    patch: PositiveInt = 1
    merge: MergeKind = 'replace'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        flips = ((), (1,), (2,), (1, 2))
        # Each step goes over an anti-diagonal of the whole map: where its height is split over
        # devices, all of them compute the same.
        folded = gather_height(fold(x, self.patch))
        corners = nn.vmap(_Corner, variable_axes={'params': 0}, split_rngs={'params': True})(
            self.features, self.cell, name='corners')(
                jnp.stack([jnp.flip(folded, axes) for axes in flips]))
        parts = [jnp.flip(corner, axes) for corner, axes in zip(corners, flips, strict=True)]
        y = constrain(gather_height(combine(parts, self.combine)))
        return Merge(self.merge, self.patch, name='merge')(x, y)


class _Corner(nn.Module):
    """The recurrence from the upper left corner: (B, H, W, C) -> (B, H, W, features)."""

    features: int
    cell: CellName

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # A skewed map has rows * (rows + columns - 1) positions: linear in H * W only where the
        # rows are the shorter side.
        tall = x.shape[1] > x.shape[2]
        wide = x.swapaxes(1, 2) if tall else x
        y = self._linear(wide, tall) if self.cell == 'linear' else self._gru(wide)
        return (y.swapaxes(1, 2) if tall else y).astype(x.dtype)

    def _linear(self, x: jax.Array, tall: bool) -> jax.Array:
        projected = Dense(4 * self.features, bias_init=_gate_bias_init, name='input')(x)
        projected = projected.astype(jnp.float32)
        gates, value = projected[..., :3 * self.features], projected[..., 3 * self.features:]
        gates = jax.nn.softmax(gates.reshape(*x.shape[:3], 3, self.features), -2)
        first, second = (1, 0) if tall else (0, 1)
        up, left = gates[..., first, :], gates[..., second, :]

        # Outside the map all three are zero, so the state is.
        def step(state: jax.Array, at: tuple[jax.Array, ...]) -> jax.Array:
            return at[0] * above(state) + at[1] * state + at[2]

        return scan_diagonals(step, (up, left, gates[..., 2, :] * value), self.features)

    def _gru(self, x: jax.Array) -> jax.Array:
        projected = Dense(3 * self.features, bias_init=chrono_bias_init((0, 1, 0)), name='input')(x)
        projected = projected.astype(jnp.float32)
        # Not orthogonal as elsewhere: under vmap that is a batch of QR decompositions, in which XLA
        # on CPU may lock up.
        kernel = self.param('recurrent_kernel', nn.initializers.lecun_normal(),
                            (self.features, 3 * self.features))
        bias = self.param('recurrent_bias', nn.initializers.zeros, (self.features,))
        inner = jnp.pad(bias, (2 * self.features, 0))

        def step(state: jax.Array, at: tuple[jax.Array, ...]) -> jax.Array:
            mean = (above(state) + state) / 2
            gates = gru_gates(at[:3], jnp.split(mean @ kernel + inner[None, None], 3, -1))
            state, = gru_update((mean,), gates)
            return at[3] * state

        inside = jnp.ones((*x.shape[:3], 1))
        return scan_diagonals(step, (*jnp.split(projected, 3, -1), inside), self.features)


def scan_diagonals(step: Callable, inputs: tuple[jax.Array, ...], features: int) -> jax.Array:
    """`step(state, inputs) -> state` for every anti-diagonal, from the upper left corner.

    Args:
      step: the state (B, H, features) holds position (i, d - i) in row i at step d: `state` holds
        the left neighbours of the next diagonal, and `above(state)` the top ones. It must be zero
        where the inputs are.
      inputs: (B, H, W, K) each.

    Returns:
      The states, (B, H, W, features) float32.
    """
    def body(state, at):
        state = step(state, at)
        return state, state

    start = jnp.zeros((*inputs[0].shape[:2], features), jnp.float32)
    return unskew(lax.scan(body, start, tuple(skew(x) for x in inputs))[1])


def above(state: jax.Array) -> jax.Array:
    """Rows moved down by one, the first row zeros: (B, H, F)."""
    return jnp.pad(state[:, :-1], ((0, 0), (1, 0), (0, 0)))


def skew(x: jax.Array) -> jax.Array:
    """Row i moved i positions to the right, zeros around it.

    (B, H, W, K) -> anti-diagonals (H + W - 1, B, H, K).
    """
    b, rows, columns, k = x.shape
    # Rows of H + W read as rows of H + W - 1: each starts one position later than the one before.
    line = jnp.pad(x, ((0, 0), (0, 0), (0, rows), (0, 0))).reshape(b, -1, k)[:, :-rows]
    return jnp.moveaxis(line.reshape(b, rows, rows + columns - 1, k), 2, 0)


def unskew(x: jax.Array) -> jax.Array:
    """The inverse of `skew`: (H + W - 1, B, H, K) -> (B, H, W, K)."""
    diagonals, b, rows, k = x.shape
    line = jnp.pad(jnp.moveaxis(x, 0, 2).reshape(b, -1, k), ((0, 0), (0, rows), (0, 0)))
    return line.reshape(b, rows, diagonals + 1, k)[:, :, :diagonals + 1 - rows]


def _gate_bias_init(key: jax.Array, shape: tuple[int], dtype=jnp.float32) -> jax.Array:
    """`1 - u - l` starts at the share of new input in `chrono_bias_init`, u and l equal."""
    biases = chrono_bias_init((0, 0, -1, 0))(key, shape, dtype).reshape(4, -1)
    return biases.at[:2].set(-jnp.log(2.0)).reshape(-1)
