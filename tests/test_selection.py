"""The best checkpoint by any score, and early stopping: also where a stopped run continues."""

import dataclasses
import math
import shutil
import types

import pytest

import jaxseg
from jaxseg.commands import scoring
from jaxseg.errors import InputError
from jaxseg.training.layout import JitLayout
from jaxseg.training.restore import find, list_checkpoints
from jaxseg.training.selection import Best, Progress
from tests.algorithms import RUN
from tests.extension.data import Gradients

# Updates are too small to change a prediction: no validation is better than the first.
STALLING = {**RUN, 'steps': 8, 'evaluate_every': 1, 'early_stopping': 2,
            'optimizer': dict(type='optimizer.adamw', learning_rate=1e-12, weight_decay=0.0)}


class TrainingAlone(Gradients):
    """Data without a split for validation."""

    @property
    def spec(self):
        return dataclasses.replace(super().spec, splits=('train',))


def test_the_best_score_is_the_largest_or_the_smallest():
    scores = {'miou': 0.25, 'error': 3.0}
    assert Best().score(scores) == 0.25
    assert Best(metric='error', mode='min').score(scores) == -3.0


@pytest.mark.parametrize('best, score, which, expected', [
    (Best(), 0.5, 'best', 'highest val_miou: 0.5000'),
    (Best(metric='error', mode='min'), -3.0, 'best', 'lowest val_error: 3.0000'),
    (Best(), -math.inf, 'best', 'the latest, as no validation scored it'),
    (Best(), 0.5, 'latest', 'the latest'), (Best(), 0.5, '7', 'by its number')])
def test_how_a_checkpoint_was_chosen_is_said_with_its_score(monkeypatch, tmp_path, best, score,
                                                            which, expected):
    checkpoint = types.SimpleNamespace(score=score)
    monkeypatch.setattr(scoring, 'list_checkpoints', lambda folder: ({7: checkpoint}, {}))
    run = types.SimpleNamespace(path=tmp_path, members=(), config=types.SimpleNamespace(best=best))
    assert scoring.checkpoint_selection(run, which, 7) == expected
    ensemble = types.SimpleNamespace(**{**vars(run), 'members': (tmp_path, tmp_path)})
    several = scoring.checkpoint_selection(ensemble, which, (7, 7))
    assert several == expected + (f', {expected.rpartition(" ")[2]}' if 'val_' in expected else '')


def test_only_more_than_the_best_is_progress():
    progress, seen = Progress(), []
    for step, score in enumerate((math.nan, 0.5, 0.5, 0.4, 0.6, math.nan)):
        progress = progress.after(score, step)
        assert progress.validated == step
        seen.append(progress)
    assert [each.stale for each in seen] == [1, 0, 1, 2, 0, 1]
    assert [each.best for each in seen] == [-math.inf, 0.5, 0.5, 0.5, 0.6, 0.6]


def test_early_stopping_counts_on_where_a_run_continues(tmp_path, capsys, monkeypatch):
    def run(**changes):
        assert jaxseg.run(**{**STALLING, **changes}, workdir=tmp_path)
        return capsys.readouterr().out, max(list_checkpoints(tmp_path / 'checkpoints')[0])

    out, last = run()
    assert last == 3 and 'early stopping at step 3: 2 validations without a better miou' in out
    shutil.rmtree(tmp_path / 'checkpoints' / '3')
    assert run()[1] == 3  # one validation was counted before
    (tmp_path / 'model.json').unlink()
    with monkeypatch.context() as patch:
        patch.setattr(JitLayout, 'compile_step', None)  # it is not called
        out, last = run()
    assert last == 3 and 'early stopping' in out and 'validation: ' not in out
    assert (tmp_path / 'model.json').is_file()
    # More patience; and the best is still the first, or the last of equals.
    assert run(early_stopping=4)[1] == 5


def test_the_best_checkpoint_is_that_of_the_metric_of_the_config(tmp_path):
    """Of the share of right pixels, the smallest: no user wants it, and the first has it."""
    assert jaxseg.run(**{**RUN, 'steps': 12, 'evaluate_every': 6,
                         'best': {'metric': 'pixel_accuracy', 'mode': 'min'},
                         'optimizer': dict(type='optimizer.adamw', learning_rate=0.05)},
                      workdir=tmp_path)
    found, _ = list_checkpoints(tmp_path / 'checkpoints')
    assert find(tmp_path, found, 'best') == 6 and find(tmp_path, found, 'latest') == 12
    assert -1 < found[6].score < 0


@pytest.mark.parametrize('changes, words', [
    ({'best': {'metric': 'mio'}}, "best.metric: no .* reports 'mio'; did you mean 'miou'"),
    ({'best': {'metric': 'raw_miou'}}, "best.metric: no .* reports 'raw_miou'"),
    ({'best': {'mode': 'most'}}, 'best.mode: expected one of max, min'),
    ({'best': {'metrics': 'miou'}}, "best.metrics: no such key; did you mean 'metric'"),
    ({'best': 'miou'}, "best: expected keys"),
    ({'early_stopping': 0}, 'early_stopping: 0 is out of range'),
    ({'early_stopping': 2, 'data': dict(type='tests.test_selection:TrainingAlone', samples=8)},
     "early_stopping: 2 validations .* the data have no split 'val'")])
def test_a_selection_that_cannot_be_is_refused_before_anything_is_compiled(
        changes, words, tmp_path, monkeypatch):
    monkeypatch.setattr('jaxseg.commands.training._train', None)
    with pytest.raises(InputError, match=f'^config.{words}'):
        jaxseg.run(**{**RUN, **changes}, workdir=tmp_path / 'run')
