"""Training on eight simulated devices in every layout, beside one; a process of its own.

    python -m tests.eight_devices FILE

writes `{model: {layout: figures}}` as JSON. `tests/test_layout.py` states what they must be.
"""

import functools
import json
import pathlib
import sys
from collections.abc import Sequence

import jax
import numpy as np
import optax

from jaxseg.build import build, build_losses
from jaxseg.data.device_transforms import Normalize
from jaxseg.tasks.semantic import Semantic
from jaxseg.training.layout import init_key, make_layout, step_key
from jaxseg.training.parallel import Parallel
from jaxseg.training.supervised import Supervised

SEED, STEPS, DECAY = 7, 5, 0.9
LAYOUTS = {'data=8': {}, 'fsdp=8': {'fsdp': 8}, 'data=2, fsdp=4': {'fsdp': 4},
           'pmap=8': {'strategy': 'pmap'}, 'data=2, space=4': {'space': 4}}
DROPOUT = dict(head=dict(type='head.Head', dropout=0.3))
MODELS = {
    'U-Net': dict(encoder=dict(type='vgg_like.VGGLike', widths=[8, 32], depth=2),
                  decoder=dict(type='unet.UNet', widths=[16]), **DROPOUT),
    'ReNet': dict(encoder=dict(type='vgg_like.VGGLike', widths=[8, 16], depth=1),
                  context=[dict(type='renet.ReNet', features=40, cell='gru')],
                  decoder=dict(type='fcn.FCN', widths=[8], dropout=0.3))}
# Of the second, which compiles longer, the layout with both splits of the first two stands for
# these.
CASES = {'U-Net': tuple(LAYOUTS), 'ReNet': ('data=2, fsdp=4', 'pmap=8', 'data=2, space=4')}


def algorithm(model: dict, axis_name: str | None) -> Supervised:
    """The momentum after one step is the gradient itself, without the rounding of parameters."""
    losses = build_losses(dict(cross_entropy=dict(type='cross_entropy.cross_entropy'),
                               dice=dict(type='dice.dice', weight=0.5)))
    part = build('model', dict(type='segmentation_model.SegmentationModel', **model), classes=3)
    return Supervised(part, Semantic(('a', 'b', 'c'), losses, False),
                      Normalize((0.5,) * 3, (0.25,) * 3),
                      optax.chain(optax.trace(decay=DECAY), optax.scale(-0.02)), axis_name)


def batches() -> list[dict[str, np.ndarray]]:
    """Unequal counts of valid pixels on every device: a mean of means would show."""
    rng, shape = np.random.default_rng(0), (8, 32, 24)
    share = np.linspace(0.1, 0.9, 8)[:, None, None]
    return [{'image': rng.integers(0, 256, (*shape, 3)).astype(np.uint8),
             'label': rng.integers(0, 3, shape).astype(np.int32),
             'valid': rng.random(shape) < share} for _ in range(STEPS)]


def train(step, state, put_batch, unreplicate):
    """The gradient of the first step, the losses of all, and the last state."""
    losses, gradient = [], None
    for index, batch in enumerate(batches()):
        state, metrics = step(state, put_batch(batch), np.int32(index))
        losses.append(float(metrics['loss']))
        if index == 0:
            gradient = jax.device_get(unreplicate(state).opt_state[0].trace)
    return gradient, losses, jax.device_get(unreplicate(state))


def relative(a, b) -> float:
    """The largest difference of an array beside its largest value, of all arrays."""
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(
        jax.tree.leaves(a), jax.tree.leaves(b), strict=True) if np.any(x) or np.any(y))


def device_share(state) -> float:
    """Bytes of a state on the first device by those of the whole."""
    leaves = jax.tree.leaves(state)
    return (sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
            / sum(leaf.nbytes for leaf in leaves))


def compare(model: dict, layouts: Sequence[str]) -> dict[str, dict]:
    """Figures of these layouts."""
    single, example = algorithm(model, None), batches()[0]
    shapes = jax.eval_shape(functools.partial(single.init, init_key(SEED)), example)
    start = jax.jit(lambda batch: single.init(init_key(SEED), batch))(example)
    step = jax.jit(lambda state, batch, index: single.step(state, batch, step_key(SEED, index)))
    gradient, losses, last = train(step, start, lambda batch: batch, lambda state: state)
    found = {}
    for name in layouts:
        layout = make_layout(Parallel(**LAYOUTS[name]))
        several = algorithm(model, layout.axis_name)
        initial = jax.tree.map(lambda x, to: jax.device_put(np.array(x), to.sharding), start,
                               layout.place(shapes))
        share = device_share(initial)
        compiled = layout.compile_step(several.step, SEED, shapes, example)
        its_gradient, its_losses, its_last = train(
            compiled, layout.replicate(initial), layout.put_batch, layout.unreplicate)
        found[name] = {
            'share of a device': share, 'gradient': relative(its_gradient, gradient),
            'losses': float(np.max(np.abs(np.divide(its_losses, losses) - 1))),
            'statistics': relative(its_last.collections, last.collections)}
        print(name, found[name], flush=True)
    return found


if __name__ == '__main__':
    jax.config.update('jax_num_cpu_devices', 8)
    pathlib.Path(sys.argv[1]).write_text(json.dumps(
        {name: compare(MODELS[name], layouts) for name, layouts in CASES.items()}, indent=1))
