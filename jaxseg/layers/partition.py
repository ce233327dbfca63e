"""The mesh of a step, for layers that must know how its arrays are split over the devices.

The layout of a run traces its step inside `jax.set_mesh(mesh)`, with a mesh of three axes:

- 'data': copies of the parameters, each with its share of the batch;
- 'fsdp': shares of the batch, too, and of the parameters;
- 'space': shares of the height of every image.

XLA's partitioner splits most operations by itself (a convolution exchanges the rows at the border
of two devices). A layer asks `space_axis` only where the partitioner would gather the whole height
on every device, as it does for a resize and for a scan over the rows.
"""

import math

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

SPACE_AXIS = 'space'
# How feature maps (B, H, W, C), labels and masks (B, H, W) are split.
IMAGES = P(('data', 'fsdp'), SPACE_AXIS)


def space_axis() -> AbstractMesh | None:
    """The mesh if the step that is traced splits the height of images; None otherwise.

    `mesh.shape[SPACE_AXIS]` is the number of devices along the height. `jax.shard_map` uses this
    mesh where it is given none; inside of it the axis is mapped already, and this is None, as it
    is under `pmap`, in evaluation and outside of a training step.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    split = axes.get(SPACE_AXIS) == AxisType.Auto and mesh.shape[SPACE_AXIS] > 1
    return mesh if split else None


def on_many_devices() -> bool:
    """Whether the step that is traced splits its arrays in any way."""
    return jax.sharding.get_abstract_mesh().size > 1


def constrain(x: jax.Array) -> jax.Array:
    """Keeps the batch and the height of `x` (B, H, ...) split, where the step splits the height.

    The height need not divide by the devices: the last of them then have fewer rows or none.
    """
    return x if space_axis() is None else jax.lax.with_sharding_constraint(x, IMAGES)


def gather_height(x: jax.Array) -> jax.Array:
    """Brings all of the height of `x` (B, H, ...) to every device; the batch stays split."""
    return x if space_axis() is None else jax.lax.with_sharding_constraint(x, P(IMAGES[0]))


def batch_axes(batch: int) -> tuple[str, ...] | None:
    """Axes over which a batch of this size is split in `jax.shard_map`; None where it is copied."""
    mesh, axes = jax.sharding.get_abstract_mesh(), IMAGES[0]
    return axes if batch % math.prod(mesh.shape[axis] for axis in axes) == 0 else None


def fill_height(x: jax.Array, multiple: int = 1) -> jax.Array:
    """Adds rows of zeros to `x` (B, H, ...) until every device has as many, where it is split.

    These are a multiple of `multiple`.
    """
    mesh = space_axis()
    missing = 0 if mesh is None else -x.shape[1] % (multiple * mesh.shape[SPACE_AXIS])
    if not missing:
        return x
    return constrain(jnp.pad(x, ((0, 0), (0, missing), *[(0, 0)] * (x.ndim - 2))))
