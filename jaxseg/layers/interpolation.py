"""Linear interpolation along an axis, whole or split over devices."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec as P

from jaxseg.layers.partition import SPACE_AXIS, batch_axes, constrain, fill_height, space_axis
from jaxseg.layers.platform import platform

# Taps that are written out as one fused loop; more of them would compile for long.
UNROLLED_TAPS = 16
# Old and new length, the distance of new positions in old ones, the first of them, antialias.
Interpolation = tuple[int, int, float, float, bool]
# Indices and weights, (taps, new positions) each.
Taps = tuple[np.ndarray, np.ndarray]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def interpolate(interpolation: Interpolation, split: bool, x: jax.Array) -> jax.Array:
    """`M x` along axis 1, as a sum of gathers: M has only a few numbers in a row and in a column.

    The gradient, `M^T dy`, is a sum of gathers, too; derived from gathers it would be scatters.
    For 256x512 -> 1024x2048 with 19 channels this is 0.15 GFLOP, and 31 as matrix products.

    Args:
      split: axis 1 is the height of images, which `jaxseg.layers.partition` may split.
      x: (B, L, C).
    """
    return _interpolate(interpolation, split, x, transpose=False)


def _forward(interpolation: Interpolation, split: bool, x: jax.Array):
    return interpolate(interpolation, split, x), None


def _backward(interpolation: Interpolation, split: bool, _, cotangent: jax.Array):
    return (_interpolate(interpolation, split, cotangent, transpose=True),)


interpolate.defvjp(_forward, _backward)


def _interpolate(interpolation: Interpolation, split: bool, x: jax.Array, transpose: bool
                 ) -> jax.Array:
    mesh = space_axis() if split else None
    if mesh is None:
        if transpose and platform() == 'cpu' and (factor := _integer_factor(interpolation)):
            return _sum_of_phases(factor, interpolation[0], x)
        return _sum_of_taps(*_taps(interpolation, transpose), x)
    plan = _plan(interpolation, transpose, mesh.shape[SPACE_AXIS])
    if plan is not None:
        return _split_sum_of_taps(plan, mesh.shape[SPACE_AXIS], x)
    # One of the maps has a few rows only: a product, summed over the devices or cut to their rows.
    matrix = _interpolation_matrix(*interpolation)
    y = jnp.einsum('ih,bhc->bic', matrix.T if transpose else matrix, x.astype(jnp.float32),
                   precision=lax.Precision.HIGHEST)
    return constrain(y.astype(x.dtype))


def _sum_of_taps(indices: np.ndarray, weights: np.ndarray, x: jax.Array) -> jax.Array:
    """`y_i = sum_k weights[k, i] x[indices[k, i]]` along axis 1, in float32."""

    def add(total, tap):
        indices, weights = tap
        taken = jnp.asarray(x).at[:, indices].get(mode='promise_in_bounds').astype(jnp.float32)
        return total + taken * weights[None, :, None], None

    total = jnp.zeros((x.shape[0], indices.shape[1], x.shape[2]), jnp.float32)
    if len(indices) > UNROLLED_TAPS:
        taps = jnp.asarray(indices), jnp.asarray(weights)
        return lax.scan(add, total, taps)[0].astype(x.dtype)
    for tap in zip(indices, weights, strict=True):
        total, _ = add(total, tap)
    return total.astype(x.dtype)


def _integer_factor(interpolation: Interpolation) -> int:
    """By which an axis is enlarged, with half-pixel centres; 0 where it is no integer above 1."""
    old, new, step, start, antialias = interpolation
    factor = round(1 / step) if step else 0
    usual = factor > 1 and not antialias and new <= old * factor
    return factor if usual and (step, start) == (1 / factor, 0.5 / factor - 0.5) else 0


def _sum_of_phases(factor: int, old: int, cotangent: jax.Array) -> jax.Array:
    """The gradient of an enlargement, (B, L, C) -> (B, old, C), without a gather.

    XLA on CPU computes what a cotangent is made of again for every gather of it, as for every tap
    of the logits' gradient: 110 ms of one core in a step of 1,500.
    """
    batch, new, channels = cotangent.shape
    cotangent = jnp.pad(cotangent, ((0, 0), (0, old * factor - new), (0, 0)))
    phases = cotangent.reshape(batch, old, factor, channels).astype(jnp.float32)
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    same, before, after = (
        sum(phases[:, :, phase] * weight for phase, weight in enumerate(weights) if weight)
        for weights in (1 - abs(offsets), np.maximum(-offsets, 0), np.maximum(offsets, 0)))

    def pad(part: jax.Array, first: int, last: int) -> jax.Array:
        return jnp.pad(part, ((0, 0), (first, last), (0, 0)))

    total = pad(before, 0, 2) + pad(same, 1, 1) + pad(after, 2, 0)
    # What goes beyond an edge goes to it.
    total = total[:, 1:-1] + pad(total[:, :1], 0, old - 1) + pad(total[:, -1:], old - 1, 0)
    return total.astype(cotangent.dtype)


class Plan(NamedTuple):
    """The taps of new rows that are split over devices, as are the old ones.

    Attributes:
      indices: (taps, devices * new rows of a device), counted from the first row that the device
        has after the exchange with its neighbours.
      weights: the same shape.
      before, after: rows that it gets from the device above and the one below.
      length: number of new rows, without those that fill up the last device.
    """

    indices: np.ndarray
    weights: np.ndarray
    before: int
    after: int
    length: int


@functools.lru_cache(maxsize=256)
def _plan(interpolation: Interpolation, transpose: bool, devices: int) -> Plan | None:
    """None where a new row depends on rows beyond those of the neighbours."""
    indices, weights = _taps(interpolation, transpose)
    (count, length), old = indices.shape, interpolation[int(transpose)]
    rows, margin = -(-old // devices), ((0, 0), (0, -length % devices))
    indices = np.pad(indices, margin, mode='edge').reshape(count, devices, -1)
    weights = np.pad(weights, margin).reshape(indices.shape)
    indices = indices - rows * np.arange(devices)[None, :, None]
    used = np.where(weights == 0, 0, indices)
    before, after = max(0, -used.min()), max(0, used.max() + 1 - rows)
    if max(before, after) > rows:
        return None
    indices = np.clip(indices + before, 0, before + rows + after - 1)
    return Plan(indices.reshape(count, -1), weights.reshape(count, -1), before, after, length)


def _split_sum_of_taps(plan: Plan, devices: int, x: jax.Array) -> jax.Array:
    """`_sum_of_taps` on every device, after an exchange of rows with its neighbours."""

    def local(indices: jax.Array, weights: jax.Array, x: jax.Array) -> jax.Array:
        parts = [x]
        if plan.before:
            down = [(device, device + 1) for device in range(devices - 1)]
            parts.insert(0, lax.ppermute(x[:, -plan.before:], SPACE_AXIS, down))
        if plan.after:
            up = [(device + 1, device) for device in range(devices - 1)]
            parts.append(lax.ppermute(x[:, :plan.after], SPACE_AXIS, up))
        return _sum_of_taps(indices, weights, jnp.concatenate(parts, 1))

    maps, taps = P(batch_axes(x.shape[0]), SPACE_AXIS), P(None, SPACE_AXIS)
    y = jax.shard_map(local, in_specs=(taps, taps, maps), out_specs=maps, check_vma=False)(
        plan.indices, plan.weights, fill_height(x))
    return y[:, :plan.length]


@functools.lru_cache(maxsize=256)
def _taps(interpolation: Interpolation, transpose: bool) -> Taps:
    """The numbers of M that are not zero as indices and weights, each (taps, rows of M)."""
    matrix = _interpolation_matrix(*interpolation)
    matrix = matrix.T if transpose else matrix
    used = matrix != 0
    count = max(1, used.sum(1).max())
    # Those of a row stand side by side; a row of zeros or of fewer taps starts where `count` fit.
    first = np.minimum(used.argmax(1), matrix.shape[1] - count)
    indices = first[:, None] + np.arange(count)[None]
    return indices.T, np.take_along_axis(matrix, indices, 1).T


def _interpolation_matrix(old: int, new: int, step: float, start: float, antialias: bool
                          ) -> np.ndarray:
    """Row i: the weights of the old positions in the new position i, (new, old) float32.

    A triangle around `start + step * i`, two old positions wide, or two new ones where these are
    wider and it is to prevent aliasing. Beyond the border stands the border.
    """
    width = max(1.0, step) if antialias else 1.0
    center = np.clip(start + step * np.arange(new), 0, old - 1)
    weights = np.maximum(0, 1 - np.abs(center[:, None] - np.arange(old)[None]) / width)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
