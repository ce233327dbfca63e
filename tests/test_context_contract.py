"""What holds for every context layer: size, dtype, float32 parameters, independent images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.context.aspp import ASPP
from jaxseg.context.attention_pooling import AttentionPooling
from jaxseg.context.axial import Axial
from jaxseg.context.criss_cross import CrissCross
from jaxseg.context.flattened_scan import FlattenedScan
from jaxseg.context.four_way_rnn import FourWayRNN
from jaxseg.context.identity import Identity
from jaxseg.context.large_kernel_attention import LargeKernelAttention
from jaxseg.context.linear_attention import LinearAttention
from jaxseg.context.mdrnn import MDRNN2D
from jaxseg.context.ocr import OCR
from jaxseg.context.pyramid_pooling import PyramidPooling
from jaxseg.context.renet import ReNet
from jaxseg.context.self_attention import SelfAttention
from jaxseg.context.window_attention import WindowAttention
from jaxseg.errors import InputError
from tests.recorders import calls_out_of_training
from tests.variables import random, random_variables, run

# With the channels that come out; None: those that go in.
LAYERS = {
    'identity': (Identity(), None),
    'renet': (ReNet(3, 'mingru'), 6), 'renet_lstm': (ReNet(3, 'lstm'), 6),
    'renet_residual': (ReNet(3, patch=2, merge='residual'), None),
    'four_summed': (FourWayRNN(3, 'rglru'), 3),
    'four_concatenated': (FourWayRNN(3, 'lru', combine='concat'), 12),
    'flattened_scan': (FlattenedScan(3), 3),
    'flattened_scan_two': (
        FlattenedScan(3, 's6', transposed=False, combine='concat', order='raster'), 6),
    'mdrnn': (MDRNN2D(3), 3), 'mdrnn_gru': (MDRNN2D(3, 'gru', combine='concat', patch=3), 12),
    'mdrnn_gated': (MDRNN2D(3, merge='gated'), None),
    'attention_pooling': (AttentionPooling(), None),
    'self_attention': (SelfAttention(8, heads=2), 8),
    'relative': (SelfAttention(8, heads=2, position='relative'), 8),
    'learned': (SelfAttention(8, heads=2, position='learned', size=(4, 5)), 8),
    'rope': (Axial(8, heads=2, position='rope'), 8),
    'window_attention': (WindowAttention(8, heads=2, window=2), 8),
    'linear_attention': (LinearAttention(8, heads=2), 8), 'criss_cross': (CrissCross(8), 8),
    'aspp': (ASPP(4, rates=(1, 3)), 4), 'pyramid_pooling': (PyramidPooling(4, bins=(1, 2, 3)), 4),
    'ocr': (OCR(4, classes=3), 4),
    'large_kernel_attention': (LargeKernelAttention(4, kernel=5, dilation=2), 4),
}
every_layer = pytest.mark.parametrize('name', LAYERS)


@every_layer
def test_a_context_keeps_any_height_and_width_and_the_dtype(name):
    layer, features = LAYERS[name]
    for size, channels, dtype in (((1, 1), 8, jnp.float32), ((1, 9), 5, jnp.bfloat16),
                                  ((9, 1), 2, jnp.bfloat16), ((5, 7), 8, jnp.float32)):
        x = jax.ShapeDtypeStruct((2, *size, channels), dtype)
        with calls_out_of_training() as calls:
            out, variables = jax.eval_shape(
                lambda x: layer.init_with_output(jax.random.key(0), x, train=True), x)
        assert not calls
        assert (out.shape, out.dtype) == ((2, *size, features or channels), dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype('float32')}


@every_layer
def test_bfloat16_is_near_float32_and_an_image_does_not_depend_on_the_others(name):
    x, others = random(3, 4, 3, 8), random(3, 4, 3, 8, seed=1)
    others[1] = x[1]
    layer, _ = LAYERS[name]
    variables = random_variables(layer, x, train=False)
    expected, other, bfloat16 = (run(layer, variables, images).astype(np.float32)
                                 for images in (x, others, x.astype(jnp.bfloat16)))
    np.testing.assert_allclose(expected[1], other[1], atol=1e-6)
    assert np.abs(expected[0] - other[0]).max() > 1e-2
    # 8 bits of mantissa through a few sums.
    assert np.abs(bfloat16 - expected).max() < 0.03 * np.abs(expected).max()


@pytest.mark.trials
@every_layer
def test_float16_is_near_float32(name):
    x, (layer, _) = random(1, 5, 3, 8), LAYERS[name]
    variables = random_variables(layer, x, train=False)
    expected, float16 = (run(layer, variables, x.astype(dtype)).astype(np.float32)
                         for dtype in (np.float32, np.float16))
    # 11 bits of mantissa through a few sums.
    assert np.abs(float16 - expected).max() < 0.005 * np.abs(expected).max()


@pytest.mark.parametrize('entry, key, value', [
    (dict(type='renet.ReNet', cell='rnn'), 'context.cell', "'rnn'"),
    (dict(type='renet.ReNet', merge='add'), 'context.merge', "'add'"),
    (dict(type='renet.ReNet', patch=0), 'context.patch', '0'),
    (dict(type='four_way_rnn.FourWayRNN', combine='mean'), 'context.combine', "'mean'"),
    (dict(type='flattened_scan.FlattenedScan', order='spiral'), 'context.order', "'spiral'"),
    (dict(type='mdrnn.MDRNN2D', cell='lstm'), 'context.cell', "'lstm'"),
    (dict(type='self_attention.SelfAttention', position='polar'), 'context.position', "'polar'"),
    (dict(type='self_attention.SelfAttention', dropout=1.0), 'context.dropout', '1.0'),
    (dict(type='linear_attention.LinearAttention', position='rope'), 'context.position', "'rope'"),
    (dict(type='window_attention.WindowAttention', window=0), 'context.window', '0'),
    (dict(type='criss_cross.CrissCross', reduction=0), 'context.reduction', '0'),
    (dict(type='aspp.ASPP', rates=[6, 0]), 'context.rates', '(6, 0)'),
    (dict(type='aspp.ASPP', norm='layer'), 'context.norm', "'layer'"),
    (dict(type='pyramid_pooling.PyramidPooling', bins=[0, 2]), 'context.bins', '(0, 2)')])
def test_fields_out_of_range_are_refused_by_key_and_value(entry, key, value):
    with pytest.raises(InputError) as error:
        build('context', dict(entry, features=8))
    assert key in str(error.value) and value in str(error.value)


@pytest.mark.parametrize('layer, key, value', [
    (Axial(10, heads=4), 'heads', '10'), (Axial(8, position='learned'), 'size', 'None'),
    (Axial(8, size=(4, 4)), 'size', '(4, 4)'), (Axial(12, heads=2, position='rope'), 'rope', '6'),
    (LargeKernelAttention(4, kernel=24), 'kernel', '24'), (PyramidPooling(4, bins=()), 'bins', ''),
    (ReNet(2, 'mingru', remat=2), 'remat', "'mingru'")], ids=str)
def test_fields_that_do_not_fit_each_other_are_refused(layer, key, value):
    with pytest.raises(InputError) as error:
        layer.init(jax.random.key(0), random(1, 2, 2, 4), train=True)
    assert key in str(error.value) and value in str(error.value)
