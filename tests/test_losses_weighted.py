"""The weighted sum of named losses."""

import math

import jax.numpy as jnp
import pytest

from jaxseg.errors import InputError
from jaxseg.losses.dice import dice
from jaxseg.losses.weighted import WeightedSum


def constant(total: float, count: float):
    return lambda *_: (jnp.array(total), jnp.array(count))


def test_a_weighted_sum_divides_once_and_counts_nothing_as_zero():
    terms = WeightedSum({'a': (2.0, constant(6.0, 4.0)), 'b': (0.5, constant(0.0, 0.0)),
                         'reported': (0.0, constant(math.nan, 1.0))})
    parts = terms(None, None, None)
    assert float(terms.total(parts)) == 3.0
    means = terms.means(parts)
    assert float(means['a']) == 1.5 and float(means['b']) == 0 and math.isnan(means['reported'])


@pytest.mark.parametrize('terms, key', [
    ({}, 'losses: '), ({'a': (0.0, dice), 'b': (0, dice)}, 'losses: .*a, b'),
    ({'a': (-1.0, dice), 'b': (2.0, dice)}, 'losses.a.weight: -1.0'),
    ({'a': (math.nan, dice)}, 'losses.a.weight: nan'),
    ({'a': (math.inf, dice)}, 'losses.a.weight: inf'), ({'a': ('1', dice)}, 'losses.a.weight: '),
    *(({name: (1.0, dice)}, f'losses.{name}: ') for name in (
        'loss', 'gradient_norm', 'learning_rate', 'step', 'images_per_second',
        'data_wait', 'val_dice',
        'auxiliary0'))])
def test_weights_and_names_that_cannot_be_are_refused(terms, key):
    with pytest.raises(InputError, match=key):
        WeightedSum(terms)


@pytest.mark.parametrize('returned', [
    jnp.array(1.0), (jnp.ones(3), jnp.array(1.0)), (1.0, 2.0, 3.0)])
def test_a_loss_that_returns_no_sum_and_count_is_refused(returned):
    terms = WeightedSum({'mine': (1.0, lambda *_: returned)})
    with pytest.raises(InputError, match='losses.mine: '):
        terms(None, None, None)
