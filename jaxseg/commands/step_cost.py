"""Memory and time of a training step, from its compilation and a few runs."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.commands.assemble import assemble, make_algorithm
from jaxseg.commands.run_config import RunConfig
from jaxseg.data.spec import DatasetSpec
from jaxseg.memory import compile_stated, needed_bytes, tree_bytes
from jaxseg.training.layout import init_key, step_key

RUNS = 3  # timed; the fastest counts, as other programs may be running


class StepCost(NamedTuple):
    """Of one training step.

    Attributes:
      parameters: of the model.
      bytes: of memory, parameters and the state of the optimizer included.
      seconds: of one step; None where it was not run.
      compile_seconds: of its compilation.
    """

    parameters: int
    bytes: int
    seconds: float | None
    compile_seconds: float


def step_cost(config: RunConfig, spec: DatasetSpec, size: tuple[int, int], *,
              available: float) -> StepCost:
    """Compiles the step of a config, and runs it on images of zeros if the memory is there.

    Args:
      size: (height, width) of the images of a batch.
      available: bytes of memory.

    Raises:
      InputError: the config cannot be used.
    """
    normalization = {'mean': spec.mean, 'std': spec.std, 'value_range': spec.value_range}
    parts = assemble(config, spec, normalization)
    algorithm, batch = make_algorithm(config, parts), _batch(config, spec, size)
    state = jax.eval_shape(lambda batch: algorithm.init(init_key(0), batch), batch)
    parameters = jax.eval_shape(algorithm.variables, state).get('params', {})
    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    started = time.perf_counter()
    compiled = compile_stated(jax.jit(
        lambda state, batch, index: algorithm.step(state, batch, step_key(0, index)),
        donate_argnums=0).lower(state, batch, np.int32(0)))
    compile_seconds = time.perf_counter() - started
    needed = needed_bytes(compiled) + tree_bytes((state, batch))
    seconds = _time(compiled, state, batch) if needed <= available else None
    return StepCost(count, needed, seconds, compile_seconds)


def _batch(config: RunConfig, spec: DatasetSpec, size: tuple[int, int]) -> dict[str, Any]:
    """The shapes of a batch."""
    shape = (config.batch_size, *size)
    labels = (*shape, len(spec.classes)) if spec.overlapping else shape
    low, high = spec.value_range
    whole = low >= 0 and float(low).is_integer() and float(high).is_integer() and high <= 65535
    dtype = ('uint8' if (low, high) == (0, 255) else 'uint16') if whole else 'float32'
    return {'image': jax.ShapeDtypeStruct((*shape, spec.channels), dtype),
            'label': jax.ShapeDtypeStruct(labels, 'int32'),
            'valid': jax.ShapeDtypeStruct(labels, bool)}


def _time(compiled: Any, state: Any, batch: Any) -> float:
    """Seconds of the fastest of a few steps, on zeros."""
    state, batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (state, batch))
    fastest = float('inf')
    for index in range(RUNS + 1):  # the first allocates
        started = time.perf_counter()
        state, metrics = jax.block_until_ready(compiled(state, batch, np.int32(index)))
        fastest = min(fastest, time.perf_counter() - started) if index else fastest
    return fastest
