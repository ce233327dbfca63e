"""Learning-rate schedules: functions of the step that return a factor of the peak learning rate."""

from collections.abc import Callable

import optax

from jaxseg.errors import InputError
from jaxseg.fields import NonNegativeInt, Positive, PositiveInt, Probability


def constant(*, steps: PositiveInt, warmup: NonNegativeInt = 0) -> Callable:
    """1 after a linear warm-up of `warmup` steps."""
    return _after_warmup(optax.constant_schedule(1.0), steps, warmup)


def poly(*, steps: PositiveInt, warmup: NonNegativeInt = 0, power: Positive = 0.9) -> Callable:
    """`(1 - t/T)^power` (Liu et al. 2015, ParseNet; DeepLab), after a linear warm-up."""
    return _after_warmup(optax.polynomial_schedule(1.0, 0.0, power, steps - warmup), steps, warmup)


def cosine(*, steps: PositiveInt, warmup: NonNegativeInt = 0, floor: Probability = 0.0) -> Callable:
    """Half a cosine from 1 to `floor` (Loshchilov & Hutter 2017), after a linear warm-up."""
    decay = optax.cosine_decay_schedule(1.0, max(steps - warmup, 1), floor)
    return _after_warmup(decay, steps, warmup)


def _after_warmup(schedule: Callable, steps: int, warmup: int) -> Callable:
    if not warmup < steps:
        raise InputError(f'schedule.warmup: {warmup} does not fit into {steps} steps; '
                         f'give 0 to {steps - 1}')
    # The ramp ends at `warmup` and does not start at zero, so that the first step learns.
    ramp = optax.linear_schedule(1.0 / (warmup + 1), 1.0, warmup)
    return optax.join_schedules([ramp, schedule], [warmup])
