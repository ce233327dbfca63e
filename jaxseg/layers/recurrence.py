"""A recurrence along a sequence with a cell chosen by name."""

import functools
from collections.abc import Callable
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import NonNegativeInt, PositiveInt
from jaxseg.layers.chrono_bias_init import chrono_bias_init
from jaxseg.layers.dense import matmul_f32
from jaxseg.layers.linear_cells import LINEAR
from jaxseg.layers.linear_recurrence import Schedule, linear_recurrence
from jaxseg.layers.nonlinear_cells import NONLINEAR, Cell, scan_cell

CellName = Literal['gru', 'lstm', 'mgu', 'mingru', 'minlstm', 'rglru', 's6', 'lru']
CELLS = get_args(CellName)


class Recurrence(nn.Module):
    """(B, L, C) -> (B, L, features) and the state after the last step.

    `cell` is non-linear ('gru', 'lstm', 'mgu': one step after the other, `unroll` steps an
    iteration of the loop, `remat` as in `scan_cell`) or linear in its state ('mingru', 'minlstm',
    'rglru', 's6', 'lru': `schedule` as in `linear_recurrence`). One matrix product projects all
    positions at once; the scan holds only what depends on the state, which is float32. `reverse`
    runs from the end to the beginning; the outputs stay in the order of the inputs.

    Raises:
      InputError: a schedule for a non-linear cell; `unroll` or `remat` for a linear one.
    """

    features: PositiveInt
    cell: CellName = 'gru'
    reverse: bool = False
    schedule: Schedule = 'auto'
    unroll: PositiveInt = 1
    remat: NonNegativeInt = 0

    @nn.compact
    def __call__(self, x: jax.Array, state=None, valid: jax.Array | None = None, *,
                 split: bool = False):
        """Starts from `state`, which an earlier call returned; keeps it where `valid` is False.

        `valid` is bool (B, L); outputs at positions that are not valid have no meaning. A sequence
        in pieces, each with the state of the one before, gives the outputs of the whole. With
        `split` the positions are split over devices, as `jaxseg.layers.split_scan` calls it for a
        cell that is linear in its state.
        """
        self._check()
        # Time first, so that every step reads one contiguous block.
        x, valid = jnp.swapaxes(x, 0, 1), None if valid is None else valid.T
        if self.cell in NONLINEAR:
            y, state = self._nonlinear(NONLINEAR[self.cell], x, state, valid)
        else:
            recur = functools.partial(linear_recurrence, schedule=self.schedule,
                                      reverse=self.reverse, axis=0, split=split)
            options = dict(reverse=self.reverse, split=split) if self.cell == 's6' else {}
            y, state = LINEAR[self.cell](self.param, x, self.features, state, valid, recur,
                                         **options)
        return jnp.swapaxes(y.astype(x.dtype), 0, 1), state

    def _nonlinear(self, cell: Cell, x: jax.Array, state, valid: jax.Array | None):
        gates = len(cell.signs)
        hidden, width = self.features, gates * self.features
        input_kernel = self.param('input_kernel', nn.initializers.lecun_normal(),
                                  (x.shape[-1], width))
        input_bias = self.param('input_bias', chrono_bias_init(cell.signs), (width,))
        kernel = self.param('recurrent_kernel', _orthogonal_gates(gates), (hidden, width))
        bias = jnp.zeros(width)
        if cell.inner_biases:
            inner = self.param('recurrent_bias', nn.initializers.zeros,
                               (cell.inner_biases * hidden,))
            bias = jnp.pad(inner, (width - inner.size, 0))

        def project(x):
            return matmul_f32(x, input_kernel) + input_bias[None, None]

        if state is None:
            state = (jnp.zeros((x.shape[1], hidden)),) * cell.parts
        return scan_cell(cell, project, kernel, bias, state, x, valid, reverse=self.reverse,
                         unroll=self.unroll, remat=self.remat)

    @property
    def linear(self) -> bool:
        """Whether the cell is linear in its state."""
        return self.cell in LINEAR

    def _check(self):
        if self.cell in NONLINEAR and self.schedule != 'auto':
            raise InputError(f'schedule: {self.schedule!r} with cell {self.cell!r}, which is not '
                             f'linear in its state and runs one step after the other; remove the '
                             f'schedule, or use a cell of {", ".join(LINEAR)}')
        if self.cell in LINEAR and (self.unroll != 1 or self.remat):
            raise InputError(f'unroll, remat: {self.unroll} and {self.remat} with cell '
                             f'{self.cell!r}, which has no use for them; remove them, or use a '
                             f'cell of {", ".join(NONLINEAR)}')


def _orthogonal_gates(gates: int) -> Callable:
    """One orthogonal matrix a gate (Saxe et al. 2014)."""

    def init(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
        orthogonal = nn.initializers.orthogonal()
        square = (shape[0], shape[0])
        return jnp.concatenate([orthogonal(each, square, dtype)
                                for each in jax.random.split(key, gates)], -1)

    return init
