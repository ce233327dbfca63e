"""Averages of the weights along the steps, around any algorithm."""

import dataclasses
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxseg.errors import InputError
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
        averages = self._completed(averages, state.average, count, batch, key)
        return AveragedState(inner, averages, count), metrics

    def _completed(self, average: Any, before: Any, count: jax.Array, batch: Batch,
                   key: jax.Array) -> Any:
        """The average, with what is no mean; `before` is that of the step before."""
        return average

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
    themselves. It wants a learning rate that stays high, such as `schedule.constant`. Scores are
    those of `EMA`.

    The statistics of batch norm are those of the averaged weights, not averages: in every step that
    counts the batch goes through the model once more, with these weights, and updates the running
    statistics with their momentum, as in training. (Izmailov et al. do this after the last step.)
    That takes about a third more time for these steps; models without batch norm take none.

    Args:
      algorithm: whose weights are averaged; with batch norm it has a method `with_statistics`, as
        `supervised.Supervised` has.
      steps: of the run.
      start: the share of the steps before the first whose weights count.

    Raises:
      InputError: a model with batch norm, and an algorithm without that method.
    """

    steps: PositiveInt
    start: Annotated[float, Range(0, below=1)] = 0.75

    def _weight(self, count: jax.Array) -> jax.Array:
        """1 over the number of steps that count."""
        return 1 / jnp.maximum(self._counting(count), 1)

    def _counting(self, count: jax.Array) -> jax.Array:
        return count - int(self.start * self.steps)

    def _completed(self, average: Any, before: Any, count: jax.Array, batch: Batch,
                   key: jax.Array) -> Any:
        if 'batch_stats' not in average:
            return average
        if not hasattr(self.algorithm, 'with_statistics'):
            raise InputError(f'algorithm.algorithm: {type(self.algorithm).__name__} has no method '
                             f'with_statistics, which SWA needs for the statistics of batch norm; '
                             f"write it as jaxseg/training/supervised.py does, or give "
                             f"norm='group', or averaging.EMA")
        # The first average is a copy of the weights, with their statistics.
        return jax.lax.cond(
            self._counting(count) > 1,
            lambda: self.algorithm.with_statistics({**before, 'params': average['params']},
                                                   batch, key),
            lambda: average)
