"""Encoders and models equal other libraries' on the same weights, at every stage; weights that are
written under the other library's names are the same when they are read."""

import importlib.util
import types

import jax
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.pretrained import convert
from jaxseg.pretrained.names import matches, places_of
from jaxseg.pretrained.revert import revert
from tests.references import parity
from tests.selection import default_cases

PEERS = ('torch', 'torchvision', 'timm', 'segmentation_models_pytorch', 'transformers')


# Every encoder and every decoder once, of most the record that is computed fastest.
# `test_efficientnet` and `test_resnet_reference` compare theirs with references in numpy.
DEFAULT = (
    'dinov2_small', 'dinov3_small_plus', 'hardnet39ds', 'smp_deeplabv3plus', 'smp_densenet121',
    'smp_dpt_cat', 'smp_fpn', 'smp_linknet', 'smp_manet', 'smp_pan', 'smp_pspnet', 'smp_unet',
    'smp_unet_plus_plus', 'smp_upernet', 'timm_convnextv2_atto', 'timm_hrnet_w18_small',
    'timm_mobilenetv2_035_stride8', 'timm_mobilenetv3_small_050',
    'timm_seresnet18', 'timm_swin_tiny', 'timm_tf_efficientnetv2_b0_stride16',
    'torchvision_vgg11', 'transformers_mit_b0', 'transformers_segformer_b0', 'transformers_vit')


@pytest.mark.parametrize('name', default_cases(parity.NAMES, DEFAULT))
def test_outputs_equal_those_of_the_other_library(name, monkeypatch):
    record = parity.load(name)
    tensors = parity.tensors_of(record)
    # Reading files has tests of its own, and would take a third of the time here.
    monkeypatch.setattr(convert, 'read_tensors', lambda path: tensors)
    source = build('pretrained', {'type': record['source'], 'path': 'weights.npz'})
    images, given = parity.images(record), {}
    if record['part'] == 'model':
        given = {'classes': record['classes']}
    part = build(record['part'], record['config'], **given)
    # The fields that the table requires are those with which the outputs are equal.
    source.check(types.SimpleNamespace(encoder=part) if record['part'] == 'encoder' else part)
    shapes = jax.eval_shape(lambda: part.init(jax.random.key(0), images, train=False))
    variables = source.load(shapes)
    tensors = revert(variables, source.rules)
    assert jax.tree.all(jax.tree.map(np.array_equal, source.load(shapes), variables))
    found = jax.jit(lambda variables: part.apply(variables, images, train=False))(variables)
    arrays = ([found['logits']] if record['part'] == 'model'
              else [stage.features for stage in found])
    for index, (array, wanted) in enumerate(zip(arrays, record['outputs'], strict=True)):
        wrong = parity.differences(parity.sample(np.asarray(array)), wanted)
        assert not wrong, f'output {index}: {wrong}'


def test_every_tensor_of_every_record_has_a_place():
    for name in parity.NAMES:
        record = parity.load(name)
        source = build('pretrained', {'type': record['source'], 'path': 'weights.npz'})
        lost = [tensor for tensor in record['tensors'] if not matches(tensor, source.unused)
                and not places_of(tensor, source.rules)]
        assert not lost, name


@pytest.mark.peers
@pytest.mark.skipif(any(importlib.util.find_spec(name) is None for name in PEERS),
                    reason=f'needs {", ".join(PEERS)}')
@pytest.mark.parametrize('name', parity.NAMES)
def test_a_record_is_what_the_other_library_computes(name):
    from tests.references.make_parity import ROWS, make

    try:
        found, record = make(ROWS[name]), parity.load(name)
    except ImportError as error:  # a repository that is no package
        pytest.skip(str(error))
    assert {**found, 'outputs': None, 'library': None} == {
        **record, 'outputs': None, 'library': None}
    for ours, wanted in zip(found['outputs'], record['outputs'], strict=True):
        assert not parity.differences(ours, wanted)
