"""Pages of jaxseg.report in a headless Chromium: what loads, and what keys and the mouse do."""

import numpy as np
import pytest

from jaxseg.report import charts, pictures
from jaxseg.report.gallery import Picture, gallery
from jaxseg.report.markup import joined
from jaxseg.report.page import page
from jaxseg.report.tables import confusion_matrix, sortable, top_confusions
from tests import browser

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason='needs Chromium')
SHOWN = "[...document.querySelectorAll('.card [data-layer]')].map(e => !e.hidden)"
SCALE = "new DOMMatrix(getComputedStyle(document.querySelector('#stage .stack')).transform).a"
LAYERS = ('Truth', 'Prediction', 'Error')


def write_page(path, classes, count=2):
    """A page of plain values with one section of every kind."""
    rng = np.random.default_rng(0)
    cards = []
    for i in range(count):
        mask = rng.integers(0, 3, (40, 60))
        layers = {'Truth': pictures.class_layer(mask, [(200, 0, 0), (0, 200, 0), (0, 0, 200)]),
                  'Prediction': pictures.class_layer(mask.T.reshape(40, 60), [(9, 9, 9)]),
                  'Error': pictures.error_layer(mask == 1)}
        image = pictures.photograph(rng.integers(0, 256, (40, 60, 3), np.uint8))
        cards.append(Picture(f'image_{i}', 'IoU 12.3 %', ['a note'], image, layers, (40, 60)))
    matrix = rng.integers(1, 50, (len(classes), len(classes)))
    rows = [(name, float(i) / len(classes), i) for i, name in enumerate(classes)]
    lines = {'loss': [(step, 1 / (1 + step)) for step in range(20)]}
    drawn = joined(charts.line_chart('loss', lines, x_label='step', mark=3, mark_label='here'),
                   charts.reliability_chart('r', [(0, 0.5, 0.4, 0.2), (0.5, 1, 0.9, 0.8)]),
                   charts.bar_chart('b', [('1', 2.0, 'two')], x_label='x', y_label='y'))
    text = page('A page', [
        ('charts', 'Charts', drawn),
        ('scores', 'Scores', sortable(('class', 'IoU %', 'count'), rows, bars='IoU %')),
        ('matrix', 'Confusions', joined(confusion_matrix(matrix, classes),
                                        top_confusions(matrix, classes))),
        ('images', 'Images', gallery({'Worst': cards}, 'Prediction', dict.fromkeys(LAYERS, 'x'),
                                     [('a', (200, 0, 0))]))],
        {'names': list(classes), 'confusion_matrix': matrix.tolist()})
    path.write_text(text, encoding='utf-8')
    return path.as_uri()


@pytest.fixture(scope='module')
def chromium():
    with browser.chromium() as started:
        yield started


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp('page') / 'a.html', ['sky', 'road', 'car'])


@pytest.fixture
def opened(chromium, address):
    page = chromium.open(address)
    yield page
    assert not page.errors() and page.requests() == [address]


def test_a_page_loads_without_errors_and_asks_for_nothing_else(opened):
    assert opened.run("document.title") == 'A page'
    assert opened.run("[...document.images].every(e => e.naturalWidth > 0)")
    assert opened.run("document.querySelectorAll('svg[role=img][aria-label]').length") == 3


def test_buttons_and_keys_change_the_layer_of_one_image_or_of_all(opened):
    assert opened.run(SHOWN) == [False, True, False] * 2
    opened.click('.card .layers [data-show=Truth]')
    assert opened.run(SHOWN) == [True, False, False, False, True, False]
    assert opened.run("document.querySelector('.card [data-show=Truth]').ariaPressed") == 'true'
    opened.click('.card .layers [data-show=Truth]')
    assert opened.run(SHOWN) == [False, False, False, False, True, False]
    opened.press('3')
    assert opened.run(SHOWN) == [False, False, True] * 2
    opened.press('0')
    assert opened.run(SHOWN) == [False] * 6
    opened.click('.gallery > .toolbar [data-show=Prediction]')
    assert opened.run(SHOWN) == [False, True, False] * 2


def test_what_is_shown_changes_on_the_screen(opened, tmp_path):
    seen = []
    for key in '012':
        opened.press(key)
        opened.middle('.card')
        opened.screenshot(tmp_path / f'{key}.png')
        seen.append((tmp_path / f'{key}.png').read_bytes())
    assert len(set(seen)) == 3


def test_an_image_is_enlarged_zoomed_and_moved(opened):
    opened.click('.card .stack')
    assert opened.run("document.querySelector('#enlarged').open")
    assert opened.run("document.querySelector('#enlarged-name').textContent") == (
        'IoU 12.3 % image_0')
    before = opened.run(SCALE)
    opened.wheel('#stage', -120)
    opened.press('+')
    assert before == 1 and opened.run(SCALE) == pytest.approx(1.25 * 1.5)
    opened.press('-')
    opened.click('[data-zoom="0.67"]')
    assert opened.run(SCALE) == 1
    opened.press('1')
    layers = "[...document.querySelectorAll('#stage [data-layer]')].map(e => !e.hidden)"
    assert opened.run(layers) == [True, False, False]
    opened.press('ArrowRight')
    assert opened.run("document.querySelector('#enlarged-name').textContent").endswith('image_1')
    opened.press('Escape')
    assert not opened.run("document.querySelector('#enlarged').open")
    opened.click('.card .stack')
    opened.click('#close')
    assert not opened.run("document.querySelector('#enlarged').open")
    assert opened.run(SHOWN) == [False, True, False] * 2


def test_a_click_on_a_column_sorts(opened):
    first = "document.querySelector('#scores tbody tr th').textContent"
    assert opened.run(first) == 'sky'
    opened.click('#scores thead th:nth-child(2) button')
    assert opened.run(first) == 'car'
    opened.click('#scores thead th:nth-child(2) button')
    assert opened.run(first) == 'sky'
    for name in ('car', 'sky', 'car'):
        opened.click('#scores thead th:nth-child(1) button')
        assert opened.run(first) == name


def test_narrow_windows_scroll_only_down_and_dark_ones_are_dark(chromium, tmp_path):
    names = [f'class with a long name {i}' for i in range(20)]
    page = chromium.open(write_page(tmp_path / 'b.html', names), width=390, height=800, dark=True)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(page.run(ground)) < 60
    page.view(width=390, height=800)
    assert min(page.run(ground)) > 240
    assert not page.errors()


def test_cells_of_a_large_matrix_are_named_under_the_pointer(chromium, tmp_path):
    page = chromium.open(write_page(tmp_path / 'c.html', [str(i) for i in range(150)], count=0))
    page.middle('#matrix-image')
    x, y, side = page.run("(() => { const r = document.querySelector('#matrix-image')"
                          ".getBoundingClientRect(); return [r.x, r.y, r.width]; })()")
    page.send('Input.dispatchMouseEvent', type='mouseMoved', x=x + 10.5 * side / 150,
              y=y + 20.5 * side / 150)
    assert page.run("document.querySelector('#matrix-cell').textContent").startswith(
        'true 20, predicted 10: ')
    assert not page.errors()
