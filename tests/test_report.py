"""`jaxseg report`: the numbers, images and texts of its page."""

import json
import math
import re
import types

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg.commands import main
from jaxseg.commands.examination import Drawing, choose, uncertainty
from jaxseg.data.folder import Folder
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.synthetic import Shapes
from tests import browser, runs
from tests.pages import Elements, pixels
from tests.workdirs import write_workdir


def write_run(folder, **data):
    """A run with random weights on synthetic shapes; the arguments that name it and its data."""
    dataset = Shapes(size=(32, 40), samples={'train': 6, 'val': 5}, **data)
    write_workdir(folder, dataset.spec, size=(32, 40))
    entry = {'type': 'synthetic.Shapes', 'size': [32, 40], 'samples': dataset.samples, **data}
    return [f'--workdir={folder}', f'--config.data={entry!r}']


def report(arguments, output):
    """The page of a run, its elements and its data."""
    assert main(['report', *arguments, f'--output={output}']) == 0
    text = output.read_text(encoding='utf-8')
    return text, Elements(text), json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run') / 'work'
    arguments = write_run(folder)
    (folder / 'metrics.csv').write_text(
        'step,loss,learning_rate,val_miou\n1,2.5,0.1,\n2,1.5,0.05,\n2,,,0.25\n')
    return folder, arguments


@pytest.fixture(scope='module')
def written(run):
    """The page, and what evaluate writes of the same run."""
    folder, arguments = run
    page = report([*arguments, '--num_images=2'], folder / 'report.html')
    # With probabilities, as the report: the same program.
    assert main(['evaluate', *arguments, '--num_images=0',
                 '--metrics=calibration,objects']) == 0
    file, = folder.glob('evaluation_val_*.json')
    return page, json.loads(file.read_text())


def test_the_numbers_are_those_of_evaluate(written):
    (text, elements, data), scores = written
    same = ('miou', 'pixel_accuracy', 'classes', 'confusion_matrix', 'checkpoint', 'images')
    assert {key: data[key] for key in same} == {key: scores[key] for key in same}
    shown = elements.texts
    assert f'{100 * scores["miou"]:.1f} %' in shown
    assert f'is {100 * scores["calibration"]["ece"]:.1f} %.' in ' '.join(shown)
    for name, row in scores['classes'].items():
        assert name in shown
        assert row['iou'] is None or f'{100 * row["iou"]:.1f}' in shown
    objects = scores['objects']['classes']
    found = sum((each['recall'] or 0) * each['objects'] for each in objects.values())
    notes = re.findall(r'pixels[^:]*: (\d+) of (\d+) objects found', ' '.join(shown))
    assert sum(int(matched) for matched, _ in notes) == round(found)
    assert sum(int(count) for _, count in notes) == sum(
        each['objects'] for each in objects.values())
    bars = re.findall(r'<text[^>]*class="value">(\d+)</text>', text)[:len(notes)]
    assert bars == [f'{100 * int(matched) / int(count):.0f}' for matched, count in notes]


def test_tables_and_bins_are_those_of_evaluate(written):
    (text, elements, _), scores = written
    for name, row in scores['classes'].items():
        cells = re.search(rf'<tr><th[^>]*><i[^>]*></i>{name}</th>(.*?)</tr>', text)[1]
        values = ['\u2013' if row[key] is None else f'{100 * row[key]:.1f}'
                  for key in ('iou', 'dice', 'precision', 'recall')]
        assert re.sub('<.*?>', ' ', cells).split()[:4] == values
    bins = scores['calibration']['reliability']
    total = sum(bins['pixels'])
    expected = {f'accuracy {accuracy:.3f}, {pixels / total:.1%} of all'
                for pixels, accuracy in zip(bins['pixels'], bins['accuracy'], strict=True)
                if pixels}
    notes = re.findall(r'accuracy \d\.\d{3}, \S+% of all', ' '.join(elements.texts))
    assert expected == set(notes)


@pytest.mark.skipif(browser.CHROMIUM is None, reason='needs Chromium')
def test_the_page_works_in_a_browser(written, run):
    browser.check_gallery(run[0] / 'report.html')


def test_the_curves_are_those_of_metrics_csv(written):
    (text, elements, _), _ = written
    assert 'loss: 2.5 at first, 1.5 at last' in text
    assert [name for name in ('Losses in training', 'Scores in validation', 'Learning rate',
                              'Gradient norm') if name in elements.texts] == [
        'Losses in training', 'Scores in validation', 'Learning rate']


def test_the_provenance_says_how_to_make_it_again(written, run):
    (_, elements, _), _ = written
    shown = ' '.join(elements.texts)
    assert f'jaxseg report --workdir={run[0]} --split=val --checkpoint=best --config.data=' in shown
    assert 'step 1 of 1' in shown and 'random' in elements.texts
    assert '"vgg_like.VGGLike"' in shown and 'scored images' in elements.texts
    assert f'jax {jax.__version__}' in shown and 'provenance.json: cannot be read' in shown


def test_warnings_are_those_of_the_data_and_of_the_run(written):
    (_, elements, _), _ = written
    shown = ' '.join(elements.texts)
    assert "The scores rest on 5 images of 'val'" in shown
    assert 'images: 6 train, 5 val' in shown


def test_the_page_holds_all_that_it_shows(written):
    (text, elements, _), _ = written
    addresses = [attributes[key] for _, attributes in elements.found
                 for key in ('src', 'href') if key in attributes]
    assert addresses and all(address.startswith(('data:', '#')) for address in addresses)
    assert 'http:' not in text and 'https:' not in text and '@import' not in text
    assert len(elements.named('script')) == 2 and len(text) < 100_000
    sections = {attributes['id'] for attributes in elements.named('section')
                if 'id' in attributes}
    assert {'summary', 'curves', 'scores', 'confusions', 'images', 'provenance'} <= sections
    assert {attributes['href'][1:] for attributes in elements.named('a')} <= sections
    # Two images with four layers each.
    layers = [attributes for attributes in elements.named('img') if 'data-layer' in attributes]
    assert [attributes['data-layer'] for attributes in layers] == [
        'Truth', 'Prediction', 'Error', 'Uncertainty'] * 2


@pytest.mark.parametrize('scores, count, found', [
    ([0.5, 0.1, math.nan, 0.9, 0.3], 3, ([1], [4], [3])),
    ([0.5, 0.1, 0.9, 0.3], 12, ([1], [3, 0], [2])),
    ([0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8], 5, ([1, 5], [0], [2, 6])),
    ([0.5, 0.1], 2, ([1], [], [0])), ([0.5], 4, ([], [0], [])), ([math.nan], 4, ([], [], [])),
    ([0.5, 0.1], 0, ([], [], []))])
def test_best_median_and_worst_images_are_chosen_once_each(scores, count, found):
    assert tuple(choose(np.array(scores), count).values()) == found


@pytest.mark.parametrize('overlapping, expected', [(False, [[1, 0, 0.5]]),
                                                   (True, [[0.811278, 0, 0.5]])])
def test_the_uncertainty_that_is_shown_is_the_entropy_that_predict_writes(overlapping, expected):
    run = types.SimpleNamespace(parts=types.SimpleNamespace(inference=None),
                                spec=types.SimpleNamespace(overlapping=overlapping))
    values = np.array([[[0.25] * 4, [0, 0, 1, 0], [0.5, 0.5, 0, 0]]], np.float32)
    found = uncertainty(run)[1](None, None, values)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_the_uncertainty_of_copies_is_that_of_its_words():
    inference = types.SimpleNamespace(
        variance=lambda variables, image: np.array([[0, 0.01, 0.25, 0.5]], np.float32))
    words, values = uncertainty(types.SimpleNamespace(
        parts=types.SimpleNamespace(inference=inference)))
    assert all(part in words for part in ('square root', 'variance', 'summed over the classes',
                                          'brightest 0.5 and more'))
    np.testing.assert_allclose(values(None, None, None), [[0, 0.2, 1, 1]])


def test_truth_leaves_void_clear_and_errors_are_those_of_labelled_pixels():
    drawing = Drawing(DatasetSpec('d', ('a', 'b'), ((9, 0, 0), (0, 9, 0))))
    sample = {'label': np.array([[0, 1, 1, 0]]), 'valid': np.array([[1, 1, 1, 0]], bool)}
    truth = pixels(drawing.truth(sample))[0]
    assert truth[:3, :3].tolist() == [[9, 0, 0], [0, 9, 0], [0, 9, 0]] and not truth[3].any()
    error = pixels(drawing.error(sample, np.array([[0, 0, 1, 1]])))[0, :, 3]
    assert (error > 0).tolist() == [False, True, False, False]
    overlapping = {'label': np.array([[[0, 1], [1, 1]]]), 'valid': np.ones((1, 2, 2), bool)}
    error = pixels(drawing.error(overlapping, np.array([[[0, 0], [1, 1]]])))[0, :, 3]
    assert (error > 0).tolist() == [True, False]


@pytest.mark.parametrize('arguments, words', [
    (['--num_images=-1'], ['--num_images=-1']), (['--split=tset'], ['tset', 'val']),
    (['--output=report'], ['--output=report', '.html']), (['--output='], ['--output']),
    (['--output=.'], ['--output', '.html']),
    (['--checkpoint=99'], ['99']), (['--config.steps=3'], ['config.steps', 'report'])])
def test_what_cannot_be_used_is_refused_before_anything_is_written(run, arguments, words, capfd,
                                                                  monkeypatch, tmp_path):
    folder, given = run
    monkeypatch.chdir(tmp_path)
    before = runs.state_of(folder)
    runs.refused(['report', *given, *arguments], words, capfd)
    assert runs.state_of(folder) == before and not list(tmp_path.iterdir())


def test_overlapping_classes_have_counts_and_thresholds(tmp_path):
    arguments = [*write_run(tmp_path / 'work', overlapping=True), '--num_images=3']
    text, elements, data = report(arguments, tmp_path / 'deeper' / 'a.html')
    (tn, fp), (fn, tp) = data['counts'][0]
    cells = [int(attributes['data-value']) for attributes in elements.named('td')
             if attributes.get('data-value', '').isdigit()]
    assert any(cells[i:i + 4] == [tp, fp, fn, tn] for i in range(len(cells)))
    assert 'Thresholds' in elements.texts and 'metrics.csv is missing' in text
    assert len(elements.named('figure')) > 3


def test_many_channels_and_values_of_16_bits_are_shown(tmp_path):
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for i in range(2):
            image = rng.integers(500, 900, (24, 40, 6)).astype(np.uint16)
            image[:, :20] = 100
            (tmp_path / f'data/{split}/images').mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / f'data/{split}/images/{i}.npy', image)
            (tmp_path / f'data/{split}/masks').mkdir(parents=True, exist_ok=True)
            Image.fromarray((image[..., 0] > 400).astype(np.uint8)).save(
                tmp_path / f'data/{split}/masks/{i}.png')
    entry = {'type': 'folder.Folder', 'root': str(tmp_path / 'data'), 'channels': 6,
             'classes': ['a<b>', 'b'], 'value_range': [0, 65535]}
    spec = Folder(**{key: value for key, value in entry.items() if key != 'type'}).spec
    write_workdir(tmp_path / 'work', spec, size=(24, 40))
    text, elements, _ = report([f'--workdir={tmp_path}/work', f'--config.data={entry!r}',
                                '--config.inference.type=augmented.TestTimeAugmentation'],
                               tmp_path / 'a.html')
    image = pixels(next(attributes['src'] for attributes in elements.named('img')
                        if attributes.get('alt', '').startswith('image ')))
    assert image.shape == (24, 40, 3) and not image[:, :20].any() and image[:, 20:].max() == 255
    shown = ' '.join(elements.texts)
    assert 'nearly no contrast' in shown and 'square root' in shown and 'a<b>' in shown
    assert '<b>b' not in text and 'a&lt;b&gt;' in text
