"""What a report warns of, from hand-made measurements."""

import dataclasses
import pathlib
import types

import numpy as np
import pytest

from jaxseg.commands.report_warnings import data_warnings, run_warnings
from jaxseg.data.fingerprint import Fingerprint, ObjectSizes
from jaxseg.data.inspection import Frequencies
from jaxseg.data.spec import DatasetSpec
from jaxseg.metrics.confusion import Confusion
from jaxseg.metrics.images import ImageCounts
from jaxseg.records import write_json
from jaxseg.training.restore import make_record
from jaxseg.training.selection import Progress

SPEC = DatasetSpec('d', ('sky', 'road', 'car'))
FREQUENCIES = Frequencies(SPEC, np.array([50, 40, 10]), np.array([90, 80, 70]),
                          np.array([9000, 8000, 7000]), labelled=100, void=10, samples=100,
                          value_range=(0.0, 255.0))
GOOD = Fingerprint({'train': 100, 'val': 50}, ((90, 120), (100, 120), (110, 120)), 3, FREQUENCIES,
                   (ObjectSizes(9, (50.0, 64.0, 900.0), 9.0),) * 3, (0.5,) * 3, (), ())


def test_good_data_give_no_warning():
    assert not list(data_warnings(GOOD))


@pytest.mark.parametrize('change, words', [
    ({'duplicates': (('train', 'a', 'val', 'b'),)}, ['1 images are in two splits', 'a of train']),
    ({'problems': ('x.png: broken',)}, ['1 images cannot be used', 'x.png: broken']),
    ({'images': np.array([90, 80, 0])}, ['No training image', ': car.']),
    ({'images': np.array([5, 6, 70])}, ['At most 5 of 100', ': sky.']),
    ({'void': 26}, ['21% of the pixels']),
    ({'objects': (*GOOD.objects[:2], ObjectSizes(3, (9.0, 63.0, 70.0), 3.0))}, ['64', ': car.']),
    ({'sizes': ((30, 120), (100, 120), (91, 120))}, ['120\u00d730 to 120\u00d791']),
    ({'value_range': (0.0, 300.0)}, ['exceed', '0 to 300']),
    ({'value_range': (10.0, 35.0)}, ['nearly no contrast', '10 to 35'])])
def test_each_fault_of_the_data_gives_one_warning(change, words):
    of_frequencies = {field.name for field in dataclasses.fields(Frequencies)} & change.keys()
    if of_frequencies:
        change = {'frequencies': dataclasses.replace(FREQUENCIES, **change)}
    warning, = data_warnings(dataclasses.replace(GOOD, **change))
    assert all(word in warning for word in words), warning


def found(matrix, counts, steps=10, images=20, path=pathlib.Path('none'), early_stopping=None):
    """The warnings on a run and its scores."""
    metrics = types.SimpleNamespace(images=ImageCounts(
        ('n',) * images, (np.array(counts),) * images, SPEC.classes))
    examination = types.SimpleNamespace(scores=Confusion(np.array(matrix), SPEC.classes),
                                        metrics=metrics, image_scores=np.ones(images))
    run = types.SimpleNamespace(
        path=path, config=types.SimpleNamespace(steps=10, early_stopping=early_stopping), spec=SPEC,
        parts=types.SimpleNamespace(inference=types.SimpleNamespace(windowed=[])))
    return list(run_warnings(run, examination, 'val', [{'step': steps, 'loss': 1.0}]))


def test_runs_are_warned_of_by_their_end_their_images_and_their_classes():
    matrix, counts = [[5, 1, 0], [1, 5, 0], [0, 1, 5]], [[5] * 3, [1, 2, 0], [1, 1, 1]]
    assert not found(matrix, counts)
    assert found(matrix, counts, steps=4) == [
        'The training was stopped at step 4 of 10: the model may become better.']
    assert 'rest on 19 images' in found(matrix, counts, images=19)[0]
    absent, = found([[5, 1, 0], [1, 5, 0], [0, 0, 0]], [[5, 5, 0], [1, 1, 1], [1, 1, 0]])
    assert absent.endswith('anywhere: car.')
    never, = found([[5, 1, 0], [1, 5, 0], [3, 3, 0]], [[5, 5, 0], [1, 1, 0], [1, 1, 6]])
    assert never == "These classes occur in 'val', but are never predicted: car."


@pytest.mark.parametrize('early_stopping, stopped', [(2, False), (3, True), (None, True)])
def test_a_training_that_early_stopping_ended_is_not_called_stopped(tmp_path, early_stopping,
                                                                    stopped):
    for step, stale in ((2, 0), (4, 1), (6, 2)):
        (tmp_path / f'checkpoints/{step}/metrics').mkdir(parents=True)
        write_json(tmp_path / f'checkpoints/{step}/metrics/metrics',
                   make_record(0.5, Progress(0.5, stale, step), {}))
    warnings = found([[5, 1, 0], [1, 5, 0], [0, 1, 5]], [[5] * 3, [1, 2, 0], [1, 1, 1]], steps=6,
                     path=tmp_path, early_stopping=early_stopping)
    assert ['stopped at step 6' in warning for warning in warnings] == [True] * stopped
