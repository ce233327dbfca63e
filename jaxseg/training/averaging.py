"""Averages of the weights along the steps, around any algorithm."""

import dataclasses
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxseg.fields import PositiveInt, Range
from jaxseg.training.supervised import Batch


class AveragedState(struct.PyTreeNode):
    """The state of the algorithm inside, the average so far, and the number of steps done."""

    inner: Any
    average: Any
    count: jax.Array


@dataclasses.dataclass(frozen=True)
class _Average:
    """What the averages share; each has `_weight`, that of the newest of so many variables."""

    algorithm: Any

    @property
    def axis_name(self) -> str | None:
        """That of the algorithm inside."""
        return self.algorithm.axis_name

    def init(self, key: jax.Array, batch: Batch) -> AveragedState:
        """The average starts as the variables."""
        inner = self.algorithm.init(key, batch)
        return AveragedState(inner, self.algorithm.variables(inner), jnp.zeros((), jnp.int32))

    def step(self, state: AveragedState, batch: Batch, key: jax.Array
             ) -> tuple[AveragedState, dict[str, jax.Array]]:
        """A step of the algorithm inside, whose variables are then taken into the average."""
        inner, metrics = self.algorithm.step(state.inner, batch, key)
        count = state.count + 1
        weight = self._weight(count)

        def average(mean: jax.Array, value: jax.Array) -> jax.Array:
            if not jnp.issubdtype(mean.dtype, jnp.inexact):
                return value
            return mean + weight.astype(mean.dtype) * (value - mean)

        averages = jax.tree.map(average, state.average, self.algorithm.variables(inner))
        return AveragedState(inner, averages, count), metrics

    def variables(self, state: AveragedState) -> dict[str, Any]:
        """The average."""
        return state.average

    def compared(self, state: AveragedState) -> dict[str, dict[str, Any]]:
        """What validation scores beside the average: the variables of the last step."""
        return {'raw': self.algorithm.variables(state.inner)}


@dataclasses.dataclass(frozen=True)
class EMA(_Average):
    """Exponential moving average of weights (Polyak & Juditsky 1992; Tarvainen & Valpola 2017).

    After step t it is `sum_i decay^(t - i) w_i / sum_i decay^(t - i)`, i = 1, ..., t: without the
    bias towards the initial weights, as the moments of Adam, so that the decay needs no warm-up.
    Running statistics are averaged as the parameters are (as by Tan & Le 2019, EfficientNet).

    Evaluation, prediction and `jaxseg.load` use the average. Validation scores the weights of the
    last step, too: columns `val_raw_*` of metrics.csv.

    Args:
      algorithm: whose weights are averaged, such as {'type': 'supervised.Supervised'}.
      decay: of the weights of a step with every later one: about 1 / (1 - decay) steps count.
    """

    decay: Annotated[float, Range(above=0, below=1)] = 0.999

    def _weight(self, count: jax.Array) -> jax.Array:
        """`(1 - decay) / (1 - decay^count)`."""
        return (self.decay - 1) / jnp.expm1(count * jnp.float32(math.log(self.decay)))


@dataclasses.dataclass(frozen=True)
class SWA(_Average):
    """Stochastic weight averaging (Izmailov et al. 2018): the mean of the weights of late steps.

    Every step counts from `start` on, not one an epoch; before, the average is the weights
    themselves. It wants a learning rate that stays high, such as `schedule.constant`. Izmailov et
    al. take the statistics of batch norm anew from the training data; here they are averaged as the
    parameters are, which is exact for group norm alone. Scores are those of `EMA`.

    Args:
      algorithm: whose weights are averaged.
      steps: of the run.
      start: the share of the steps before the first whose weights count.
    """

    steps: PositiveInt
    start: Annotated[float, Range(0, below=1)] = 0.75

    def _weight(self, count: jax.Array) -> jax.Array:
        """1 over the number of steps that count."""
        return 1 / jnp.maximum(count - int(self.start * self.steps), 1)
