"""Tasks: hand-worked totals, exact accumulation over microbatches, decisions, what is refused."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import InputError
from jaxseg.losses.binary_cross_entropy import binary_cross_entropy
from jaxseg.losses.binary_dice import binary_dice
from jaxseg.losses.cross_entropy import cross_entropy
from jaxseg.losses.dice import dice
from jaxseg.losses.weighted import WeightedSum
from jaxseg.tasks.multilabel import Multilabel
from jaxseg.tasks.semantic import Semantic

CLASSES = ('sky', 'road', 'tree')


def squared_error(logits, labels, valid):
    """A loss as a user writes it: `(sum, count)` over the valid pixels, for a softmax."""
    truth = jax.nn.one_hot(labels, logits.shape[-1])
    error = jnp.square(jax.nn.softmax(logits, -1) - truth).sum(-1)
    return jnp.where(valid, error, 0).sum(), valid.sum(dtype=jnp.float32)


TASKS = {
    'semantic': Semantic(CLASSES, WeightedSum({
        'weighted': (1.0, functools.partial(cross_entropy, class_weights=(1, 2, 4))),
        'overlap': (0.5, dice), 'own': (2.0, squared_error)}), False),
    'multilabel': Multilabel(CLASSES, WeightedSum({
        'entropy': (1.0, binary_cross_entropy), 'overlap': (0.5, binary_dice)}), True),
}
each_task = pytest.mark.parametrize('task', TASKS.values(), ids=TASKS)


def example(task):
    """Outputs with two auxiliary ones and a batch of four images with unequal shares of void."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5, 6, 3)).astype(np.float32)
    shape = (4, 5, 6, 3) if isinstance(task, Multilabel) else (4, 5, 6)
    share = np.array([1, 0.7, 0.4, 0.1]).reshape(4, *[1] * (len(shape) - 1))
    batch = {'label': rng.integers(0, 2 if len(shape) == 4 else 3, shape).astype(np.int32),
             'valid': rng.random(shape) < share}
    return {'logits': logits[0], 'auxiliary': (logits[1], logits[2])}, batch


def microbatch(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def test_losses_total_and_report_by_hand():
    task = Semantic(('a', 'b'), WeightedSum({'ce': (3.0, cross_entropy)}), False, 0.5)
    even, sure = jnp.zeros((1, 1, 2, 2)), jnp.log(jnp.array([[[[3.0, 1.0], [1.0, 1.0]]]]))
    batch = {'label': jnp.array([[[0, 7]]]), 'valid': jnp.array([[[True, False]]])}
    parts = task.losses({'logits': even, 'auxiliary': (sure, even)}, batch)
    assert set(parts) == {'ce', 'auxiliary0/ce', 'auxiliary1/ce'}
    assert all(float(count) == 1 for _, count in parts.values())
    main, first = math.log(2), math.log(4 / 3)
    assert float(task.total(parts)) == pytest.approx(3 * (main + 0.5 * (first + main)))
    assert set(task.metrics(parts)) == {'ce'}
    assert float(task.metrics(parts)['ce']) == pytest.approx(main)
    alone = task.losses({'logits': even}, batch)
    assert float(task.total(alone)) == pytest.approx(3 * main)


def test_every_auxiliary_output_may_have_a_weight_of_its_own():
    task = Semantic(('a', 'b'), WeightedSum({'ce': (1.0, cross_entropy)}), False, (0.5, 0.25))
    even, sure = jnp.zeros((1, 1, 1, 2)), jnp.log(jnp.array([[[[3.0, 1.0]]]]))
    batch = {'label': jnp.array([[[0]]]), 'valid': jnp.array([[[True]]])}
    parts = task.losses({'logits': even, 'auxiliary': (sure, even)}, batch)
    assert float(task.total(parts)) == pytest.approx(
        math.log(2) + 0.5 * math.log(4 / 3) + 0.25 * math.log(2))
    with pytest.raises(InputError, match=r'task.auxiliary_weight: \[0.5, 0.25\] for 1 auxiliary'):
        task.losses({'logits': even, 'auxiliary': (sure,)}, batch)
    assert set(task.losses({'logits': even}, batch)) == {'ce'}  # an evaluation


def test_binary_segmentation_is_multilabel_with_one_class():
    task = Multilabel(('lesion',), WeightedSum({'bce': (1.0, binary_cross_entropy)}), True)
    outputs = {'logits': jnp.array([[[[0.0], [math.log(3)], [9.0]]]])}
    batch = {'label': jnp.array([[[[1], [0], [1]]]]),
             'valid': jnp.array([[[[True], [True], [False]]]])}
    parts = task.losses(outputs, batch)
    assert float(task.total(parts)) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert task.predictions(outputs)[..., 0].tolist() == [[[0, 1, 1]]]
    np.testing.assert_allclose(task.probabilities(outputs)[0, 0, :2, 0], [0.5, 0.75], rtol=1e-6)
    scores = task.scores().count(batch['label'], task.predictions(outputs), batch['valid'])
    assert scores.summary()['miou'] == 0 and scores.summary()['mean_accuracy'] == 0


@each_task
def test_counts_need_no_outputs(task):
    outputs, batch = example(task)
    losses = jax.jit(task.losses)
    parts, counts = losses(outputs, batch), task.counts(batch)
    assert counts.keys() == task.terms.terms.keys()
    for key, (_, count) in parts.items():
        assert float(count) == float(counts[key.rpartition('/')[2]])
    nothing = {**batch, 'valid': np.zeros_like(batch['valid'])}
    assert float(task.total(losses(outputs, nothing))) == 0


@each_task
@pytest.mark.parametrize('splits', [[[0], [1], [2], [3]], [[3], [0, 1, 2]]])
def test_accumulated_microbatches_equal_the_batch(task, splits):
    """With the counts of the whole batch, totals and gradients of its parts add up to its own."""
    outputs, batch = example(task)
    counts = jax.tree.map(lambda *x: sum(x), *(
        task.counts(microbatch(batch, np.array(index))) for index in splits))

    def total(outputs, batch):
        parts = task.losses(outputs, batch)
        return task.total({key: (value, counts.get(key, count))
                           for key, (value, count) in parts.items()})

    accumulated, gradients, run = 0.0, [], jax.jit(jax.value_and_grad(total))
    for index in splits:
        part = microbatch((outputs, batch), np.array(index))
        value, gradient = run(*part)
        accumulated, gradients = accumulated + value, [*gradients, gradient]
    order = np.argsort(sum(splits, []))
    gradients = jax.tree.map(lambda *x: np.concatenate(x)[order], *gradients)
    expected = jax.jit(jax.value_and_grad(lambda x: task.total(task.losses(x, batch))))(outputs)
    assert float(accumulated) == pytest.approx(float(expected[0]), rel=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7),
                 gradients, expected[1])


def test_nothing_under_void_changes_a_total_its_gradient_or_a_score():
    task = Semantic(CLASSES, WeightedSum({'ce': (1.0, cross_entropy), 'dice': (1.0, dice)}), False)
    outputs, batch = example(task)
    wild = jax.tree.map(lambda x: np.where(batch['valid'][..., None], x, np.nan), outputs)
    other = {**batch, 'label': np.where(batch['valid'], batch['label'], 255)}

    gradient = jax.jit(jax.value_and_grad(lambda x, batch: task.total(task.losses(x, batch))))

    def everything(outputs, batch):
        value = gradient(outputs, batch)
        scores = task.scores().count(batch['label'], task.predictions(outputs), batch['valid'])
        return value, scores.matrix

    jax.tree.map(np.testing.assert_array_equal, everything(wild, other), everything(outputs, batch))


@each_task
def test_decisions_are_the_same_from_outputs_and_from_probabilities(task):
    outputs, batch = example(task)
    predictions, probabilities = task.predictions(outputs), task.probabilities(outputs)
    assert predictions.shape == batch['label'].shape and predictions.dtype == np.uint8
    assert probabilities.shape == (4, 5, 6, task.channels) and probabilities.dtype == np.float32
    for given in (probabilities, np.asarray(probabilities)):
        decided = task.decide(given)
        assert isinstance(decided, type(given)) and decided.dtype == np.uint8
        np.testing.assert_array_equal(decided, predictions)
    perfect = task.scores().count(predictions, predictions, np.ones_like(batch['valid']))
    assert perfect.summary()['miou'] == 1


def test_probabilities_are_a_softmax_or_a_sigmoid_in_float32():
    outputs = {'logits': jnp.log(jnp.array([[[[1.0, 2.0, 5.0]]]])).astype(jnp.bfloat16)}
    softmax, sigmoid = (TASKS[name].probabilities(outputs)
                        for name in ('semantic', 'multilabel'))
    assert softmax.dtype == sigmoid.dtype == jnp.float32
    np.testing.assert_allclose(softmax[0, 0, 0], [0.125, 0.25, 0.625], rtol=1e-2)
    np.testing.assert_allclose(sigmoid[0, 0, 0], [0.5, 2 / 3, 5 / 6], rtol=1e-2)


@pytest.mark.parametrize('classes, dtype', [(256, np.uint8), (257, np.uint16)])
def test_predictions_hold_the_last_class(classes, dtype):
    task = Semantic(tuple(map(str, range(classes))), TASKS['semantic'].terms, False)
    one_hot = np.eye(classes, dtype=np.float32)
    for found in (task.predictions({'logits': jnp.asarray(one_hot)}), task.decide(one_hot)):
        assert found.dtype == dtype and int(found[-1]) == classes - 1


def test_a_class_is_predicted_above_the_threshold_alone():
    task = Multilabel(CLASSES, TASKS['multilabel'].terms, True, threshold=0.8)
    probabilities = np.array([0.75, 0.8, 0.85], np.float32)
    assert task.decide(probabilities).tolist() == [0, 0, 1]
    logits = jnp.log(jnp.array([3.0, 3.99, 4.01]))
    assert task.predictions({'logits': logits}).tolist() == [0, 0, 1]


SOFTMAX, SIGMOID = (TASKS[name].terms for name in ('semantic', 'multilabel'))


@pytest.mark.parametrize('make, message', [
    (lambda: Semantic(('road',), SOFTMAX, False), "road.*background class.*multilabel.Multilabel"),
    (lambda: Semantic(CLASSES, SOFTMAX, True), 'semantic.Semantic.*overlap.*multilabel.Multilabel'),
    (lambda: Multilabel(CLASSES, SIGMOID, False), 'multilabel.Multilabel.*semantic.Semantic'),
    (lambda: Semantic(CLASSES, SOFTMAX, False, -1.0), 'task.auxiliary_weight: -1.0'),
    (lambda: Multilabel(CLASSES, SIGMOID, True, threshold=1.0), 'task.threshold: 1.0')])
def test_a_task_that_cannot_be_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize('task, message', [
    (Semantic(CLASSES, WeightedSum({'bce': (1.0, binary_cross_entropy)}), False),
     'binary_cross_entropy .* semantic.Semantic'),
    (Multilabel(CLASSES, WeightedSum({'ce': (1.0, cross_entropy)}), True),
     'cross_entropy .* multilabel.Multilabel'),
    (Semantic(CLASSES[:2], SOFTMAX, False), 'class_weights: 3 values for 2 classes')])
def test_losses_of_another_task_or_other_classes_are_refused_at_trace_time(task, message):
    _, batch = example(task)
    with pytest.raises(InputError, match=message):
        jax.eval_shape(task.counts, batch)
