"""The training loop and its report: what is due when, and what is written."""

import contextlib
import csv
import math
import os
from unittest import mock

import jax.numpy as jnp
import pytest

from jaxseg.errors import InputError
from jaxseg.training.events import Events
from jaxseg.training.loop import Intervals, train
from jaxseg.training.report import Report, draw_curves


class Recorder:
    """A layout, a report and everything else that the loop calls, for an algorithm that counts."""

    def __init__(self, stop_at: int = 99, stop_in_evaluation: int = 99):
        self.stop_at, self.stop_in_evaluation = stop_at, stop_in_evaluation
        self.events, self.now = [], 0

    def run(self, first: int, steps: int, validated: int = 0, **intervals) -> int:
        batches = map(self.batch, range(first, 99))
        _, done = train(
            100 * first, batches, layout=self, step=self.one_step, first=first, steps=steps,
            report=self, intervals=Intervals(**intervals), evaluate=self.evaluate,
            validated=validated, save=self.save,
            stop_requested=lambda: self.now >= self.stop_at,
            stalled=lambda: self.now >= self.stalls_at)
        return done

    pausing = False
    last_batch = stalls_at = fails_in_evaluation = not_finite = 99

    def batch(self, index: int) -> dict:
        if index > self.last_batch:
            raise InputError('a damaged file')
        return {'name': [f'b{index}'], 'x': index}

    replicate = put_batch = unreplicate = staticmethod(lambda value: value)

    def one_step(self, state, batch, index):
        assert index == batch['x'] and 'name' not in batch and not self.pausing
        self.now = int(index) + 1
        return state + 1, {'loss': state}

    @contextlib.contextmanager
    def paused(self):
        self.pausing = True
        yield
        self.pausing = False

    def save(self, *saved):
        assert self.pausing  # it waits for the disk, which is no training
        self.events.append(('save', *saved))

    def evaluate(self, state):
        assert self.pausing
        if self.now >= self.fails_in_evaluation:
            raise InputError('a file that is gone')
        return None if self.now >= self.stop_in_evaluation else {'miou': state / 10}

    def step(self, step, metrics, names, write):
        self.events += [('report', step)] if write else []

    waiting = contextlib.nullcontext

    def flush(self):
        if self.now >= self.not_finite:
            raise FloatingPointError

    def evaluation(self, step, scores):
        self.events.append(('scores', step, scores['miou']))


@pytest.fixture(autouse=True)
def no_events(monkeypatch):
    """Reports are not closed here, which would leave their files of events open."""
    monkeypatch.setattr('jaxseg.training.report.open_events', lambda *_: None)


def test_the_loop_reports_evaluates_and_saves_when_they_are_due_and_after_the_last_step():
    loop = Recorder()
    assert loop.run(0, 7, report=2, evaluate=4, save=3) == 7
    assert loop.events == [
        ('report', 2), ('save', 3, 3, None),
        ('report', 4), ('scores', 4, 0.4), ('save', 4, 4, {'miou': 0.4}),
        ('report', 6), ('save', 6, 6, None),
        ('report', 7), ('scores', 7, 0.7), ('save', 7, 7, {'miou': 0.7})]
    loop = Recorder()
    assert loop.run(5, 7, report=9, evaluate=None, save=9) == 7  # the last save was of no interval
    assert loop.events == [('report', 7), ('save', 7, 502, None)]
    assert Recorder().run(7, 7, 7, report=1, evaluate=1, save=1) == 7


def test_a_fault_in_the_data_saves_the_steps_done_before_it_ends_the_run():
    loop = Recorder()
    loop.last_batch = 2
    with pytest.raises(InputError, match='damaged'):
        loop.run(0, 7, report=9, evaluate=None, save=9)
    assert loop.events == [('save', 3, 3, None)]


def test_a_fault_in_an_evaluation_saves_the_steps_done_before_it_ends_the_run(monkeypatch):
    loop = Recorder()
    loop.fails_in_evaluation = 4
    scored = [('scores', 2, 0.2), ('save', 2, 2, {'miou': 0.2})]
    with pytest.raises(InputError, match='gone'):
        loop.run(0, 7, report=9, evaluate=2, save=9)
    assert loop.events == [*scored, ('save', 4, 4, None)]
    monkeypatch.setattr('jax.process_count', lambda: 2)  # of which the other one does not save
    loop.events = []
    with pytest.raises(InputError, match='gone'):
        loop.run(0, 7, report=9, evaluate=2, save=9)
    assert loop.events == scored


def test_a_fault_in_the_data_saves_no_step_whose_loss_is_not_finite():
    loop = Recorder()
    loop.last_batch, loop.not_finite = 2, 3
    with pytest.raises(FloatingPointError):
        loop.run(0, 7, report=9, evaluate=None, save=2)
    assert loop.events == [('save', 2, 2, None)]


def test_a_stop_ends_the_loop_after_the_running_step_and_saves_without_an_evaluation():
    loop = Recorder(stop_at=4)
    assert loop.run(0, 7, report=9, evaluate=4, save=9) == 4
    assert loop.events == [('save', 4, 4, None)]  # and no report, which an undisturbed run has not
    loop = Recorder(stop_in_evaluation=4)
    assert loop.run(0, 7, report=9, evaluate=2, save=9) == 4
    assert loop.events == [('scores', 2, 0.2), ('save', 2, 2, {'miou': 0.2}), ('save', 4, 4, None)]


@pytest.mark.parametrize('first, validated, expected', [
    (4, 2, [('scores', 4, 40), ('save', 4, 400, {'miou': 40})]), (4, 4, []), (3, 2, []),
    (6, 4, [('scores', 6, 60), ('save', 6, 600, {'miou': 60})])])  # the last step
def test_an_evaluation_that_a_stop_has_left_out_is_the_first_thing_of_a_run_that_continues(
        first, validated, expected):
    loop = Recorder(stop_at=first + 1)
    assert loop.run(first, 6, validated, report=9, evaluate=4, save=9) == min(first + 1, 6)
    assert [event for event in loop.events if event[1] == first] == expected
    loop = Recorder(stop_in_evaluation=0)
    assert loop.run(4, 6, 2, report=9, evaluate=4, save=9) == 4
    assert loop.events == [('save', 4, 400, None)]


def test_early_stopping_ends_the_loop_after_the_evaluation_is_saved_and_only_then():
    loop = Recorder()
    loop.stalls_at = 3
    assert loop.run(0, 9, report=9, evaluate=4, save=3) == 4
    assert loop.events == [('save', 3, 3, None), ('scores', 4, 0.4), ('save', 4, 4, {'miou': 0.4})]


def test_scores_of_a_step_replace_those_that_a_killed_run_has_not_saved(tmp_path):
    for score in (0.25, 0.5):
        report = Report(tmp_path, first_step=2, steps=4, batch_size=2)
        report.evaluation(2, {'miou': score})
        report.evaluation(3, {'miou': 0.75})
    assert (tmp_path / 'metrics.csv').read_text().split() == ['step,val_miou', '2,0.5', '3,0.75']


def test_a_loss_that_is_not_finite_names_step_parts_rate_and_files(tmp_path):
    report = Report(tmp_path, first_step=0, steps=10, batch_size=2)
    report.step(7, {'loss': jnp.inf, 'dice': 0.25, 'learning_rate': 0.5}, ['a_1', 'b_2'],
                write=True)
    with pytest.raises(FloatingPointError) as error:
        report.flush()
    for word in ('step 7', 'loss inf', 'dice 0.25', 'learning_rate 0.5', 'a_1, b_2'):
        assert word in str(error.value)
    assert not (tmp_path / 'metrics.csv').exists()


def test_metrics_written_after_the_last_checkpoint_are_written_again(tmp_path):
    for first in (0, 2):
        report = Report(tmp_path, first_step=first, steps=4, batch_size=2)
        for step in range(first + 1, 5):
            report.step(step, {'loss': 10.0 * first + step, 'learning_rate': 0.5}, ['a'],
                        write=True)
        report.flush()
        report.evaluation(4, {'miou': 0.25})
        report.close()
    with (tmp_path / 'metrics.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['step'], row['loss']) for row in rows] == [
        ('1', '1.0'), ('2', '2.0'), ('3', '23.0'), ('4', '24.0'), ('4', '')]
    assert rows[-1]['val_miou'] == '0.25'


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no device that is always full')
def test_a_disk_that_is_full_for_a_row_is_named_with_the_file(tmp_path):
    report = Report(tmp_path, first_step=0, steps=4, batch_size=2)
    report.evaluation(1, {'miou': 0.25})
    (tmp_path / 'metrics.csv').unlink()
    (tmp_path / 'metrics.csv').symlink_to('/dev/full')
    with pytest.raises(OSError, match='No space left') as error:
        report.evaluation(2, {'miou': 0.5})
    assert error.value.filename == str(tmp_path / 'metrics.csv')


def test_scores_of_no_pixel_are_not_written_to_tensorboard(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Events, '_add', lambda self, step, **content: written.append(
        [(value.tag, value.simple_value, step) for value in getattr(
            content.get('summary'), 'value', ())]))
    events = Events(tmp_path, 1)
    events.add(4, {'val_miou': math.nan, 'val_pixel_accuracy': 0.5})
    events.close()
    assert written == [[], [('val_pixel_accuracy', 0.5, 4)]]


def test_curves_of_a_run_without_validation_are_drawn_without_a_warning(tmp_path):
    draw_curves([{'step': 1, 'loss': 0.5}], tmp_path / 'curves.png', 'miou')
    assert (tmp_path / 'curves.png').is_file()


def test_curves_show_the_score_that_chooses_the_best_checkpoint_on_its_own_scale(tmp_path):
    from matplotlib import figure

    def shown(metric, score):
        rows = [{'step': step, f'val_{metric}': score, 'val_miou': 0.5} for step in (1, 2)]
        with mock.patch.object(figure.Figure, 'savefig', autospec=True,
                               side_effect=lambda _, path, **options: path.touch()) as savefig:
            draw_curves(rows, tmp_path / 'curves.png', metric)
        axes = savefig.call_args.args[0].axes[1]
        assert [line.get_label() for line in axes.lines] == [f'val_{metric}']
        assert list(axes.lines[0].get_ydata()) == [score, score]
        return axes.get_ylim()

    assert shown('mean_accuracy', 0.25) == (0, 1)
    low, high = shown('distance', 30.0)
    assert 1 < low < 30 < high


@pytest.mark.parametrize('damage', [
    lambda text: text + '3,', lambda text: text + '3,0.12', lambda text: text + '\0\0\0\0',
    lambda text: text + 'x,y,z,u,v,w\n', lambda text: text + '3\n', lambda text: text + '\n\n',
    lambda text: text.replace('\n', '\r\n'), lambda text: text + '"3,1\n'])
def test_a_damaged_metrics_file_loses_the_damaged_rows_and_no_others(tmp_path, damage):
    report = Report(tmp_path, first_step=0, steps=4, batch_size=2)
    for step in (1, 2):
        report.step(step, {'loss': 0.5 * step}, ['a'], write=True)
    report.flush()
    report.close()
    path = tmp_path / 'metrics.csv'
    path.write_text(damage(path.read_text()))
    report = Report(tmp_path, first_step=4, steps=5, batch_size=2)
    report.step(5, {'loss': 2.5}, ['a'], write=True)
    report.flush()
    report.close()
    with path.open() as file:
        rows = [(row['step'], row['loss']) for row in csv.DictReader(file)]
    assert rows == [('1', '0.5'), ('2', '1.0'), ('5', '2.5')]


def test_metrics_are_free_names_and_only_the_loss_and_the_gradient_must_be_finite(tmp_path, capsys):
    report = Report(tmp_path, first_step=0, steps=4, batch_size=2)
    report.step(1, {'teacher_agreement': math.nan, 'temperature': 2.0}, ['a'], write=True)
    report.flush()
    assert 'step 1/4' in capsys.readouterr().out
    assert 'temperature' in (tmp_path / 'metrics.csv').read_text()
    report.step(2, {'gradient_norm': math.nan}, ['a'], write=False)
    with pytest.raises(FloatingPointError, match='gradient_norm nan'):
        report.flush()


def test_images_per_second_and_the_share_of_time_that_data_took_are_those_of_training(
        tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr('jaxseg.training.report.time.perf_counter', lambda: now[0])
    report = Report(tmp_path, first_step=0, steps=4, batch_size=2)

    def step(index, data, compute):
        with report.waiting():
            now[0] += data
        now[0] += compute
        report.step(index, {'loss': jnp.float32(1)}, [], write=True)
        report.flush()

    step(1, 1.0, 3.0)
    step(2, 2.0, 2.0)
    with report.paused():
        now[0] += 50
        report.evaluation(2, {'miou': 0.5})
    step(3, 1.0, 9.0)
    with (tmp_path / 'metrics.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['data_wait'] for row in rows] == ['0.25', '0.5', '', '0.1']
    assert [row['images_per_second'] for row in rows] == ['0.5', '0.5', '', '0.2']
