"""Parts whose parameters show the channels of what they receive; what modules are called with."""

import contextlib
from collections.abc import Iterator

import flax.linen as nn
import jax.numpy as jnp


@contextlib.contextmanager
def calls_out_of_training() -> Iterator[list[str]]:
    """Collects the modules that are called with `train=False` inside."""
    found = []

    def watch(call, args, options, context):
        if options.get('train') is False:
            found.append(f'{type(context.module).__name__} {"/".join(context.module.path)}')
        return call(*args, **options)

    with nn.intercept_methods(watch):
        yield found


class Recorder(nn.Module):
    """A context whose parameter shows the channels of its input, of which it returns two copies."""

    @nn.compact
    def __call__(self, x, *, train):
        x = x * self.param('scale', nn.initializers.ones, x.shape[-1:])[None, None, None]
        return jnp.concatenate([x, x], -1)


class StageRecorder(nn.Module):
    """A decoder whose parameters show the channels of the stages; it returns the deepest."""

    @nn.compact
    def __call__(self, stages, *, train):
        for place, stage in enumerate(stages):
            self.param(f'stage{place}', nn.initializers.ones, stage.features.shape[-1:])
        return stages[-1].features
