"""Factors of the learning rate: by hand for encoders of both families, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.errors import InputError
from jaxseg.training import optimizer as optimizers
from jaxseg.training import schedule as schedules
from jaxseg.training.groups import layer_factors, learning_rate_factors
from jaxseg.training.parameters import named

NAMES = ['encoder/stem_conv/kernel', 'encoder/stage0_0/kernel', 'encoder/stage0_1/kernel',
         'encoder/downsample1_conv/kernel', 'encoder/stage1_0/kernel', 'context/gru/kernel',
         'head/kernel']


def encoder_names(**entry) -> list[str]:
    """The names of the parameters of a model with this encoder."""
    encoder = build('encoder', entry)
    variables = jax.eval_shape(
        lambda: encoder.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
    return ['head/kernel', *(f'encoder/{name}' for name in named(variables['params']))]


def exponents(names: list[str]) -> dict[str, int]:
    """`{module: exponent of the decay}`."""
    found = layer_factors(names, 0.5)
    return {name.rsplit('/', 1)[0]: round(-np.log2(factor)) for name, factor in found.items()}


def test_layers_of_a_resnet_are_its_stem_its_blocks_and_what_follows():
    found = exponents(encoder_names(type='resnet.ResNet', depth=18))
    # Eight blocks of two convolutions; the decoder is layer 9.
    expected = {'head': 0, 'encoder/layer4_1/bn2/batch': 1,
                'encoder/layer4_0/downsample_conv': 2,
                'encoder/layer3_1/conv1': 3, 'encoder/layer3_0/conv1': 4,
                'encoder/layer2_1/conv1': 5, 'encoder/layer2_0/conv1': 6,
                'encoder/layer1_1/conv1': 7, 'encoder/layer1_0/conv1': 8,
                'encoder/conv1': 9, 'encoder/bn1/batch': 9}
    assert {name: found[name] for name in expected} == expected


def test_layers_of_a_transformer_are_its_embedding_its_blocks_and_what_follows():
    found = exponents(encoder_names(type='dinov3.DINOv3', variant=[8, 12, 2, 16], patch=8))
    # BEiT's rule for 12 blocks: 14 layers, of which the last has the whole rate.
    expected = {'head': 0, 'encoder/norm': 0, 'encoder/patch_embed': 13, 'encoder': 13}
    expected |= {f'encoder/block{i}/norm1': 12 - i for i in range(12)}
    assert {name: found[name] for name in expected} == expected


def test_what_leads_into_a_stage_belongs_to_its_first_block():
    names = [f'encoder/{word}/kernel' for word in (
        'embed0_conv', 'stage0_block0', 'stage0_block1', 'stage0_norm', 'embed1_conv',
        'stage1_block0', 'stage1_norm', 'transition0_conv', 'output0_norm')]
    assert list(exponents(names).values()) == [3, 3, 2, 1, 1, 1, 0, 1, 0]
    unordered = [f'encoder/block{i}/kernel' for i in (10, 9, 2)]
    assert list(exponents(unordered).values()) == [1, 2, 3]  # by number, not by spelling


def test_the_first_group_that_matches_counts_together_with_the_depth():
    groups = (('encoder/stage1.*', 0.5), ('encoder/.*', 0.1), ('.*', 2.0))
    found = learning_rate_factors(NAMES, groups, 0.8)
    expected = (0.1 * 0.8 ** 4, 0.1 * 0.8 ** 3, 0.1 * 0.8 ** 2, 0.1 * 0.8, 0.5 * 0.8, 2, 2)
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-6)
    assert set(learning_rate_factors(NAMES, (), 1.0).values()) == {1.0}


@pytest.mark.parametrize('groups, decay, words', [
    ((('encoder/.*', 0.1),), 1.0, 'groups: context/gru/kernel is in no group, .*head/kernel'),
    ((('encoder', 0.1), ('.*', 1.0)), 1.0, "groups.0: 'encoder' matches the whole name of no"),
    ((('.*', 1.0), ('head/.*', 0.1)), 1.0, "groups.1: 'head/.*' matches"),
    ((('context/.*', 1.0), ('context/.*', 0.1)), 1.0,
     'groups.1: .*; parameters that are frozen, or in a group before, do not count$'),
    ((('(', 1.0),), 1.0, r"groups.0: '\(' is no regular expression")])
def test_a_group_that_cannot_be_meant_is_refused(groups, decay, words):
    with pytest.raises(InputError, match=f'^optimizer.{words}'):
        learning_rate_factors(NAMES, groups, decay)


def test_an_encoder_without_blocks_has_no_layers_to_count():
    with pytest.raises(InputError, match='^optimizer.layer_decay: 0.5 counts blocks'):
        layer_factors(['encoder/Conv_0/kernel', 'head/kernel'], 0.5)


@pytest.mark.parametrize('name', ['sgd', 'adamw', 'lion', 'muon', 'schedule_free_adamw'])
def test_every_optimizer_multiplies_its_updates_decay_included(name):
    params = {'encoder': {'block0': {'kernel': jnp.full((2, 2), 3.0)}},
              'head': {'kernel': jnp.full((2, 2), 3.0)}}
    gradient = jax.tree.map(jnp.ones_like, params)
    updates = []
    for options in ({}, {'groups': (('encoder/.*', 0.1), ('.*', 1.0)), 'layer_decay': 0.5}):
        rule = getattr(optimizers, name)(learning_rate=0.5, weight_decay=0.1,
                                         schedule=schedules.constant(steps=10), **options)
        updates.append(rule.update(gradient, rule.init(params), params)[0])
    factors = jax.tree.map(lambda plain, scaled: float((scaled / plain)[0, 0]), *updates)
    assert factors['head']['kernel'] == pytest.approx(1)
    assert factors['encoder']['block0']['kernel'] == pytest.approx(0.05, rel=1e-4)


def test_groups_are_checked_when_the_state_is_made():
    rule = optimizers.sgd(learning_rate=0.5, schedule=schedules.constant(steps=10),
                          groups=(('head/.*', 1.0),))
    with pytest.raises(InputError, match='encoder/kernel is in no group'):
        rule.init({'encoder': {'kernel': jnp.ones(2)}, 'head': {'kernel': jnp.ones(2)}})
