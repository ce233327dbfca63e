"""How one training step runs on many devices: `jit` over a mesh, or `pmap`."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import InputError
from jaxseg.memory import check_memory, needed_bytes
from jaxseg.training.random import random_streams

DATA_AXIS = 'data'
# A `with` block that gives the mapped axis its name while a step is traced.
MappedOver = Callable[[str | None], contextlib.AbstractContextManager]


class JitLayout:
    """Global arrays over a mesh of all devices, the batch axis split; the default.

    Every layout has the same methods; the step of an algorithm is independent of them.
    """

    axis_name: str | None = None

    def __init__(self):
        # `Auto`, as the default of `jax.make_mesh`, `Explicit`, types every array.
        mesh = jax.make_mesh((jax.device_count(),), (DATA_AXIS,), axis_types=(AxisType.Auto,))
        self._replicated, self._split = NamedSharding(mesh, P()), NamedSharding(mesh, P(DATA_AXIS))

    def put_state(self, state: Any) -> Any:
        """Copies a state onto every device."""
        # Through numpy: device_put may alias its source, which the donating step would then delete.
        return jax.device_put(jax.tree.map(np.array, state), self._replicated)

    def replicate(self, variables: Any) -> Any:
        """Variables for `jit` over all devices, whatever the layout of the step."""
        return jax.device_put(variables, self._replicated)

    def put_batch(self, batch: Any) -> Any:
        """Splits a batch of numpy arrays (this process's share of it) over the devices."""
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(self._split, x), batch)

    def put_images(self, images: np.ndarray) -> jax.Array:
        """Splits a batch that every process holds whole, as in evaluation, over the devices."""
        return jax.device_put(images, self._split)

    def compile_init(self, init: Callable, seed: int) -> Callable:
        """`run(batch) -> state`, replicated."""
        return jax.jit(lambda batch: init(init_key(seed), batch), out_shardings=self._replicated)

    def compile_step(self, step: Callable, seed: int, state: Any, batch: Any) -> Callable:
        """`run(state, batch, index) -> (state, metrics)` of a step; the state is donated.

        Args:
          state: its shapes, unplaced.
          batch: numpy arrays, this process's share.

        Raises:
          InputError: the device does not support the step, or has too little memory for it.
        """
        run = jax.jit(lambda state, batch, index: step(state, batch, step_key(seed, index)),
                      donate_argnums=0, out_shardings=self._replicated,
                      in_shardings=(self._replicated, self._split, None))
        return _compile(run, state, self.put_batch(batch))

    def unreplicate(self, state: Any) -> Any:
        """One copy of a state."""
        return state


class PmapLayout(JitLayout):
    """One program a device under `jax.pmap`, in one process; the same steps as `JitLayout`."""

    axis_name = DATA_AXIS

    def __init__(self, mapped_over: MappedOver):
        super().__init__()
        if jax.process_count() > 1:
            raise InputError("parallel: 'pmap' runs in one process, here are several; use 'jit'")
        self._mapped_over, self._devices = mapped_over, jax.local_devices()

    def put_state(self, state: Any) -> Any:
        count = len(self._devices)
        return jax.tree.map(lambda x: np.broadcast_to(x, (count, *np.shape(x))).copy(), state)

    def put_batch(self, batch: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(len(self._devices), -1, *x.shape[1:]), batch)

    def compile_step(self, step: Callable, seed: int, state: Any, batch: Any) -> Callable:
        def mapped(state: Any, batch: Any, index: jax.Array) -> tuple[Any, Any]:
            with self._mapped_over(DATA_AXIS):
                return step(state, batch, step_key(seed, index))

        count = len(self._devices)
        state = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), state)
        compiled = _compile(jax.pmap(mapped, axis_name=DATA_AXIS, devices=self._devices,
                                     in_axes=(0, 0, None), donate_argnums=0),
                            state, self.put_batch(batch))

        def run(state: Any, batch: Any, index: Any) -> tuple[Any, Any]:
            state, metrics = compiled(state, batch, index)
            return state, jax.tree.map(lambda x: x[0], metrics)

        return run

    def unreplicate(self, state: Any) -> Any:
        return jax.tree.map(lambda x: x[0], state)


def _compile(run: Any, state: Any, batch: Any) -> Callable:
    """Compiles a step in advance, so that what the device cannot do shows before the first one."""
    try:
        compiled = run.lower(state, batch, np.int32(0)).compile()
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f'the training step cannot be compiled for {jax.default_backend()} '
                         f'({reason}); give another model.dtype, or another part') from error
    check_memory('batch_size: a training step', needed_bytes(compiled),
                 'lower it, or the size of the images that transforms return')
    return compiled


def make_layout(parallel: str, mapped_over: MappedOver) -> JitLayout:
    """The layout of a run: 'jit' or 'pmap'. `mapped_over` is that of `jaxseg.axis`."""
    return JitLayout() if parallel == 'jit' else PmapLayout(mapped_over)


def check_batch(batch_size: int, key: str = 'batch_size'):
    """Raises InputError unless the batch size, given by `key`, divides by the number of devices."""
    devices = jax.device_count()
    if batch_size % devices:
        raise InputError(f'{key}: {batch_size} does not divide by the {devices} devices; '
                         f'give {-(-batch_size // devices) * devices}')


def init_key(seed: int) -> jax.Array:
    """The key of the initial state."""
    return random_streams(jax.random.key(seed), ('init',))['init']


def step_key(seed: int, index: Any) -> jax.Array:
    """The key of step number `index`, counted from 0."""
    return jax.random.fold_in(random_streams(jax.random.key(seed), ('step',))['step'], index)
