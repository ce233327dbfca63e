"""An optimizer: a function of `learning_rate` that returns an optax transformation."""

from collections.abc import Callable

import optax

from jaxseg.fields import Positive
from jaxseg.training.optimizer import scale_by_rate


def signed(*, learning_rate: Positive, schedule: Callable) -> optax.GradientTransformation:
    """signSGD (Bernstein et al. 2018). `scale_by_rate` comes last and reports the rate applied."""
    return optax.chain(optax.scale_by_sign(), scale_by_rate(
        lambda step: learning_rate * schedule(step)))
