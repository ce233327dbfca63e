"""Classical baselines: features of pixels, k-means, random forests, and their subcommand."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from jaxseg.classical.features import PixelFeatures, derivatives
from jaxseg.classical.kmeans import KMeans
from jaxseg.classical.pixels import draw_pixels, features_at, predict_mask, shares
from jaxseg.classical.random_forest import RandomForest
from jaxseg.commands import main
from jaxseg.errors import InputError
from tests import runs

FOREST = RandomForest(trees=5)
DATA = '--config.data.samples={"train": 3, "val": 2, "test": 1}'


def quadratic() -> np.ndarray:
    """2 y^2 + 3 y x - 2 x^2 around the center of 41x41 pixels."""
    y, x = np.mgrid[-20:21, -20:21].astype(np.float32)
    return 2 * y * y + 3 * y * x - 2 * x * x


def test_derivatives_of_a_quadratic_surface_are_exact():
    gradient, larger, smaller = (array[1:-1, 1:-1] for array in derivatives(quadratic()))
    # The Hessian is [[4, 3], [3, -4]] everywhere, the gradient (4 y + 3 x, 3 y - 4 x).
    np.testing.assert_allclose(larger, 5, rtol=1e-5)
    np.testing.assert_allclose(smaller, -5, rtol=1e-5)
    y, x = np.mgrid[-19:20, -19:20]
    np.testing.assert_allclose(gradient, 5 * np.hypot(y, x), rtol=1e-5)


def test_a_gaussian_mean_adds_the_variance_times_half_the_laplacian():
    y, x = np.mgrid[-20:21, -20:21].astype(np.float32)
    found = PixelFeatures((2.0,), position=False)((x * x + 3)[..., None], slice(0, 41))
    value, mean, gradient, larger, smaller = found[20, 22]
    assert (value, larger, smaller) == pytest.approx((7, 2, 0), abs=1e-4)
    # A Gaussian cut off at three deviations has 0.973 of its variance.
    assert mean == pytest.approx(7 + 4, rel=0.02) and gradient == pytest.approx(4, rel=1e-4)


def test_features_are_values_places_and_four_responses_of_every_channel_and_scale():
    image = np.random.default_rng(0).random((4, 5, 7), np.float32)
    found = PixelFeatures((1.0, 3.0))(image, slice(0, 4))
    assert found.shape == (4, 5, 7 + 2 + 4 * 7 * 2) and found.dtype == np.float32
    np.testing.assert_array_equal(found[..., :7], image)
    np.testing.assert_allclose(found[1, 2, 7:9], [1.5 / 4, 2.5 / 5])
    assert np.isfinite(PixelFeatures()(image[:1, :1], slice(0, 1))).all()


def test_rows_have_the_features_of_the_whole_image(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (60, 8, 3)).astype(np.uint8)
    features, places = PixelFeatures((1.0, 4.0)), np.arange(60 * 8)
    whole = features_at(features, image, (0, 255), places)
    np.testing.assert_array_equal(predict_mask(
        features, lambda found: found[:, 0], image, (0, 255)), image[..., 0] / np.float32(255))
    monkeypatch.setattr('jaxseg.classical.pixels.STRIP', 7 * 8)
    np.testing.assert_allclose(features_at(features, image, (0, 255), places), whole, atol=1e-6)
    np.testing.assert_allclose(features_at(features, image, (0, 255), places[[3, 70, 479]]),
                               whole[[3, 70, 479]], atol=1e-6)


def test_pixels_are_drawn_from_valid_ones_as_the_seed_says():
    valid = np.zeros((9, 9), bool)
    valid[2:7] = True
    drawn = draw_pixels(valid, 20, (0, 1))
    assert valid.ravel()[drawn].all() and len(set(drawn)) == 20
    np.testing.assert_array_equal(drawn, draw_pixels(valid, 20, (0, 1)))
    assert not np.array_equal(drawn, draw_pixels(valid, 20, (0, 2)))
    np.testing.assert_array_equal(draw_pixels(valid, 99, (0, 0)), np.arange(18, 63))
    assert shares(4, 1000) == ([0, 1, 2, 3], 250) and shares(5, 52) == ([0, 4], 26)
    assert shares(3, 1) == ([0], 1)


def test_clusters_have_the_class_of_most_of_their_pixels():
    # Two groups far apart: the first has labels 2, 2, 0, the second only 1; class 3 never occurs.
    features = np.array([[0, 5], [0.1, 5], [0.2, 5], [9, 5], [9.1, 5]], np.float32)
    predict = KMeans(clusters=2).fit(features, np.array([2, 2, 0, 1, 1]), classes=4, seed=0)
    assert predict(np.array([[-3, 5], [20, 5]], np.float32)).tolist() == [2, 1]
    with pytest.raises(InputError, match='clusters: 64, but there are only 5'):
        KMeans().fit(features, np.zeros(5, int), classes=4, seed=0)
    same = KMeans(clusters=3).fit(np.ones((5, 2), np.float32), np.full(5, 1), classes=2, seed=0)
    assert same(np.zeros((1, 2), np.float32)).tolist() == [1]


@pytest.mark.parametrize('classifier', [KMeans(clusters=8), FOREST], ids=['kmeans', 'forest'])
def test_a_fit_depends_on_its_seed_alone(classifier):
    rng = np.random.default_rng(0)
    features, labels = rng.random((300, 4), np.float32), rng.integers(0, 3, 300)
    one, again, other = (classifier.fit(features, labels, classes=3, seed=seed)(features)
                         for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_rare_classes_weigh_as_much_as_frequent_ones_where_that_is_asked_for():
    # 190 pixels and 10: where both occur, nine of ten are of the frequent class.
    features = np.repeat(np.array([[0], [1]], np.float32), 100, 0)
    labels = np.repeat([0, 1], [190, 10])
    for balanced, expected in ((True, [0, 1]), (False, [0, 0])):
        forest = RandomForest(trees=5, balanced=balanced)
        predict = forest.fit(features, labels, classes=2, seed=0)
        assert predict(np.array([[0], [1]], np.float32)).tolist() == expected


def write_planted(root):
    """Three classes, of which class 1 is bright, class 0 is dark and `never` has no pixel."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for index in range(2):
            bright = rng.random((24, 32)) < 0.4
            image = np.where(bright, 200, 50)[..., None] + rng.integers(0, 40, (24, 32, 3))
            mask = bright.astype(np.uint8)
            mask[:6] = 255
            for part, array in (('images', image.astype(np.uint8)), ('masks', mask)):
                path = root / split / part / f'{"ab"[index]}{index}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)


def baseline(tmp_path, *arguments: str) -> dict:
    """The scores of the split 'val' of planted data."""
    config = runs.write_config(tmp_path)
    assert main(['baseline', f'--config={config}', f'--output={tmp_path}/out',
                 f'--config.data={{"type": "folder.Folder", "root": "{tmp_path}/data", "classes": '
                 f'["dark", "bright", "never"]}}', '--pixels=400', *arguments]) == 0
    return json.loads((tmp_path / 'out' / 'evaluation_val.json').read_text())


@pytest.mark.parametrize('classifier', ['random_forest.RandomForest', 'kmeans.KMeans'])
def test_a_planted_rule_is_learned_and_written_as_evaluate_writes_it(tmp_path, classifier, capsys):
    write_planted(tmp_path / 'data')
    found = baseline(tmp_path, f'--classifier={classifier}', '--match=b')
    assert min(found['classes'][name]['iou'] for name in ('dark', 'bright')) > 0.85
    assert found['classes']['never']['iou'] is None
    assert sum(map(sum, found['confusion_matrix'])) == 2 * 18 * 32  # void counts nowhere
    assert (found['images'], found['pixels'], found['training_images']) == (2, 400, 2)
    assert found['classifier']['type'] == classifier and found['seconds_of_prediction'] > 0
    subset = json.loads((tmp_path / 'out' / 'evaluation_val_b.json').read_text())
    assert (subset['match'], subset['images']) == ('b', 1)
    assert (tmp_path / 'out' / 'predictions' / 'val_a0.png').exists()
    assert 'miou' in capsys.readouterr().out
    assert main(['compare', f'{tmp_path}/out', f'{tmp_path}/out']) == 0


def test_big_images_are_scored_as_small_ones(tmp_path, monkeypatch):
    write_planted(tmp_path / 'data')
    options = '--classifier=random_forest.RandomForest', '--config.classifier.trees=3'
    before = baseline(tmp_path, *options)
    monkeypatch.setattr('jaxseg.classical.pixels.STRIP', 5 * 32)
    assert baseline(tmp_path, *options)['confusion_matrix'] == before['confusion_matrix']


@pytest.mark.parametrize('arguments, words', [
    (['--split=val,vla'], ["'vla'", 'val']), (['--pixels=0'], ['--pixels=0']),
    (['--match=zebra'], ['--match=zebra']), (['--classifier=forest.Forest'], ['random_forest']),
    (['--config.data.overlapping=true'], ['overlap', 'one class']),
    (['--config.steps=3'], ['--config.steps', 'no effect']), (['--workdir=x'], ['--workdir']),
    (['--config.classifier.clusters=9'], ['clusters', 'trees']),
    (['--config.classifier.trees=0'], ['trees', '0']),
    (['--config.pixel_features.scales=[1,1]'], ['scales', 'twice']),
    (['--config.task.type=multilabel.Multilabel'], ['task']),
])
def test_what_a_baseline_cannot_use_is_refused(tmp_path, capfd, arguments, words):
    config = runs.write_config(tmp_path)
    runs.refused(['baseline', f'--config={config}', '--classifier=random_forest.RandomForest',
                  f'--output={tmp_path}/out', DATA, *arguments], words, capfd)
    assert not (tmp_path / 'out').exists()


def test_a_folder_of_a_run_and_a_missing_package_are_refused(tmp_path, capfd, monkeypatch):
    config = runs.write_config(tmp_path)
    arguments = ['baseline', f'--config={config}', '--classifier=kmeans.KMeans', DATA]
    (tmp_path / 'config.json').touch()
    runs.refused([*arguments, f'--output={tmp_path}'], ['--output', 'holds a run'], capfd)
    monkeypatch.setitem(sys.modules, 'sklearn', None)
    runs.refused([*arguments, f'--output={tmp_path}/out'],
                 ['scikit-learn', "pip install 'jaxseg[classical]'"], capfd)
