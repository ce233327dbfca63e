"""Whether training and recurrent layers compute on this machine what they should."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.commands.assemble import assemble, make_algorithm
from jaxseg.commands.run_config import RunConfig
from jaxseg.data.spec import DatasetSpec
from jaxseg.layers.linear_recurrence import SCHEDULES, linear_recurrence
from jaxseg.training.layout import init_key, step_key

STEPS, SIDE = 5, 16
SPEC = DatasetSpec('half black, half white', ('dark', 'bright'))
# Relative: devices may add in another order.
TOLERANCE = 1e-4


def check_training() -> str:
    """A few steps of a small convolutional network, on every device at once.

    Returns:
      What was found, in words.

    Raises:
      ArithmeticError: the loss does not fall, or devices differ.
    """
    devices = jax.local_devices()
    config = RunConfig(
        steps=STEPS, batch_size=jax.device_count(), evaluate_every=STEPS, data={},
        model={'type': 'segmentation_model.SegmentationModel',
               'encoder': {'type': 'vgg_like.VGGLike', 'widths': [8], 'depth': 1},
               'decoder': {'type': 'fcn.FCN', 'widths': [8]}},
        losses={'cross_entropy': {'type': 'cross_entropy.cross_entropy'}},
        optimizer={'type': 'optimizer.adamw', 'learning_rate': 1e-2},
        schedule={'type': 'schedule.constant'})
    parts = assemble(config, SPEC, {'mean': SPEC.mean, 'std': SPEC.std,
                                    'value_range': SPEC.value_range})
    algorithm = make_algorithm(config, parts)
    label = np.broadcast_to(np.arange(SIDE) * 2 // SIDE, (2, SIDE, SIDE)).astype(np.int32)
    batch = {'image': np.repeat(255 * label[..., None], 3, -1).astype(np.uint8),
             'label': label, 'valid': np.ones_like(label, bool)}
    state = jax.device_get(jax.jit(lambda batch: algorithm.init(init_key(0), batch))(batch))
    state = jax.tree.map(lambda x: np.stack([x] * len(devices)), state)
    step = jax.pmap(lambda state, batch, index: algorithm.step(state, batch, step_key(0, index)),
                    in_axes=(0, None, None), devices=devices)
    losses = []
    for index in range(STEPS):
        state, metrics = step(state, batch, np.int32(index))
        losses.append(np.asarray(metrics['loss']))
    first, last = losses[0], losses[-1]
    shown = ', '.join(f'{loss:.4f}' for loss in last)
    if not np.allclose(last, last[0], rtol=TOLERANCE):
        raise ArithmeticError(f'after {STEPS} equal steps the losses of the devices are {shown}')
    if not last[0] < first[0]:
        raise ArithmeticError(f'in {STEPS} steps the loss went from {first[0]:.4f} to {shown}')
    total = jax.pmap(lambda x: jax.lax.psum(x, 'all'), 'all', devices=devices)(
        np.arange(len(devices)))
    if not np.all(np.asarray(total) == sum(range(len(devices)))):
        raise ArithmeticError(f'a sum over the devices gives {total}')
    return (f'{STEPS} training steps on {len(devices)} device(s): loss {first[0]:.2f} to '
            f'{last[0]:.2f}, the same on all')


def check_scans() -> str:
    """Every schedule of a linear recurrence beside the loop that defines it.

    Raises:
      ArithmeticError: one of them differs.
    """
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 1, (2, 33, 4)), rng.normal(size=(2, 33, 4))
    expected, state = np.empty_like(b), np.zeros((2, 4))
    for time in range(b.shape[1]):
        state = a[:, time] * state + b[:, time]
        expected[:, time] = state
    names = ('auto', *SCHEDULES)
    found = jax.jit(lambda a, b: [linear_recurrence(a, b, schedule=name)[0] for name in names])(
        jnp.float32(a), jnp.float32(b))
    for name, h in zip(names, found, strict=True):
        error = np.abs(np.asarray(h) - expected).max()
        if not error < TOLERANCE:
            raise ArithmeticError(f'the {name} recurrent scan differs from its loop by {error:.2g}')
    return 'recurrent scans give what their loop gives'
