"""A frozen part stays as it is, bit for bit, and works as in evaluation."""

import dataclasses
import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.layers.dropout import Dropout
from jaxseg.layers.norm import Norm
from jaxseg.layers.remat import call_block
from jaxseg.layers.stages import Stage
from jaxseg.training import optimizer as optimizers
from jaxseg.training import schedule as schedules
from jaxseg.training.freezing import merge_frozen, split_frozen
from jaxseg.training.supervised import Supervised
from tests.algorithms import example, initial, largest_difference, make


class Block(nn.Module):
    """A convolution, batch norm, dropout."""

    @nn.compact
    def __call__(self, x, *, train):
        x = Norm(name='norm')(nn.Conv(4, (3, 3), name='conv')(x), train=train)
        return Dropout(0.5)(x, train=train)


class Blocks(nn.Module):
    """An encoder of two blocks, the second of which is computed again in the backward pass."""

    stride = 1

    @nn.compact
    def __call__(self, x, *, train):
        x = Block(name='block0')(x, train=train)
        return (Stage(1, call_block(Block(name='block1'), x, True, train=train)),)


def frozen(*patterns: str) -> Supervised:
    """Decay would shrink a frozen kernel, and momentum move it."""
    rule = optimizers.adamw(learning_rate=0.01, schedule=schedules.constant(steps=20))
    algorithm = make(Supervised, norm='batch', rule=rule, freeze=patterns)
    return dataclasses.replace(algorithm, model=algorithm.model.clone(encoder=Blocks()))


@pytest.fixture(scope='module')
def encoder():
    """With a frozen encoder: the algorithm, its state, its compiled step."""
    return started(frozen('encoder/.*'))


@pytest.fixture(scope='module')
def block():
    """With a frozen block, the second of the encoder."""
    return started(frozen('encoder/block1/.*'))


def started(algorithm):
    return algorithm, initial(algorithm), jax.jit(algorithm.step)


def test_a_frozen_encoder_is_the_same_bit_for_bit_after_ten_steps(encoder):
    _, before, step = encoder
    after = before
    for index in range(10):
        after, _ = step(after, example(), jax.random.key(index))
    for old, new in ((before.params, after.params),
                     (before.collections['batch_stats'], after.collections['batch_stats'])):
        jax.tree.map(np.testing.assert_array_equal, old['encoder'], new['encoder'])
        assert largest_difference(old['auxiliary'], new['auxiliary']) > 1e-3
    assert largest_difference(before.params['decoder'], after.params['decoder']) > 1e-3
    names = str(jax.tree_util.tree_leaves_with_path(after.opt_state))
    assert 'decoder' in names and 'encoder' not in names


def test_neither_batch_norm_nor_dropout_acts_in_what_is_frozen(encoder, block):
    def losses(step, state):
        return [float(step(state, example(), jax.random.key(key))[1]['cross_entropy'])
                for key in (1, 2)]

    algorithm, state, step = encoder
    batch = algorithm.preprocess(example(), None)
    outputs = jax.jit(functools.partial(algorithm.model.apply, train=False))(
        algorithm.variables(state), batch['image'])
    expected = algorithm.task.metrics(algorithm.task.losses(outputs, batch))['cross_entropy']
    np.testing.assert_allclose(losses(step, state), [expected, expected], rtol=1e-5)
    first, second = losses(block[2], block[1])
    assert first != second  # block0 draws, and takes the statistics of the batch


def test_one_block_may_be_frozen_within_what_is_computed_again(block):
    _, before, step = block
    after, _ = step(before, example(), jax.random.key(0))
    for old, new in ((before.params['encoder'], after.params['encoder']),
                     (before.collections['batch_stats']['encoder'],
                      after.collections['batch_stats']['encoder'])):
        jax.tree.map(np.testing.assert_array_equal, old['block1'], new['block1'])
        assert largest_difference(old['block0'], new['block0']) > 1e-3


def test_no_gradient_is_computed_for_what_is_frozen():
    def convolutions(algorithm):
        state = jax.eval_shape(algorithm.init, jax.random.key(0), example())
        return str(jax.make_jaxpr(algorithm.step)(state, example(), jax.random.key(0))).count(
            'conv_general_dilated')

    forward = convolutions(frozen('encoder/.*'))
    # Of `block0` the gradient of the kernel, of `block1` that of its input, too, and once more its
    # forward pass.
    assert convolutions(frozen()) - forward == 4


def test_parameters_are_split_and_merged():
    params = {'a': {'kernel': 1, 'bias': (2, 3)}, 'b': {'kernel': 4}}
    trainable, kept = split_frozen(params, ('a/.*',))
    assert trainable == {'b': {'kernel': 4}} and kept == {'a': params['a']}
    assert merge_frozen(trainable, kept) == params
    assert split_frozen(params, ('.*/bias', 'b/kernel')) == (
        {'a': {'kernel': 1}}, {'a': {'bias': (2, 3)}, 'b': {'kernel': 4}})
    assert split_frozen(params, ()) == (params, {})


@pytest.mark.parametrize('patterns, words', [
    (['encoder'], "'encoder' matches the whole name of no parameter; .*decoder/.*'encoder/.*'"),
    (['encoder/.*', '('], r"'\(' is no regular expression"),
    (['.*'], 'matches all parameters')])
def test_a_pattern_that_cannot_be_meant_is_refused_before_anything_is_compiled(patterns, words):
    algorithm = frozen(*patterns)
    with pytest.raises(InputError, match=f'^algorithm.freeze: .*{words}'):
        jax.eval_shape(algorithm.init, jax.random.key(0), example())
