"""Templates of names lead from a tensor to its variables, and back."""

import pytest

from jaxseg.pretrained.names import batch_norm, layer, matches, name_of, places_of, prefixed

RULES = (*layer('stem.{k:conv|dense}', 'stem/{k}'), *batch_norm('l{i}.{j}.bn', 'layer{i}_{j}/bn'),
         ('b.{i}.qkv.weight', ('params/b{i}/q/kernel', 'params/b{i}/k/kernel')),
         ('b.{i}.qkv.bias', ('params/b{i}/q/bias', '', 'params/b{i}/v/bias')),
         ('x{i}.y{i}', 'params/xy{i}'))


@pytest.mark.parametrize('name, places', [
    ('stem.conv.weight', ('params/stem/conv/kernel',)),
    ('stem.dense.bias', ('params/stem/dense/bias',)),
    ('stem.other.bias', ()),
    ('stemXconv.weight', ()),
    ('l12.3.bn.running_var', ('batch_stats/layer12_3/bn/batch/var',)),
    ('l12.b.bn.running_var', ()),
    ('b.7.qkv.weight', ('params/b7/q/kernel', 'params/b7/k/kernel')),
    ('b.7.qkv.bias', ('params/b7/q/bias', '', 'params/b7/v/bias')),
    ('x3.y3', ('params/xy3',)),
    ('x3.y4', ())])
def test_a_tensor_has_the_places_of_its_rule_and_they_its_name(name, places):
    assert places_of(name, RULES) == places
    for place in filter(None, places):
        assert name_of(place, RULES) == (name, places)


def test_a_name_of_several_places_has_that_of_the_model():
    rules = (*layer('f.{i}', 'f{i}'), *batch_norm('f.{i}', 'f{i}'))
    for known in ('params/f3/kernel', 'params/f3/batch/scale'):
        assert places_of('f.3.weight', rules, {known}) == (known,)
        assert name_of(known, rules) == ('f.3.weight', (known,))
    assert places_of('f.4.weight', rules, {'params/f3/kernel'}) == ()


def test_a_variable_without_a_rule_has_no_name():
    assert name_of('params/stem/other/kernel', RULES) is None
    assert name_of('params/b7/v/kernel', RULES) is None


def test_a_prefix_moves_rules_into_a_part():
    moved = prefixed(RULES, 'encoder.', 'encoder/')
    assert places_of('encoder.b.0.qkv.weight', moved) == (
        'params/encoder/b0/q/kernel', 'params/encoder/b0/k/kernel')
    assert places_of('encoder.b.0.qkv.bias', moved) == (
        'params/encoder/b0/q/bias', '', 'params/encoder/b0/v/bias')
    assert places_of('encoder.l1.2.bn.running_mean', moved) == (
        'batch_stats/encoder/layer1_2/bn/batch/mean',)


def test_a_star_is_any_text():
    assert matches('a.num_batches_tracked', ('*.num_batches_tracked',))
    assert matches('fc.weight', ('fc.*',)) and not matches('fcxweight', ('fc.*',))
