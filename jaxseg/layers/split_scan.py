"""Recurrences over the rows and the columns of maps whose height may be split over devices.

A step that splits the height of images (`jaxseg.layers.partition`) gives the results of one that
does not, forward and backward:

- Along the rows every device scans its own rows.
- Along the columns, and along all rows as one sequence, a recurrence that is linear in its state
  runs on all devices at once: each reduces its part to the pair (product of the decays, state from
  zero), all exchange these pairs, and each runs from the state that the pairs before it give.
- Along the columns with any other cell the map is turned to be split by its width, which moves
  every value once, and every device scans whole columns. Handing the state on would leave all
  devices but one waiting.
- All rows as one sequence with such a cell: every device scans the whole map, which is gathered.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from jaxseg.layers.partition import (
    SPACE_AXIS,
    batch_axes,
    constrain,
    fill_height,
    gather_height,
    space_axis,
)

Schedule = Callable[[jax.Array, jax.Array, jax.Array, bool], jax.Array]


def scan_rows(recurrence: Callable, x: jax.Array) -> jax.Array:
    """Every row of (B, H, W, C) through `recurrence`, a `Recurrence`: -> (B, H, W, features)."""
    if space_axis() is None:
        y, _ = recurrence(x.reshape(-1, *x.shape[2:]))
        return y.reshape(*x.shape[:3], -1)
    axes, height = batch_axes(len(x)), x.shape[1]
    maps, lines = P(axes, SPACE_AXIS), P((*(axes or ()), SPACE_AXIS))
    # Each device puts its own rows into one axis: the order of lines does not matter.
    merged = _on_devices(lambda x: x.reshape(-1, *x.shape[2:]), maps, lines)(fill_height(x))
    y, _ = recurrence(merged)
    images = len(x) // _count(axes)
    y = _on_devices(lambda y: y.reshape(images, -1, *y.shape[1:]), lines, maps)(y)
    return constrain(y[:, :height])


def scan_columns(recurrence: Callable, x: jax.Array) -> jax.Array:
    """Every column of (B, H, W, C) through `recurrence`: -> (B, H, W, features)."""
    if space_axis() is None or not recurrence.linear:
        return turn(scan_rows(recurrence, turn(x)))
    (batch, height, width), maps = x.shape[:3], P(batch_axes(len(x)), SPACE_AXIS)
    filled = fill_height(x)
    lines = _on_devices(lambda x: x.swapaxes(1, 2).reshape(-1, x.shape[1], x.shape[3]), maps, maps)
    y, _ = recurrence(lines(filled), valid=_valid(batch * width, filled.shape[1], height),
                      split=True)
    restored = _on_devices(lambda y: y.reshape(-1, width, *y.shape[1:]).swapaxes(1, 2), maps, maps)
    return constrain(restored(y)[:, :height])


def scan_sequence(recurrence: Callable, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
    """All rows of (B, H, W, C) as one sequence: -> (B, H, W, features), the state after it."""
    if space_axis() is None or not recurrence.linear:
        y, state = recurrence(gather_height(x).reshape(x.shape[0], -1, x.shape[-1]), state)
        return constrain(gather_height(y).reshape(*x.shape[:3], -1)), state
    (batch, height, width), maps = x.shape[:3], P(batch_axes(len(x)), SPACE_AXIS)
    filled = fill_height(x)
    line = _on_devices(lambda x: x.reshape(len(x), -1, x.shape[-1]), maps, maps)(filled)
    y, state = recurrence(line, state, _valid(batch, line.shape[1], height * width), split=True)
    restored = _on_devices(lambda y: y.reshape(len(y), -1, width, y.shape[-1]), maps, maps)
    return constrain(restored(y)[:, :height]), state


def turn(x: jax.Array) -> jax.Array:
    """Rows become columns: (B, H, W, C) -> (B, W, H, C), split by its own height, W."""
    return constrain(x.swapaxes(1, 2))


def split_recurrence(run: Schedule, a: jax.Array, b: jax.Array, start: jax.Array, reverse: bool
                     ) -> jax.Array:
    """`run(a, b, start, reverse)` of `linear_recurrence` where axis 0 is split over the devices.

    Args:
      a, b: (L, B, ...), L a multiple of the devices.
      start: (B, ...).
    """

    def local(a: jax.Array, b: jax.Array, start: jax.Array) -> jax.Array:
        alone = run(a, b, jnp.zeros_like(start), reverse)[0 if reverse else -1]
        decays, states = (lax.all_gather(part, SPACE_AXIS) for part in (jnp.prod(a, 0), alone))
        own, devices, state = lax.axis_index(SPACE_AXIS), len(states), start
        for device in reversed(range(devices)) if reverse else range(devices):
            passed = device > own if reverse else device < own
            state = jnp.where(passed, decays[device] * state + states[device], state)
        return run(a, b, state, reverse)

    axes = batch_axes(b.shape[1])
    parts = P(SPACE_AXIS, axes)
    return _on_devices(local, (parts, parts, P(axes)), parts)(a, b, start)


def split_shift(x: jax.Array, edge: jax.Array, backward: bool) -> jax.Array:
    """Value t is x at t - 1 (`backward`: t + 1); the first (the last) is `edge`; axis 0 is split.
    """
    devices = space_axis().shape[SPACE_AXIS]

    def local(x: jax.Array, edge: jax.Array) -> jax.Array:
        pairs = [(device, device + 1) for device in range(devices - 1)]
        pairs = [pair[::-1] for pair in pairs] if backward else pairs
        at_border = lax.axis_index(SPACE_AXIS) == (devices - 1 if backward else 0)
        neighbour = lax.ppermute(x[0 if backward else -1], SPACE_AXIS, pairs)
        neighbour = jnp.where(at_border, edge, neighbour)[None]
        return jnp.concatenate([x[1:], neighbour] if backward else [neighbour, x[:-1]])

    axes = batch_axes(x.shape[1])
    parts = P(SPACE_AXIS, axes)
    return _on_devices(local, (parts, P(axes)), parts)(x, edge)


def _on_devices(function: Callable, in_specs: Any, out_specs: Any) -> Callable:
    return jax.shard_map(function, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _count(axes: tuple[str, ...] | None) -> int:
    """The number of parts into which these axes of the mesh split."""
    mesh = jax.sharding.get_abstract_mesh()
    return functools.reduce(lambda count, axis: count * mesh.shape[axis], axes or (), 1)


def _valid(lines: int, length: int, real: int) -> jax.Array | None:
    """Which positions of (lines, length) are not rows that fill up the last device."""
    if length == real:
        return None
    return jnp.broadcast_to(jnp.arange(length)[None] < real, (lines, length))
