"""Mix Transformers: sizes, types and rates; parity with other libraries is in test_parity.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.encoders import mit
from jaxseg.encoders.mit import BLOCKS, MiT, _Block
from jaxseg.errors import InputError
from jaxseg.layers.dropout import DropPath

# Of the encoders of segmentation_models.pytorch 0.6.
PARAMETERS = {'b0': 3_319_392, 'b1': 13_151_424, 'b2': 24_196_288, 'b3': 44_072_128,
              'b4': 60_842_688, 'b5': 81_443_008}


def shapes(encoder, size=(64, 96), channels=3, dtype=jnp.float32, train=False):
    images, keys = jnp.zeros((2, *size, channels), dtype), dict.fromkeys(
        ('params', 'drop_path'), jax.random.key(0))
    return jax.eval_shape(lambda: encoder.init_with_output(keys, images, train=train))


def size_of(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('variant', ['b0', 'b2'])
def test_every_variant_has_the_number_of_parameters_of_the_reference(variant):
    stages, variables = shapes(MiT(variant))
    assert size_of(variables) == PARAMETERS[variant]
    widths = (32, 64, 160, 256) if variant == 'b0' else (64, 128, 320, 512)
    for stage, stride, width in zip(stages, (4, 8, 16, 32), widths, strict=True):
        assert stage.stride == stride
        assert stage.features.shape == (2, 64 // stride, 96 // stride, width)
    if variant == 'b2':  # b1, b3, b4 and b5 differ from it only in the number of blocks
        blocks = [size_of(variables['params'][f'stage{index}_block0']) for index in range(4)]
        for name in ('b1', 'b3', 'b4', 'b5'):
            more = np.subtract(BLOCKS[name], BLOCKS['b2'])
            assert size_of(variables) + more @ blocks == PARAMETERS[name]


def test_sizes_that_32_does_not_divide_are_rounded_up():
    sizes = [stage.features.shape[1:3] for stage in shapes(MiT(), (75, 101))[0]]
    assert sizes == [(19, 26), (10, 13), (5, 7), (3, 4)]


def test_types_and_channels_of_images():
    stages, variables = shapes(MiT(), channels=5, dtype=jnp.bfloat16)
    assert {stage.features.dtype for stage in stages} == {jnp.dtype('bfloat16')}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert variables['params']['embed0_conv']['kernel'].shape == (7, 7, 5, 32)


def test_stochastic_depth_grows_with_the_blocks(monkeypatch):
    rates = []
    monkeypatch.setattr(mit, 'DropPath', lambda rate: rates.append(rate) or DropPath(rate))
    shapes(MiT('b2', drop_path=0.3), train=True)
    np.testing.assert_allclose(rates, np.linspace(0, 0.3, 16), atol=1e-9)


def test_the_depthwise_convolution_keeps_the_scale_of_its_input():
    block = _Block(heads=1, reduction=1, drop_path=0.0, train=False)
    kernel = block.init(jax.random.key(0), jnp.zeros((1, 2, 2, 64)))['params']['mlp_conv']['kernel']
    assert kernel.shape == (3, 3, 1, 256) and abs(kernel.std() - (2 / 9) ** 0.5) < 0.05


def test_an_unknown_variant_is_named():
    with pytest.raises(InputError, match="encoder.variant: expected .*b5, got 'b6'"):
        build('encoder', {'type': 'mit.MiT', 'variant': 'b6'})
