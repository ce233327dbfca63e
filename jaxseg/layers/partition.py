"""The mesh of a step, for layers that must know how its arrays are split over the devices.

The layout of a run traces its step inside `jax.set_mesh(mesh)`, with a mesh of three axes:

- 'data': copies of the parameters, each with its share of the batch;
- 'fsdp': shares of the batch, too, and of the parameters;
- 'space': shares of the height of every image.

XLA's partitioner splits most operations by itself (a convolution exchanges the rows at the border
of two devices). A layer asks `space_axis` only where the partitioner would gather the whole height
on every device, as it does for a resize and for a scan over the rows.
"""

import jax
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


def constrain(x: jax.Array) -> jax.Array:
    """Keeps the batch and the height of `x` (B, H, ...) split, where the step splits the height.

    The height need not divide by the devices: the last of them then have fewer rows or none.
    """
    return x if space_axis() is None else jax.lax.with_sharding_constraint(x, IMAGES)
