"""How one training step runs on many devices: `jit` over a mesh, or `pmap`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.axis import mapped_over
from jaxseg.errors import InputError
from jaxseg.memory import check_step_memory
from jaxseg.training.parallel import Parallel
from jaxseg.training.random import random_streams

AXES = ('data', 'fsdp', 'space')
# Elements of an array below which it is not split: the transfer would cost more than it saves.
SMALLEST_SPLIT = 4096


class JitLayout:
    """Global arrays over a mesh of all devices; the default.

    Every layout has the same methods; the step of an algorithm is independent of them. It is traced
    inside `jax.set_mesh`, from which `jaxseg.layers.partition` takes the mesh.

    - A batch is split over 'data' and 'fsdp', the height of its images over 'space'.
    - Of the state (parameters, state of the optimizer, averages), arrays of `SMALLEST_SPLIT`
      elements and more are split over 'fsdp', along the largest dimension that divides.
    - Evaluation and prediction split the batch over all devices, and never an image; of several
      processes each evaluates images of its own, on its own devices.

    Args:
      devices: those of the mesh; None means all.
    """

    axis_name: str | None = None

    def __init__(self, parallel: Parallel, devices: Sequence[jax.Device] | None = None):
        devices = jax.devices() if devices is None else devices
        sizes = parallel.sizes(len(devices))
        self.data, self.fsdp, self.space = sizes
        # `Auto`, as the default of `jax.make_mesh`, `Explicit`, types every array.
        self.mesh = jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)
        self._replicated = NamedSharding(self.mesh, P())
        # Kept, so that one program serves all validations.
        self._gather = jax.jit(lambda arrays: arrays, out_shardings=self._replicated)
        # Those that evaluate.
        self._own = self.mesh if jax.process_count() == 1 else jax.make_mesh(
            (jax.local_device_count(), 1, 1), AXES, devices=jax.local_devices(),
            axis_types=(AxisType.Auto,) * 3)

    def share_of_batch(self) -> tuple[int, int]:
        """Which share of a batch this process reads, and how many shares there are.

        Processes whose devices have the same images, each a part of their height, read the same.

        Raises:
          InputError: the processes have no equal shares.
        """
        rows = self.mesh.devices.reshape(-1, self.space)
        rows_of: dict[int, set[int]] = {}
        for row, devices in enumerate(rows):
            for device in devices:
                rows_of.setdefault(device.process_index, set()).add(row)
        shares = sorted(set(map(tuple, map(sorted, rows_of.values()))))
        if len(shares) * len(shares[0]) != len(rows) or len(set(map(len, shares))) > 1:
            raise InputError(f'config.parallel.space: {self.space} devices share an image, and a '
                             f'process has {jax.local_device_count()}; give a divisor or a '
                             f'multiple of that')
        return shares.index(tuple(sorted(rows_of[jax.process_index()]))), len(shares)

    def check_batch_size(self, batch_size: int):
        """Raises InputError unless every device gets the same number of images."""
        devices = self.data * self.fsdp
        if batch_size % devices:
            raise InputError(f'batch_size: {batch_size} does not divide by the {devices} devices '
                             f'that share a batch; give {-(-batch_size // devices) * devices}')

    def check_height(self, height: int):
        """Raises InputError unless images of this height divide by the devices of 'space'."""
        if height % self.space:
            fitting = -(-height // self.space) * self.space
            raise InputError(f'config.parallel.space: images of height {height} do not divide by '
                             f'the {self.space} devices; let the transforms return a height of '
                             f'{fitting}, as data.transforms.RandomCrop does, or give space=1')

    def place(self, state: Any) -> Any:
        """The shapes of a state (of its variables, too), with the shardings of its arrays."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=self._state_sharding(x)), state)

    def replicate(self, state: Any) -> Any:
        """A state that is placed, as the step takes it."""
        return state

    def unreplicate(self, state: Any) -> Any:
        """The reverse of `replicate`."""
        return state

    def put_variables(self, variables: Any) -> Any:
        """Variables for evaluation: those of a placed state as they are, others copied.

        Of several processes each gets a whole copy on its own devices, where arrays that are not
        split have one already.
        """
        def is_placed(x: Any) -> bool:
            return isinstance(x, jax.Array) and getattr(x.sharding, 'mesh', None) == self.mesh

        own, (leaves, structure) = NamedSharding(self._own, P()), jax.tree.flatten(variables)
        placed = {index: x for index, x in enumerate(leaves) if is_placed(x)}
        if self._own is not self.mesh:
            split = {index: x for index, x in placed.items() if not x.sharding.is_fully_replicated}
            whole = self._gather(split) if split else {}
            placed = {index: jax.make_array_from_single_device_arrays(
                x.shape, own, [shard.data for shard in x.addressable_shards])
                for index, x in (placed | whole).items()}
        return jax.tree.unflatten(structure, [
            placed[index] if index in placed else jax.device_put(x, own)
            for index, x in enumerate(leaves)])

    def put_batch(self, batch: Any) -> Any:
        """Splits a batch of numpy arrays (this process's share of it) over the devices."""
        _, shares = self.share_of_batch()
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(
            self._batch_sharding(x), x, (len(x) * shares, *x.shape[1:])), batch)

    def batch_shapes(self, batch: Any) -> Any:
        """The shapes of the batch of all processes, of this process's share of it."""
        _, shares = self.share_of_batch()
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(x) * shares, *x.shape[1:]),
                                                           x.dtype), batch)

    def put_images(self, images: np.ndarray) -> jax.Array:
        """Splits a batch of images that are evaluated over the devices, of this process."""
        return jax.device_put(images, NamedSharding(self._own, P(AXES)))

    def compile_init(self, init: Callable, seed: int, state: Any) -> Callable:
        """`run(given) -> state` of `init(key, given)`; no device gets more than it keeps.

        Args:
          state: its shapes.
        """
        def run(given: Any) -> Any:
            shardings = jax.tree.map(self._state_sharding, given)
            compiled = jax.jit(lambda given: init(init_key(seed), given), in_shardings=(shardings,),
                               out_shardings=jax.tree.map(self._state_sharding, state))
            # From shapes, as types of placed arrays name the mesh: `init` would be traced again.
            program = compiled.lower(jax.eval_shape(lambda given: given, given)).compile()
            return program(jax.device_put(given, shardings))

        return run

    def compile_step(self, step: Callable, seed: int, state: Any, batch: Any, remedy: str = ''
                     ) -> Callable:
        """`run(state, batch, index) -> (state, metrics)` of a step; the state is donated.

        Args:
          state: its shapes.
          batch: numpy arrays, this process's share.
          remedy: what to do where the memory is too little, besides a smaller batch.

        Raises:
          InputError: the device does not support the step, or has too little memory for it.
        """
        return self.step_program(step, seed, state, batch, remedy)

    def step_program(self, step: Callable, seed: int, state: Any, batch: Any, remedy: str = ''
                     ) -> jax.stages.Compiled:
        """The program that `compile_step`, which has the same arguments, runs."""
        shardings = jax.tree.map(self._state_sharding, state)
        run = jax.jit(lambda state, batch, index: step(state, batch, step_key(seed, index)),
                      donate_argnums=0, out_shardings=(shardings, self._replicated),
                      in_shardings=(shardings, jax.tree.map(self._batch_sharding, batch), None))
        with jax.set_mesh(self.mesh):
            return self._compile(run, (state, self.batch_shapes(batch)), state, batch, remedy)

    def _compile(self, run: Any, given: tuple[Any, Any], state: Any, batch: Any, remedy: str
                 ) -> jax.stages.Compiled:
        """Compiles in advance, so that what the device cannot do shows before the first step.

        Args:
          given: the shapes of the state and of the batch as `run` takes them.
          state: those of the state of the algorithm.
        """
        try:
            compiled = run.lower(*given, np.int32(0)).compile()
        except jax.errors.JaxRuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f'the training step cannot be compiled for {jax.default_backend()} '
                             f'({reason}); give another model.dtype, or another part') from error
        count = len(jax.tree.leaves(batch)[0]) * self.share_of_batch()[1]
        check_step_memory(compiled, self.place(state), count, self.data * self.fsdp, remedy)
        return compiled

    def _state_sharding(self, x: Any) -> NamedSharding:
        """The largest dimension that divides by 'fsdp' is split, of equal ones the last."""
        shape = np.shape(x)
        fitting = [axis for axis, side in enumerate(shape) if side % self.fsdp == 0]
        if self.fsdp == 1 or math.prod(shape) < SMALLEST_SPLIT or not fitting:
            return self._replicated
        largest = max(fitting, key=lambda axis: (shape[axis], axis))
        return NamedSharding(self.mesh, P(*[None] * largest, 'fsdp'))

    def _batch_sharding(self, x: Any) -> NamedSharding:
        """Images (B, H, W, C), labels and masks (B, H, W); other arrays have no height."""
        spatial = ('space',) if np.ndim(x) >= 3 else ()
        return NamedSharding(self.mesh, P(('data', 'fsdp'), *spatial))


class PmapLayout(JitLayout):
    """One program a device under `jax.pmap`, in one process; the same steps as `JitLayout`."""

    axis_name = 'data'

    def __init__(self, parallel: Parallel):
        super().__init__(parallel)
        if jax.process_count() > 1:
            raise InputError("config.parallel.strategy: 'pmap' runs in one process, here are "
                             "several; use 'jit'")
        self._devices = jax.local_devices()

    def replicate(self, state: Any) -> Any:
        count = len(self._devices)
        return jax.tree.map(lambda x: np.broadcast_to(x, (count, *np.shape(x))).copy(), state)

    def unreplicate(self, state: Any) -> Any:
        return jax.tree.map(lambda x: x[0], state)

    def put_batch(self, batch: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(len(self._devices), -1, *x.shape[1:]), batch)

    def compile_step(self, step: Callable, seed: int, state: Any, batch: Any, remedy: str = ''
                     ) -> Callable:
        compiled = self.step_program(step, seed, state, batch, remedy)

        def run(state: Any, batch: Any, index: Any) -> tuple[Any, Any]:
            state, metrics = compiled(state, batch, index)
            return state, jax.tree.map(lambda x: x[0], metrics)

        return run

    def step_program(self, step: Callable, seed: int, state: Any, batch: Any, remedy: str = ''
                     ) -> jax.stages.Compiled:
        def mapped(state: Any, batch: Any, index: jax.Array) -> tuple[Any, Any]:
            with mapped_over(self.axis_name):
                return step(state, batch, step_key(seed, index))

        count = len(self._devices)
        stacked = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), state)
        return self._compile(
            jax.pmap(mapped, axis_name=self.axis_name, devices=self._devices,
                     in_axes=(0, 0, None), donate_argnums=0), (stacked, self.put_batch(batch)),
            state, batch, remedy)


def make_layout(parallel: Parallel) -> JitLayout:
    """The layout of a run."""
    return (PmapLayout if parallel.strategy == 'pmap' else JitLayout)(parallel)


def init_key(seed: int) -> jax.Array:
    """The key of the initial state."""
    return random_streams(jax.random.key(seed), ('init',))['init']


def step_key(seed: int, index: Any) -> jax.Array:
    """The key of step number `index`, counted from 0."""
    return jax.random.fold_in(random_streams(jax.random.key(seed), ('step',))['step'], index)
