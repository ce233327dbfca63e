"""Layers on eight simulated devices that split the height of maps, beside one; its own process.

    python -m tests.split_height FILE

writes figures as JSON. `tests/test_split_height.py` states what they must be.
"""

import json
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.build import build
from jaxseg.layers.partition import IMAGES, constrain
from jaxseg.layers.resize import downsample, pad_to_multiple, upsample_bilinear, upsample_nearest

COLLECTIVE = re.compile(
    r' = (.*?) (all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)(-start)?\(')
# 18 rows over four devices have 5, 5, 5 and 3; in patches of 2 they have 3, 3, 3 and none.
ROWS = 18
RESIZES = {
    'bilinear': lambda x: upsample_bilinear(x, 2),
    'aligned corners': lambda x: upsample_bilinear(x, 4, align_corners=True),
    'nearest': lambda x: upsample_nearest(x, 2),
    'antialiased': lambda x: downsample(x, 0.4),
    'padded': lambda x: pad_to_multiple(x, 8)}
CONTEXTS = {
    'linear columns': dict(type='renet.ReNet', features=3, cell='mingru', patch=2),
    'nonlinear columns': dict(type='four_way_rnn.FourWayRNN', features=3, cell='lstm'),
    'linear sequence': dict(type='flattened_scan.FlattenedScan', features=3, cell='s6'),
    'diagonals': dict(type='mdrnn.MDRNN2D', features=3)}
# Bilinear from stride 2 to the image, which is padded from 36 rows to 40; the deepest map has 5.
UNET = dict(encoder=dict(type='vgg_like.VGGLike', widths=[4, 8], depth=1, stem_stride=2),
            decoder=dict(type='unet.UNet', widths=[8, 4]),
            head=dict(type='head.Head', dropout=0.3))


def random_like(shapes: Any) -> Any:
    """Parameters of these shapes: initialising them would take longer than the comparison."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: (0.4 * rng.normal(size=x.shape)).astype(np.float32), shapes)


def layers() -> tuple[Callable, tuple]:
    """Gradients of every resize and context by its parameters and its input, and arguments."""
    modules = {name: build('context', config) for name, config in CONTEXTS.items()}
    x = np.random.default_rng(0).normal(size=(4, 20, 7, 4)).astype(np.float32)
    parameters = {name: random_like(jax.eval_shape(
        lambda module=module: module.init(jax.random.key(0), x, train=False)))
        for name, module in modules.items()}

    def gradients(x, parameters):
        functions = {name: lambda _, x, resize=resize: resize(x)
                     for name, resize in RESIZES.items()}
        functions |= {name: lambda variables, x, module=module: module.apply(
            variables, x, train=True) for name, module in modules.items()}

        def loss(x, variables, function):
            return jnp.sum(jnp.sin(function(variables, constrain(jnp.sin(x)[:, :ROWS]))))

        return {name: jax.grad(loss, (0, 1))(x, parameters.get(name, {}), function)
                for name, function in functions.items()}

    return gradients, (x, parameters)


def unet() -> tuple[Callable, tuple]:
    """The gradient of a U-Net with batch norm and dropout, and its arguments."""
    model = build('model', dict(type='segmentation_model.SegmentationModel', **UNET), classes=3)
    x = np.random.default_rng(0).normal(size=(4, 36, 16, 3)).astype(np.float32)
    parameters = random_like(jax.eval_shape(
        lambda: model.init(jax.random.key(0), x, train=False)))['params']
    # Scales of norms near 0 would leave gradients that are mostly rounding.
    parameters = jax.tree.map(lambda x: x + 1 if x.ndim == 1 else x, parameters)

    def gradients(x, parameters):
        def loss(parameters):
            outputs, statistics = model.apply(
                {'params': parameters}, x, train=True, mutable=['batch_stats'],
                rngs={'dropout': jax.random.key(3)})
            return jnp.mean(jnp.sin(outputs['logits'])), statistics

        return jax.grad(loss, has_aux=True)(parameters)

    return gradients, (x, parameters)


def relative(found: Any, expected: Any) -> float:
    """The largest difference of an array beside its largest value, of all arrays."""
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(
        map(np.asarray, jax.tree.leaves(found)), map(np.asarray, jax.tree.leaves(expected)),
        strict=True))


def collectives(text: str) -> dict[str, int]:
    """The most values that one operation of each kind gives a device."""
    most = {}
    for shapes, kind, _ in COLLECTIVE.findall(text):
        sizes = [np.prod([int(side) for side in sides.split(',') if side])
                 for sides in re.findall(r'\[([\d,]*)\]', shapes)]
        most[kind] = max(most.get(kind, 0), int(sum(sizes)))
    return most


def compare(function: Callable, arguments: tuple) -> tuple[Any, Any, dict[str, int]]:
    """The results of eight devices and of one, and the collectives of the former."""
    mesh = jax.make_mesh((2, 1, 4), ('data', 'fsdp', 'space'), axis_types=(AxisType.Auto,) * 3)
    shardings = NamedSharding(mesh, IMAGES), NamedSharding(mesh, P())
    with jax.set_mesh(mesh):
        compiled = jax.jit(function, in_shardings=shardings).lower(*arguments).compile()
        found = compiled(*map(jax.device_put, arguments, shardings))
    return found, jax.jit(function)(*arguments), collectives(compiled.as_text())


def main():
    found, expected, _ = compare(*layers())
    figures = {'layers': {name: relative(found[name], expected[name]) for name in found}}
    function, arguments = unet()
    found, expected, most = compare(function, arguments)
    figures |= {'U-Net': relative(found, expected), 'collectives': most, 'parameters': sum(
        x.size for x in jax.tree.leaves(arguments[1]))}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(figures, indent=1))


if __name__ == '__main__':
    jax.config.update('jax_num_cpu_devices', 8)
    main()
