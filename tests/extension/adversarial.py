"""An algorithm with two networks: a discriminator tells predicted masks from labels."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxseg.errors import InputError
from jaxseg.fields import NonNegative, Positive
from jaxseg.training.random import random_streams
from jaxseg.training.supervised import Batch, Supervised, TrainState


class Discriminator(nn.Module):
    """Probabilities (B, H, W, classes) -> how real they look, one logit per patch."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.leaky_relu(nn.Conv(8, (4, 4), (4, 4))(x))
        return nn.Conv(1, (3, 3))(x)[..., 0]


class AdversarialState(struct.PyTreeNode):
    """The state of the segmentation model, and that of the discriminator."""

    model: TrainState
    discriminator: Any
    discriminator_opt_state: Any


@dataclasses.dataclass(frozen=True)
class Adversarial(Supervised):
    """Luc et al. 2016 (arXiv:1611.08408): the task's losses, and the wish to pass for a label.

    Args:
      weight: of the adversarial loss.
      discriminator_rate: the discriminator's learning rate, under Adam.
    """

    weight: NonNegative = 0.1
    discriminator_rate: Positive = 1e-3

    def __post_init__(self):
        # `Supervised` adds up over devices and microbatches; this step does not.
        if self.axis_name is not None:
            raise InputError("config.parallel.strategy: 'pmap' is not supported by "
                             "Adversarial; use 'jit'")
        if self.accumulate > 1 or self.freeze:
            raise InputError('algorithm: Adversarial has no accumulate and no freeze')

    def init(self, key: jax.Array, batch: Batch) -> AdversarialState:
        """Two networks, two streams of random numbers."""
        keys = random_streams(key, ('model', 'discriminator'))
        classes = jnp.zeros((1, *batch['label'].shape[1:], len(self.task.classes)))
        params = Discriminator().init(keys['discriminator'], classes)
        return AdversarialState(super().init(keys['model'], batch), params,
                                self._adam().init(params))

    def step(self, state: AdversarialState, batch: Batch, key: jax.Array
             ) -> tuple[AdversarialState, dict]:
        """One update of each network, both from the state before."""
        model, streams = state.model, random_streams(key, ('preprocess', *self.streams))
        batch = self.preprocess(batch, streams.pop('preprocess'))

        def total(params: Any) -> tuple[jax.Array, tuple]:
            outputs, collections = self.model.apply(
                {'params': params, **model.collections}, batch['image'], train=True,
                rngs=streams, mutable=[*model.collections, 'auxiliary'])
            collections = {name: collections[name] for name in model.collections}
            parts, fake = self.task.losses(outputs, batch), self.task.probabilities(outputs)
            adversarial = self._nll(state.discriminator, fake, real=True)
            metrics = {**self.task.metrics(parts), 'adversarial': adversarial}
            return self.task.total(parts) + self.weight * adversarial, (fake, collections, metrics)

        def discrimination(params: Any, fake: jax.Array) -> jax.Array:
            # A void pixel is the same in both, so that it tells nothing.
            real = jax.nn.one_hot(batch['label'], fake.shape[-1])
            real = jnp.where(batch['valid'][..., None], real, fake)
            return self._nll(params, real, real=True) + self._nll(params, fake, real=False)

        (loss, (fake, collections, metrics)), gradients = jax.value_and_grad(
            total, has_aux=True)(model.params)
        updates, opt_state = self.optimizer.update(gradients, model.opt_state, model.params)
        model = TrainState(optax.apply_updates(model.params, updates), collections, opt_state)
        metrics['discriminator'], gradients = jax.value_and_grad(discrimination)(
            state.discriminator, jax.lax.stop_gradient(fake))
        updates, opt_state = self._adam().update(gradients, state.discriminator_opt_state)
        discriminator = optax.apply_updates(state.discriminator, updates)
        return AdversarialState(model, discriminator, opt_state), {'loss': loss, **metrics}

    def variables(self, state: AdversarialState) -> dict[str, Any]:
        """The segmentation model alone: evaluation never sees the discriminator."""
        return super().variables(state.model)

    def _adam(self) -> optax.GradientTransformation:
        return optax.adam(self.discriminator_rate)

    @staticmethod
    def _nll(params: Any, masks: jax.Array, *, real: bool) -> jax.Array:
        logits = Discriminator().apply(params, masks)
        return nn.softplus(-logits if real else logits).mean()
