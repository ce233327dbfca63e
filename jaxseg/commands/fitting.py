"""Choices that fit into the memory and the time that there are, by compiling what they need."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxseg.commands.choices import Choice, apply
from jaxseg.commands.planning import Limits, Planner
from jaxseg.commands.pretrained_choice import choose_encoder
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.step_cost import StepCost
from jaxseg.data.fingerprint import Fingerprint
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

TRIES = 8
# Updates below which smaller batches, and then a smaller model, are better.
FEWEST_STEPS = 200
SMALLEST_BATCH = 4
# Seconds of a run before its first compilation.
STARTUP = 8.0
# Share of the time that evaluations may take, and what one image costs there, in training images.
EVALUATION_SHARE, EVALUATION_COST = 0.15, 0.4
MOST_EVALUATIONS = 8
# What reading the data and the reports add to the time of a step.
OVERHEAD = 1.1


class Budget(NamedTuple):
    """What training may take.

    Attributes:
      minutes: of a whole run, None without a limit.
      bytes: of memory.
      accelerator: whether there is a GPU or TPU.
      devices: their number.
      pretrained: a file of weights for the encoder.
      pretrained_type: the table of its names, None to find it.
    """

    minutes: float | None
    bytes: float
    accelerator: bool = False
    devices: int = 1
    pretrained: str | None = None
    pretrained_type: str | None = None


class Fitted(NamedTuple):
    """Choices, and the cost of a step with them."""

    choices: list[Choice]
    config: RunConfig
    cost: StepCost

    def summary(self) -> str:
        """As text: size, memory and time."""
        cost, steps = self.cost, self.config.steps
        minutes = steps * (cost.seconds or 0) * OVERHEAD / 60
        return (f'{cost.parameters / 1e6:.2f} M parameters; a step of {self.config.batch_size} '
                f'images needs {cost.bytes / 2 ** 30:.2f} GiB and {cost.seconds:.3g} s here, '
                f'{steps} steps about {minutes:.3g} minutes')


def fit(data: dict[str, Any], spec: DatasetSpec, found: Fingerprint, budget: Budget,
        cost: Callable) -> Fitted:
    """The plan of the largest model that fits.

    Args:
      data: the entry `data` of the config.
      cost: as `step_cost.step_cost`.

    Raises:
      InputError: even the smallest needs more memory.
    """
    pretrained = budget.pretrained and choose_encoder(budget.pretrained, budget.pretrained_type,
                                                      spec.channels)
    limits = Limits(budget.accelerator, budget.devices, pretrained=pretrained)
    for _ in range(TRIES):
        planner = Planner(spec, found, limits)
        choices = planner.choices()
        config = RunConfig.from_mapping({'data': data, **apply(choices)})
        step = cost(config, spec, planner.crop, available=budget.bytes)
        if step.bytes > budget.bytes:
            smaller = _less_memory(limits, planner, step.bytes, budget)
            if smaller is None:
                break
            limits = smaller
            continue
        if budget.minutes is None:
            return Fitted(_with_memory(choices, step), config, step)
        timed = _within(budget.minutes, limits, step, planner)
        less = _less_time(limits, planner, timed.steps)
        if less is not None:
            limits = less
            continue
        choices = Planner(spec, found, timed).choices()
        config = RunConfig.from_mapping({'data': data, **apply(choices)})
        return Fitted(_with_memory(choices, step), config, step)
    raise InputError(f'--memory: a training step needs {step.bytes / 2 ** 30:.3g} GiB, and '
                     f'{budget.bytes / 2 ** 30:.3g} GiB are allowed; free memory, or give more')


def _less_memory(limits: Limits, planner: Planner, needed: float, budget: Budget) -> Limits | None:
    """A batch of the largest power of two that should fit, or else a smaller model, if any."""
    most = 1
    while 2 * most * needed / planner.batch <= budget.bytes and 2 * most < planner.batch:
        most *= 2
    if planner.batch > max(most, budget.devices):
        return dataclasses.replace(limits, batch_size=max(most, budget.devices),
                                   batch_reason='all that the memory allows')
    if not planner.shrinks:
        return None
    return dataclasses.replace(limits, smaller=limits.smaller + 1)


def _less_time(limits: Limits, planner: Planner, steps: int) -> Limits | None:
    """A smaller batch, or else a smaller model, too, where there is time for too few steps.

    At best a step of half the images takes half the time: what cannot be enough by this is not
    compiled.
    """
    smallest = max(SMALLEST_BATCH, limits.devices)
    batch = planner.batch
    while batch > smallest and steps * planner.batch < FEWEST_STEPS * batch:
        batch = max(batch // 2, smallest)
    changes: dict[str, Any] = {}
    if batch < planner.batch:
        changes = {'batch_size': batch,
                   'batch_reason': 'few images a step: more steps in the time'}
    if steps * planner.batch < FEWEST_STEPS * batch and planner.shrinks:
        changes['smaller'] = limits.smaller + 1
    return dataclasses.replace(limits, **changes) if changes else None


def _within(minutes: float, limits: Limits, step: StepCost, planner: Planner) -> Limits:
    """Steps and evaluations for a run of so many minutes."""
    images = planner.data.counts.get('val', 0)
    evaluation = EVALUATION_COST * images * step.seconds / planner.batch
    # The step and the inference are compiled again.
    seconds = max(60 * minutes - STARTUP - 1.5 * step.compile_seconds, 0)
    evaluations = int(max(1, min(EVALUATION_SHARE * seconds // max(evaluation, 1e-9),
                                 MOST_EVALUATIONS)))
    steps = int((seconds - evaluations * evaluation) / (OVERHEAD * step.seconds))
    return dataclasses.replace(
        limits, steps=max(steps, 2 * evaluations), evaluations=evaluations,
        steps_reason=f'{minutes:g} minutes at {step.seconds:.2g} s a step on this machine')


def _with_memory(choices: list[Choice], step: StepCost) -> list[Choice]:
    """The choices, with the compiler's estimate beside the batch."""
    return [choice._replace(reason=f'{choice.reason}; the compiler states '
                                   f'{step.bytes / 2 ** 30:.2g} GiB for a step')
            if choice.key == 'batch_size' else choice for choice in choices]
