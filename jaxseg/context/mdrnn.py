"""The two-dimensional recurrence: a position hears its upper and its left neighbour."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.errors import InputError
from jaxseg.layers.chrono_bias_init import chrono_bias_init
from jaxseg.layers.merge import Merge, combine, fold
from jaxseg.layers.nonlinear_cells import gru_step

CELLS = ('linear', 'gru')


class MDRNN2D(nn.Module):
    """Multi-dimensional recurrence from four corners (Graves et al. 2007, arXiv:0705.2011).

    (B, H, W, C) -> (B, H, W, features) summed, (B, H, W, 4 features) concatenated, or C channels where `merge` adds to
    the input. `h[i, j]` depends on `x[i, j]`, `h[i - 1, j]` and `h[i, j - 1]`, states outside the map being zero; the
    other three corners do the same to the flipped map, with parameters of their own (a leading axis of 4: as it is,
    upside down, left to right, both). After one layer every position has seen the whole picture, along every path.

    All positions of an anti-diagonal are computed at once, as in PixelRNN (van den Oord et al. 2016, arXiv:1601.06759):
    H + W - 1 steps, all corners in the same step. The state is float32; memory is linear in H * W, forward and backward.

    - 'linear': `h = u h_up + l h_left + (1 - u - l) v`, where v is linear in x and `u, l, 1 - u - l` are the softmax of
      three linear functions of x: the state stays in the convex hull of the v and 0. Spatial propagation (Liu et al.
      2017, arXiv:1710.01020) with two neighbours.
    - 'gru': a GRU whose state before is `(h_up + h_left) / 2`, with the reset after the product.

    `patch` and `merge` as in `renet.ReNet`.

    Raises:
      InputError: an unknown cell, combination or merge, a patch below 1.
    """

    features: int
    cell: str = 'linear'
    combine: str = 'sum'
    patch: int = 1
    merge: str = 'replace'

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        flips = ((), (1,), (2,), (1, 2))
        folded = fold(x, self.patch)
        corners = nn.vmap(_Corner, variable_axes={'params': 0}, split_rngs={'params': True})(
            self.features, self.cell, name='corners')(jnp.stack([jnp.flip(folded, axes) for axes in flips]))
        parts = [jnp.flip(corner, axes) for corner, axes in zip(corners, flips, strict=True)]
        return Merge(self.merge, self.patch, name='merge')(x, combine(parts, self.combine))


class _Corner(nn.Module):
    """The recurrence from the upper left corner: (B, H, W, C) -> (B, H, W, features)."""

    features: int
    cell: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.cell not in CELLS:
            raise InputError(f'cell: {self.cell!r} is unknown; known: {", ".join(CELLS)}')
        # A skewed map has rows * (rows + columns - 1) positions: linear in H * W only when the rows are the shorter side.
        tall = x.shape[1] > x.shape[2]
        lying = x.swapaxes(1, 2) if tall else x
        y = self._linear(lying, tall) if self.cell == 'linear' else self._gru(lying)
        return (y.swapaxes(1, 2) if tall else y).astype(x.dtype)

    def _linear(self, x: jax.Array, tall: bool) -> jax.Array:
        projected = nn.Dense(4 * self.features, dtype=x.dtype, bias_init=_open_gates, name='input')(x).astype(jnp.float32)
        gates, value = projected[..., :3 * self.features], projected[..., 3 * self.features:]
        gates = jax.nn.softmax(gates.reshape(*x.shape[:3], 3, self.features), -2)
        up, left = (gates[..., 1, :], gates[..., 0, :]) if tall else (gates[..., 0, :], gates[..., 1, :])

        # Outside the map all three are zero, so the state is.
        def step(state: jax.Array, at: tuple[jax.Array, ...]) -> jax.Array:
            return at[0] * above(state) + at[1] * state + at[2]

        return scan_diagonals(step, (up, left, gates[..., 2, :] * value), self.features)

    def _gru(self, x: jax.Array) -> jax.Array:
        projected = nn.Dense(3 * self.features, dtype=x.dtype, bias_init=chrono_bias_init((0, 1, 0)), name='input')(x).astype(jnp.float32)
        # Not orthogonal as elsewhere: under vmap that is a batch of QR decompositions, in which XLA on CPU may lock up.
        kernel = self.param('recurrent_kernel', nn.initializers.lecun_normal(), (self.features, 3 * self.features))
        bias = self.param('recurrent_bias', nn.initializers.zeros, (self.features,))
        inner = jnp.pad(bias, (2 * self.features, 0))

        def step(state: jax.Array, at: tuple[jax.Array, ...]) -> jax.Array:
            mean = (above(state) + state) / 2
            after, = gru_step((mean,), at[:3], jnp.split(mean @ kernel + inner[None, None], 3, -1))
            return at[3] * after

        return scan_diagonals(step, (*jnp.split(projected, 3, -1), jnp.ones((*x.shape[:3], 1))), self.features)


def scan_diagonals(step: Callable, inputs: tuple[jax.Array, ...], features: int) -> jax.Array:
    """One `step(state, inputs on the anti-diagonal) -> state` for every anti-diagonal, from the upper left corner.

    Args:
      step: the state (B, H, features) holds position (i, d - i) in row i at step d; so `state` is what stands to the
        left of the next diagonal, and `above(state)` what stands above it. It must be zero where the inputs are.
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
    """Row i holds what row i - 1 held, the first row zeros: (B, H, F)."""
    return jnp.pad(state[:, :-1], ((0, 0), (1, 0), (0, 0)))


def skew(x: jax.Array) -> jax.Array:
    """Row i moved i positions to the right, zeros around it: (B, H, W, K) -> anti-diagonals (H + W - 1, B, H, K)."""
    b, rows, columns, k = x.shape
    # Rows of H + W read as rows of H + W - 1: each starts one position later than the one before. No gather is needed.
    line = jnp.pad(x, ((0, 0), (0, 0), (0, rows), (0, 0))).reshape(b, -1, k)[:, :-rows]
    return jnp.moveaxis(line.reshape(b, rows, rows + columns - 1, k), 2, 0)


def unskew(x: jax.Array) -> jax.Array:
    """The inverse of `skew`: (H + W - 1, B, H, K) -> (B, H, W, K)."""
    diagonals, b, rows, k = x.shape
    line = jnp.pad(jnp.moveaxis(x, 0, 2).reshape(b, -1, k), ((0, 0), (0, rows), (0, 0)))
    return line.reshape(b, rows, diagonals + 1, k)[:, :, :diagonals + 1 - rows]


def _open_gates(key: jax.Array, shape: tuple[int], dtype=jnp.float32) -> jax.Array:
    """Biases with which `1 - u - l` starts as the share 1 / (1 + u): the softmax has two equal gates that keep."""
    return chrono_bias_init((0, 0, -1, 0))(key, shape, dtype).reshape(4, -1).at[:2].set(-jnp.log(2.0)).reshape(-1)
