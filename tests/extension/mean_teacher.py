"""An algorithm: a student that learns, and a teacher that is the running mean of its weights."""

import dataclasses
from typing import Any

import jax
import optax
from flax import struct

from jaxseg.errors import InputError
from jaxseg.fields import NonNegative, Probability
from jaxseg.training.random import random_streams
from jaxseg.training.supervised import Batch, Supervised, TrainState


class TeacherState(struct.PyTreeNode):
    """What a checkpoint holds: any pytree. Restored, it continues bit for bit."""

    student: TrainState
    teacher: Any


@dataclasses.dataclass(frozen=True)
class MeanTeacher(Supervised):
    """Mean teacher (Tarvainen & Valpola 2017, arXiv:1703.01780) with labels on every image.

    The student also learns to give the teacher's probabilities, for an image with noise.
    Evaluation, prediction and `jaxseg.load` use the teacher, since `variables` returns it.

    Args:
      decay: of the running mean.
      weight: of the consistency loss.
      noise: standard deviation, in units of the normalised image.
    """

    decay: Probability = 0.9
    weight: NonNegative = 1.0
    noise: NonNegative = 0.1

    def __post_init__(self):
        # `Supervised` adds up over devices and microbatches; this step does not.
        if self.axis_name is not None:
            raise InputError("config.parallel.strategy: 'pmap' is not supported by "
                             "MeanTeacher; use 'jit'")
        if self.accumulate > 1 or self.freeze:
            raise InputError('algorithm: MeanTeacher has no accumulate and no freeze')

    def init(self, key: jax.Array, batch: Batch) -> TeacherState:
        """The teacher starts as the student."""
        student = super().init(key, batch)
        return TeacherState(student, student.params)

    def step(self, state: TeacherState, batch: Batch, key: jax.Array) -> tuple[TeacherState, dict]:
        """One update of the student, then of the teacher."""
        student = state.student
        # Every use of random numbers has a stream of its own name.
        streams = random_streams(key, ('preprocess', 'noise', *self.streams))
        batch = self.preprocess(batch, streams.pop('preprocess'))
        noise = jax.random.normal(streams.pop('noise'), batch['image'].shape)
        target = self.task.probabilities(
            self.model.apply(self.variables(state), batch['image'], train=False))

        def total(params: Any) -> tuple[jax.Array, tuple]:
            outputs, collections = self.model.apply(
                {'params': params, **student.collections}, batch['image'] + self.noise * noise,
                train=True, rngs=streams, mutable=[*student.collections, 'auxiliary'])
            collections = {name: collections[name] for name in student.collections}
            parts = self.task.losses(outputs, batch)
            consistency = ((self.task.probabilities(outputs) - target) ** 2).mean()
            metrics = {**self.task.metrics(parts), 'consistency': consistency}
            return self.task.total(parts) + self.weight * consistency, (collections, metrics)

        (loss, (collections, metrics)), gradients = jax.value_and_grad(
            total, has_aux=True)(student.params)
        updates, opt_state = self.optimizer.update(gradients, student.opt_state, student.params)
        student = TrainState(optax.apply_updates(student.params, updates), collections, opt_state)
        teacher = optax.incremental_update(student.params, state.teacher, 1 - self.decay)
        return TeacherState(student, teacher), {'loss': loss, **metrics}

    def variables(self, state: TeacherState) -> dict[str, Any]:
        """The teacher's weights with the student's running statistics."""
        return {'params': state.teacher, **state.student.collections}
