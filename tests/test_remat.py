"""Blocks of encoders that are computed again in the backward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from tests.variables import random_variables

TRANSFORMER = dict(variant=[8, 3, 2], patch=8, grid=[4, 4])
# The number of blocks of each; one of VGG lies between two poolings.
ENCODERS = [
    (dict(type='vgg.VGG', depth=11), 5), (dict(type='hardnet.HarDNet', variant='39ds'), 4),
    (dict(type='mobilenet.MobileNetV2'), 17), (dict(type='mobilenet.MobileNetV3'), 15),
    (dict(type='efficientnet.EfficientNet', variant='lite0'), 16),
    (dict(type='efficientnet_v2.EfficientNetV2', variant='b0'), 21),
    (dict(type='mit.MiT'), 8), (dict(type='vit.ViT', **TRANSFORMER), 3),
    (dict(type='dinov3.DINOv3', variant=[8, 3, 2, 16], patch=8), 3)]


@pytest.mark.parametrize('entry, blocks', ENCODERS, ids=lambda entry: str(entry))
def test_every_block_is_computed_again_and_keeps_its_names(entry, blocks):
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

    def traced(remat):
        encoder = build('encoder', {**entry, 'remat': remat})
        steps, (_, variables) = jax.make_jaxpr(lambda x: encoder.init_with_output(
            jax.random.key(0), x, train=True), return_shape=True)(images)
        return variables, sum('remat' in step.primitive.name for step in steps.jaxpr.eqns)

    (stored, none), (same, again) = traced(False), traced(True)
    assert (none, again) == (0, blocks) and stored == same


def test_gradients_do_not_change():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 16, 16, 3)), jnp.float32)

    def gradient(remat):
        encoder = build('encoder', dict(type='vit.ViT', variant=[4, 2, 2], patch=8, grid=[2, 2],
                                        remat=remat))
        variables = random_variables(encoder, x, train=False)
        return jax.jit(jax.grad(lambda params: sum(
            jnp.square(stage.features).mean()
            for stage in encoder.apply({'params': params}, x, train=True))))(variables['params'])

    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, 1e-4, 1e-6),
                 gradient(False), gradient(True))
