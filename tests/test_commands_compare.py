"""`jaxseg compare`: the table of runs on the same images, and what is not the same."""

import numpy as np
import pytest

from jaxseg.commands import main
from jaxseg.commands.compare import table
from jaxseg.commands.compare_page import summary
from jaxseg.metrics.bootstrap import compare
from jaxseg.metrics.images import ImageCounts
from jaxseg.report.markup import escaped
from tests import runs

CLASSES = ('sky', 'road')
# tp, fp, fn of two classes for three images.
ROWS = [[[4, 2], [1, 1], [0, 2]], [[3, 0], [0, 0], [1, 4]], [[0, 5], [2, 1], [0, 0]]]


def write(folder, rows=ROWS, names=('a_1', 'a_2', 'b_1'), classes=CLASSES, split='val'):
    folder.mkdir(exist_ok=True)
    table = ImageCounts(tuple(names), tuple(np.array(row) for row in rows), tuple(classes))
    table.write(folder / f'evaluation_{split}_images.csv')
    return folder


def test_the_table_has_every_run_and_the_differences_to_the_first(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'one')
    # In another order, and all of the road is found: IoU 11 / 13 (as many pixels, as many wrong).
    better = [[[0, 5], [2, 1], [0, 0]], [[4, 4], [1, 1], [0, 0]], [[3, 4], [0, 0], [1, 0]]]
    write(tmp_path / 'two', better, ('b_1', 'a_1', 'a_2'))
    assert main(['compare', 'one', 'two', '--resamples=500']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '3 images; 95 % intervals over 500 resamples of 3 images'
    # sky 7/11 in both; road 7/15, and 13/15.
    assert lines[3].split()[:2] == ['one', f'{100 * (7 / 11 + 7 / 15) / 2:.2f}']
    assert lines[4].split()[:2] == ['two', f'{100 * (7 / 11 + 13 / 15) / 2:.2f}']
    assert f'{100 * (13 - 7) / 15 / 2:+.2f}' in lines[4]
    sky, road = lines[8:10]
    assert sky.split()[0] == 'sky' and '+0.00  [+0.00, +0.00]' in sky and sky.endswith('1.0000')
    assert f'{100 * (13 - 7) / 15:+.2f}' in road
    assert main(['compare', 'one', 'two/evaluation_val_images.csv', '--group=^[a-z]']) == 0
    assert 'resamples of 2 groups of images' in capsys.readouterr().out


@pytest.mark.parametrize('resamples, p', [(200, '0.0100'), (40_000, '< 0.0001')])
def test_no_p_value_is_below_what_the_resamples_show(resamples, p):
    # Two images on which the second run is better: no resample is at or below zero.
    counts = np.array([[[[4], [2], [1]], [[5], [2], [0]]]] * 2)
    found = compare(counts, resamples=resamples)
    lines = table(('one', 'two'), ('sky',), found).splitlines()
    assert lines[2].endswith(f' {p}') and lines[-1].endswith(f' {p}')
    assert f'>{escaped(p)}<' in summary(('one', 'two'), found, 2)


@pytest.mark.parametrize('change, words', [
    ({'names': ('a_1', 'a_2', 'c_1')}, ['2 are in one alone', "'b_1'"]),
    ({'rows': ROWS[:2], 'names': ('a_1', 'a_2')}, ['2 images', 'has 3', "'b_1'"]),
    ({'classes': ('sky', 'tree')}, ['classes sky, tree', 'sky, road']),
    ({'rows': [[[4, 2], [1, 1], [1, 2]], *ROWS[1:]]},
     ["'a_1' has 5 pixels of class 'sky', and 4"])])
def test_runs_on_other_images_classes_or_labels_are_not_compared(tmp_path, change, words, capfd):
    one, two = write(tmp_path / 'one'), write(tmp_path / 'two', **change)
    runs.refused(['compare', str(one), str(two)], [f'{two}/evaluation_val_images.csv', *words],
                 capfd)


@pytest.mark.parametrize('arguments, words', [
    (['{one}'], ['one RUN']), (['{one}', '{one}/no'], ['{one}/no: no such folder']),
    (['{one}', ''], ['RUN: empty']),
    (['{one}', '{one}', '--split=test'],
     ['evaluation_test_images.csv: no such file', 'jaxseg evaluate --workdir={one} --split=test']),
    (['{one}', '{one}', '--resamples=9'], ['--resamples=9']),
    (['{one}', '{one}', '--resamples=x'], ['--resamples', "'x'"]),
    (['{one}', '{one}', '--seed=-1'], ['--seed=-1']),
    (['{one}', '{one}', '--group=('], ["--group: '('", 'no regular expression']),
    (['{one}', '{one}', '--group=x'], ["--group: 'x' finds nothing in the stem 'a_1'"]),
    (['{one}', '{one}', '--group=_'], ['--group leaves one group', 'two images or more']),
    (['{single}', '{single}'], ['one image', 'two images or more']),
    (['{one}', '{one}', '--config.steps=3'], ['--config.steps', 'no effect']),
    (['{one}', '{bad}'], ['not a table of counts'])])
def test_bad_arguments_are_refused(tmp_path, arguments, words, capfd):
    places = {'one': write(tmp_path / 'one'), 'bad': tmp_path / 'bad.csv',
              'single': write(tmp_path / 'single', ROWS[:1], ['a_1'])}
    places['bad'].write_text('image,class\n')
    runs.refused(['compare', *(each.format(**places) for each in arguments)],
                 [each.format(**places) for each in words], capfd)
