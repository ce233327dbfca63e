"""`jaxseg compare --html`: the page of several runs on the same images."""

import json
import re

import numpy as np
import pytest

from jaxseg.commands import main
from jaxseg.commands.examination import Drawing
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.synthetic import Shapes
from jaxseg.metrics.images import ImageCounts
from jaxseg.records import read_record, write_record
from jaxseg.report import pictures
from tests import browser, runs
from tests.pages import Elements, pixels
from tests.workdirs import SMALL, write_workdir

DATA = {'type': 'synthetic.Shapes', 'size': [32, 40], 'samples': {'train': 2, 'val': 5}}


@pytest.fixture(scope='module')
def compared(tmp_path_factory):
    """The folder of two runs with random weights that were evaluated."""
    folder = tmp_path_factory.mktemp('runs')
    spec = Shapes(size=(32, 40), samples=DATA['samples']).spec
    for name, widths in (('a', [4, 8]), ('b', [4, 6])):
        model = {**SMALL, 'encoder': {**SMALL['encoder'], 'widths': widths}}
        path = write_workdir(folder / name, spec, model, size=(32, 40))
        write_record(path / 'config.json', {**read_record(path / 'config.json'), 'data': DATA})
        assert main(['evaluate', f'--workdir={path}', '--num_images=0']) == 0
    return folder


def test_the_page_has_the_scores_and_both_predictions_of_the_same_images(compared, monkeypatch,
                                                                        capsys):
    monkeypatch.chdir(compared)
    assert main(['compare', 'a', 'b', '--html=new/page.html', '--resamples=200']) == 0
    assert 'page: new/page.html' in capsys.readouterr().out
    text = (compared / 'new/page.html').read_text(encoding='utf-8')
    elements, shown = Elements(text), ' '.join(Elements(text).texts)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    scores = [json.loads((compared / name / 'evaluation_val.json').read_text())['miou']
              for name in 'ab']
    assert data['miou'] == pytest.approx(scores) and data['runs'] == ['a', 'b']
    assert f'{100 * (scores[1] - scores[0]):+.2f}' in shown
    assert 'model.encoder.widths' in shown and '[4, 6]' in shown
    counts = [ImageCounts.read(compared / name / 'evaluation_val_images.csv').image_miou()
              for name in 'ab']
    change = sorted(100 * (counts[1] - counts[0]), reverse=True)
    titles = re.findall(r'<h3>(\w+): (\S+) points</h3>', text)
    assert len({name for name, _ in titles}) == 5
    assert sorted((float(points) for _, points in titles), reverse=True) == pytest.approx(
        change, abs=0.06)
    better, worse = (sum(sign * each > 0 for each in change) for sign in (1, -1))
    assert f'b: {better} images better, {worse} worse' in shown and better != worse
    # Five images of two runs, with the difference of the second to the first.
    layers = [attributes['data-layer'] for attributes in elements.named('img')
              if 'data-layer' in attributes]
    assert layers == ['Truth', 'Prediction', 'Error',
                      'Truth', 'Prediction', 'Error', 'Difference'] * 5


@pytest.mark.skipif(browser.CHROMIUM is None, reason='needs Chromium')
def test_the_page_works_in_a_browser(compared):
    assert main(['compare', str(compared / 'a'), str(compared / 'b'), '--resamples=100',
                 f'--html={compared}/browser.html']) == 0
    browser.check_gallery(compared / 'browser.html')


def test_differences_are_blue_where_only_this_run_is_right():
    spec = DatasetSpec('d', ('a', 'b'))
    sample = {'label': np.array([[0, 0, 1, 1, 0]]), 'valid': np.array([[1, 1, 1, 1, 0]], bool)}
    mask, base = np.array([[0, 1, 1, 0, 0]]), np.array([[1, 0, 1, 0, 1]])
    layer = pixels(Drawing(spec).difference(sample, mask, base))[0]
    assert [tuple(color[:3]) for color in layer[:2].tolist()] == [pictures.RIGHT, pictures.WRONG]
    assert layer[:2, 3].all() and not layer[2:].any()


@pytest.mark.parametrize('arguments, words', [
    (['b', '--html=page.txt'], ['--html=page.txt', '.html']), (['b', '--html='], ['--html']),
    (['b/evaluation_val_images.csv', '--html=a.html'], ['b/evaluation_val_images.csv', 'folder'])])
def test_pages_that_cannot_be_made_are_refused(compared, arguments, words, capfd, monkeypatch):
    monkeypatch.chdir(compared)
    before = runs.state_of(compared)
    runs.refused(['compare', 'a', *arguments], words, capfd)
    assert runs.state_of(compared) == before


def test_images_that_are_not_in_the_split_any_more_are_refused(compared, capfd):
    path = compared / 'b' / 'config.json'
    config = read_record(path)
    write_record(path, {**config, 'data': {**DATA, 'samples': {'train': 2, 'val': 4}}})
    runs.refused(['compare', str(compared / 'a'), str(compared / 'b'),
                  f'--html={compared}/c.html'], ["no image 'val_000004'", 'evaluate'], capfd)
    write_record(path, config)
