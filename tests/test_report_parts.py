"""jaxseg.report: escaping, charts, tables, images and pages of plain values."""

import json
import re

import numpy as np
import pytest

from jaxseg.commands.report_sections import (
    curves,
    curves_of_runs,
    matrix_section,
    score_table,
)
from jaxseg.data.spec import DatasetSpec
from jaxseg.metrics.confusion import Confusion
from jaxseg.report import pictures
from jaxseg.report.charts import WIDTH, bar_chart, interval_chart, line_chart, ticks
from jaxseg.report.gallery import Picture, gallery
from jaxseg.report.markup import element, escaped
from jaxseg.report.page import page
from jaxseg.report.tables import confusion_matrix, row_shares, top_confusions
from tests.pages import Elements, pixels

HOSTILE = '<script>alert("1")</script>\'&\u202e'


def test_text_is_never_markup():
    assert escaped('a<b>&"\'') == 'a&lt;b&gt;&amp;&quot;&#x27;'
    assert element('b', '<i>', title='"x') == '<b title="&quot;x">&lt;i&gt;</b>'
    assert escaped('\u202e\udc80') == '\\u202e\\udc80'
    names = (HOSTILE, 'b')
    scores = Confusion(np.array([[3, 1], [2, 4]]), names)
    spec = DatasetSpec(HOSTILE, names)
    picture = Picture(HOSTILE, HOSTILE, [HOSTILE], 'data:,', {HOSTILE: 'data:,'}, (4, 4))
    parts = [score_table(scores, spec), matrix_section(scores), line_chart(
        HOSTILE, {HOSTILE: [(0, 1), (1, 2)]}, x_label=HOSTILE),
        gallery({HOSTILE: [picture]}, HOSTILE, {HOSTILE: HOSTILE}, [(HOSTILE, (0, 0, 0))])]
    text = page(HOSTILE, [('a', HOSTILE, part) for part in parts], {'names': names})
    elements = Elements(text)
    assert len(elements.named('script')) == 2
    assert {'alert'} & set(re.findall(r'\w+', ''.join(elements.texts)))  # they are shown as text
    data = re.search(r'id="data">(.*?)</script>', text)[1]
    assert '<' not in data and json.loads(data)['names'][0] == HOSTILE


def test_the_score_that_chooses_the_best_checkpoint_is_drawn_first_and_for_several_runs():
    rows = [{'step': step, 'val_miou': 0.5, 'val_distance': 30.0} for step in (1, 2)]
    text = str(curves(rows, 2, 'distance'))
    assert 0 < text.index('distance: 30 at first') < text.index('mean IoU: 0.5 at first')
    assert text.index('mean IoU') < str(curves(rows, 2, 'miou')).index('distance')
    text = str(curves_of_runs({'a': rows, 'b': rows}, ['distance', 'distance']))
    assert 'Validation: distance' in text and 'a: 30 at first' in text and 'IoU' not in text


def test_the_policy_allows_the_script_of_the_page_and_no_other():
    text = page('t', [], {})
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.count('sha256-') == 1 and "default-src &#x27;none&#x27;" in policy
    assert 'img-src data:' in policy and 'connect' not in policy


def test_class_layers_have_clear_void_and_opaque_borders():
    mask = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [9, 9, 1, 1]])
    layer = pixels(pictures.class_layer(mask, [(1, 2, 3), (4, 5, 6)]))
    assert layer.shape == (4, 4, 4)
    assert layer[0, 0].tolist() == [1, 2, 3, pictures.SHADE]
    assert layer[1, 2].tolist() == [4, 5, 6, 255] and layer[2, 3].tolist() == [
        4, 5, 6, pictures.SHADE]
    assert not layer[3, :2].any()


def test_large_layers_are_reduced_and_lose_no_wrong_pixel():
    wrong = np.zeros((2048, 1536), bool)
    wrong[701, 333] = True
    layer = pixels(pictures.error_layer(wrong))
    assert layer.shape == (1024, 768, 4)
    assert np.argwhere(layer[..., 3]).tolist() == [[350, 166]]
    assert layer[350, 166, :3].tolist() == list(pictures.WRONG)
    # Of two pixels the one in the middle of a pixel of the page, the second.
    columns = np.repeat(np.arange(2048)[None] % 2, 4, 0)
    assert (pixels(pictures.class_layer(columns, [(0, 0, 0), (9, 9, 9)]))[..., 0] == 9).all()
    mask = np.zeros((2048, 1536), np.uint8)
    mask[700:704, 332:336] = 1
    assert (pixels(pictures.class_layer(mask, [(0, 0, 0), (9, 9, 9)]))[..., 0] == 9).sum() == 4


def test_photographs_are_exact_if_small_and_bounded_if_large():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (40, 30, 3), np.uint8)
    assert (pixels(pictures.photograph(small)) == small).all()
    noise = rng.integers(0, 256, (1100, 700, 3), np.uint8)
    address = pictures.photograph(noise)
    assert len(address) < pictures.IMAGE_BYTES * 1.4
    height, width, _ = pixels(address).shape
    assert 128 <= height <= 1024 and abs(height / width - 1100 / 700) < 0.02


def test_layers_of_noise_are_made_smaller_and_many_classes_have_no_palette():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 5, (700, 700))
    colors = rng.integers(0, 256, (200, 3)).tolist()
    for address in (pictures.class_layer(noise, colors[:5]), pictures.error_layer(noise == 0)):
        assert len(address) < pictures.LAYER_BYTES * 1.4 and 128 <= len(pixels(address)) < 700
    mask = np.arange(200).reshape(10, 20)
    layer = pixels(pictures.class_layer(mask, colors))
    assert (layer[..., :3] == np.array(colors)[mask]).all() and (layer[..., 3] >= 165).all()


def test_heat_rises_in_brightness():
    values = np.repeat(np.linspace(0, 1, 16)[None], 16, 0).repeat(8, 0).repeat(8, 1)
    brightness = pixels(pictures.heat_layer(values)).mean((0, 2))[4::8]
    assert (np.diff(brightness) > 0).all()


@pytest.mark.parametrize('low, high, expected', [
    (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 0, [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6]),
    (3, 97, [0, 20, 40, 60, 80, 100]),
    (0.0012, 0.0019, [0.0012, 0.0014, 0.0016, 0.0018, 0.002])])
def test_ticks_are_round_and_cover_the_values(low, high, expected):
    found = ticks(low, high)
    assert found[0] <= low and found[-1] >= high
    assert found == pytest.approx(expected)


def test_lines_go_through_their_points():
    chart = line_chart('t', {'a': [(0, 0), (10, 1)], 'b': [(5, 0.5)]}, x_label='step', mark=5)
    first, second = re.findall(r'points="(.*?)"', chart)
    assert first == '54.0,210.0 406.0,20.0' and second == '230.0,115.0'
    assert 'x1="230.0" x2="230.0" y1="20"' in chart and f'viewBox="0 0 {WIDTH} 250"' in chart


def test_bars_stand_on_the_axis():
    chart = bar_chart('t', [('a', 1.0, '1'), ('b', 2.0, '2')], x_label='x', y_label='y')
    bars = re.findall(r' y="(\S+)" class="bar s0" width="\S+" height="(\S+)"', chart)
    assert bars == [('115.0', '95.0'), ('20.0', '190.0')]  # down to 210, as a line to 0


def test_intervals_above_zero_are_blue_and_those_below_it_are_orange():
    chart = interval_chart('t', [('a', 2, 1, 3), ('b', -2, -3, -1), ('c', 1, -1, 3)], x_label='x')
    for mark in ('line', 'dot'):
        assert re.findall(f'class="{mark} (.*?)"', chart) == ['s0', 's1', 'unsure']


def test_many_points_are_thinned_without_losing_the_ends():
    points = [(i, i % 7) for i in range(5000)]
    line = re.search(r'points="(.*?)"', line_chart('t', {'a': points}, x_label='x'))[1].split()
    assert len(line) == 400
    assert line[0].startswith('54.0,') and line[-1].startswith('406.0,')


def test_rows_of_a_confusion_matrix_are_shares_of_the_true_class():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    shares = row_shares(matrix)
    np.testing.assert_allclose(shares[[0, 2]], [[0.75, 0.25, 0], [0.25, 0.25, 0.5]])
    assert np.isnan(shares[1]).all()
    cells = [attributes['title'] for attributes in Elements(
        confusion_matrix(matrix, ('a', 'b', 'c'))).named('td') if 'title' in attributes]
    assert len(cells) == 6 and 'true c, predicted a: 2 pixels, 25.0% of c' in cells
    rows = re.findall(r'<tr>(.*?)</tr>', top_confusions(matrix, ('a', 'b', 'c')))[1:]
    found = [re.sub(r'<.*?>', ' ', row).split() for row in rows]
    assert found == [['c', 'a', '2', '40.0', '25.0'], ['c', 'b', '2', '40.0', '25.0'],
                     ['a', 'b', '1', '20.0', '25.0']]


def test_a_matrix_of_many_classes_is_an_image_of_one_pixel_a_cell():
    matrix = np.eye(150, dtype=np.int64) * 4
    matrix[3, 140] = 12
    text = confusion_matrix(matrix, [f'class {i}' for i in range(150)])
    layer = pixels(re.search(r'src="(.*?)"', text)[1])
    assert layer.shape == (150, 150, 4) and np.count_nonzero(layer[..., 3]) == 151
    assert layer[3, 140].tolist() == [*pictures.WRONG, round(255 * 0.75 ** 0.5)]
    assert layer[3, 3, 3] == round(255 * 0.5) and len(text) < 20_000
