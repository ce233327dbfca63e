"""A small model under any algorithm, images with unequal shares of void, steps by themselves."""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

import jaxseg
from jaxseg.data.device_transforms import Normalize
from jaxseg.decoders.fcn import FCN
from jaxseg.losses.cross_entropy import cross_entropy
from jaxseg.losses.dice import dice
from jaxseg.losses.weighted import WeightedSum
from jaxseg.models.segmentation_model import SegmentationModel
from jaxseg.tasks.semantic import Semantic
from tests.extension.decoder import SumOfStages
from tests.extension.encoder import Patches

CLASSES = ('a', 'b', 'c')


def given(rate=0.1, norm='group', rule=None):
    """What a run gives to its algorithm: a model with an auxiliary head, plain gradient descent."""
    task = Semantic(CLASSES, WeightedSum({
        'cross_entropy': (1.0, functools.partial(cross_entropy, class_weights=(1, 2, 4))),
        'dice': (0.5, dice)}), False)
    model = SegmentationModel(Patches(2), SumOfStages(), 3, auxiliary=FCN((8,), norm=norm))
    return {'model': model, 'task': task, 'preprocess': Normalize((0.5,) * 3, (0.25,) * 3),
            'optimizer': rule or optax.sgd(rate)}


def make(algorithm, rate=0.1, norm='group', rule=None, **options):
    """An algorithm with these options."""
    return algorithm(**given(rate, norm, rule), **options)


def example():
    """Four images with very unequal shares of void."""
    rng = np.random.default_rng(0)
    share = np.array([1, 0.6, 0.3, 0.02])[:, None, None]
    return {'image': rng.integers(0, 256, (4, 8, 8, 3), np.uint8),
            'label': rng.integers(0, 3, (4, 8, 8), np.int32),
            'valid': rng.random((4, 8, 8)) < share}


def initial(algorithm):
    """A state of random parameters, without compiling `init`; all else is 0, variances are 1."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        name = jax.tree_util.keystr(path)
        if name.startswith('.params'):
            return rng.normal(0.1, 0.3, leaf.shape).astype(leaf.dtype)
        return np.full(leaf.shape, name.endswith("['var']"), leaf.dtype)

    return jax.tree_util.tree_map_with_path(
        fill, jax.eval_shape(algorithm.init, jax.random.key(0), example()))


def steps(algorithm, count=1, state=None):
    """The states before and after every step, and the metrics of the last."""
    if state is None:
        state = jax.jit(algorithm.init)(jax.random.key(0), example())
    step, states = jax.jit(algorithm.step), [state]
    for index in range(count):
        state, metrics = step(states[-1], example(), jax.random.key(index))
        states.append(state)
    return states, metrics


def largest_difference(a, b):
    """Over all leaves."""
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), a, b)))


# A run of seconds with any algorithm; four devices share a batch.
RUN = dict(
    steps=4, batch_size=4, evaluate_every=2, report_every=4,
    data=dict(type='tests.extension.data:Gradients', samples=8),
    model=dict(
        type='segmentation_model.SegmentationModel',
        encoder=dict(type='tests.extension.encoder:Patches', patch=2),
        decoder=dict(type='tests.extension.decoder:SumOfStages', features=8)),
    losses=dict(cross_entropy=dict(type='cross_entropy.cross_entropy')),
    optimizer=dict(type='optimizer.adamw', learning_rate=0.01),
    schedule=dict(type='schedule.constant'))


def saved(checkpoint):
    """Everything that a checkpoint holds."""
    return [ocp.StandardCheckpointer().restore(checkpoint / item) for item in ('model', 'training')]


def run_in_two(config, folder):
    """Runs a config; what its last checkpoint holds, then and after a run that continued to it."""
    jaxseg.run(**config, workdir=folder)
    last = folder / 'checkpoints' / str(config['steps'])
    at_once = saved(last)
    shutil.rmtree(last)
    jaxseg.run(**config, workdir=folder)
    return at_once, saved(last)
