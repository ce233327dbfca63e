"""DenseNet: numbers of parameters, stages, dtypes, names of published files."""

import re

import jax
import jax.numpy as jnp
import pytest

from jaxseg.build import build
from jaxseg.encoders import densenet
from jaxseg.encoders.densenet import DenseNet
from jaxseg.errors import InputError
from jaxseg.pretrained import torchvision
from jaxseg.pretrained.names import places_of
from tests.references import parity
from tests.selection import as_trials


def shapes(encoder, channels=3, dtype='float32'):
    images = jax.ShapeDtypeStruct((2, 64, 96, channels), dtype)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=True),
                          images)


@pytest.fixture
def small(monkeypatch):
    """DenseNet 121 with few channels and layers."""
    monkeypatch.setitem(densenet.SIZES, 121, (8, 4, (1, 2, 1, 3)))


# Of torchvision's `features`.
@pytest.mark.parametrize('depth, parameters, channels', [
    (121, 6_953_856, [64, 256, 512, 1024, 1024]), *as_trials(
        (161, 26_472_000, [96, 384, 768, 2112, 2208]),
        (169, 12_484_480, [64, 256, 512, 1280, 1664]),
        (201, 18_092_928, [64, 256, 512, 1792, 1920]))])
def test_every_depth_has_torchvisions_number_of_parameters(depth, parameters, channels):
    stages, variables = shapes(DenseNet(depth))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == parameters
    assert [(stage.stride, stage.features.shape) for stage in stages] == [
        (stride, (2, 64 // stride, 96 // stride, width))
        for stride, width in zip((2, 4, 8, 16, 32), channels, strict=True)]
    assert DenseNet(depth).stride == 32


def test_images_of_other_channels_in_bfloat16_give_stages_in_bfloat16(small):
    stages, variables = shapes(DenseNet(), channels=2, dtype='bfloat16')
    assert {stage.features.dtype for stage in stages} == {jnp.dtype('bfloat16')}
    assert variables['params']['conv0']['kernel'].shape == (7, 7, 2, 8)


def test_rematerialization_recomputes_every_layer_and_changes_no_name(small):
    images = jnp.zeros((1, 64, 64, 3))

    def recomputed(remat):
        encoder = DenseNet(remat=remat)
        variables = jax.eval_shape(lambda: encoder.init(jax.random.key(0), images, train=False))
        traced = jax.make_jaxpr(lambda variables: encoder.apply(
            variables, images, train=False))(variables)
        return variables, sum('remat' in step.primitive.name for step in traced.jaxpr.eqns)

    (stored, none), (same, layers) = recomputed(False), recomputed(True)
    assert (none, layers) == (0, 7) and stored == same


def test_names_of_published_files_have_the_same_places():
    names = [name for name in parity.load('smp_densenet121')['tensors'] if 'denselayer' in name
             and not name.endswith('num_batches_tracked')]
    rules = torchvision.DenseNet.rules
    for name in names:
        published = re.sub(r'(conv|norm)([12])', r'\1.\2', name)
        assert published != name and places_of(published, rules) == places_of(name, rules) != ()
    assert len(names) == 58 * 10


def test_an_unknown_depth_is_named():
    with pytest.raises(InputError, match='^encoder.depth: expected one of 121, .*, got 264'):
        build('encoder', {'type': 'densenet.DenseNet', 'depth': 264})
