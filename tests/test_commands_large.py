"""`jaxseg predict` from disk to disk: the masks of the same method in memory."""

import dataclasses
import types

import jax
import numpy as np
import pytest
import tifffile

from jaxseg.commands import main
from jaxseg.commands.assemble import ModelRecord
from jaxseg.commands.ensemble import Ensemble
from jaxseg.commands.predict_record import KEYS
from jaxseg.data.spec import DatasetSpec
from jaxseg.inference.augmented import TestTimeAugmentation
from jaxseg.inference.postprocess import Postprocess
from jaxseg.inference.sliding import SlidingWindow
from jaxseg.inference.whole import Whole
from jaxseg.losses.weighted import WeightedSum
from jaxseg.tasks.semantic import Semantic
from tests import runs

CLASSES = ('a', 'b', 'c')
TASK = Semantic(CLASSES, WeightedSum({'a': (1.0, None)}), False)
REMEDY = '--config.inference=\'{"type": "sliding.SlidingWindow"}\''


def postprocessed(method):
    return Postprocess(method.forward, TASK, 4, smallest={'a': 2}, method=method)


def augmented(method):
    return TestTimeAugmentation(method.forward, TASK, 4, method=method)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """In place of a work directory: the class is that of the brightest channel."""
    spec = DatasetSpec('none', CLASSES, mean=(0.5,) * 3, std=(0.25,) * 3)
    inference = SlidingWindow(lambda variables, images: {'logits': images.astype('float32')}, TASK,
                              4, window=(32, 32))
    found = types.SimpleNamespace(
        spec=spec, record=ModelRecord(spec.mean, spec.std, spec.value_range, (32, 32, 3), 'uint8'),
        parts=types.SimpleNamespace(inference=inference), place=jax.device_put, path=tmp_path,
        config=types.SimpleNamespace(batch_size_of_evaluations=4,
                                     inference={'type': 'sliding.SlidingWindow'},
                                     to_dict=lambda: dict.fromkeys(KEYS)),
        variables=lambda which: (0, {}))
    monkeypatch.setattr('jaxseg.commands.predict.open_workdir', lambda *_, **__: found)
    return found


@pytest.fixture
def images(tmp_path):
    """One picture in three files."""
    pixels = np.random.default_rng(0).integers(0, 256, (75, 90, 3)).astype(np.uint8)
    runs.write_image(tmp_path / 'images/png.png', *pixels.shape)
    pixels = runs.read_image(tmp_path / 'images/png.png')
    np.save(tmp_path / 'images/array.npy', pixels)
    tifffile.imwrite(tmp_path / 'images/tiles.tif', pixels, photometric='rgb', tile=(16, 16),
                     compression='deflate')
    return tmp_path / 'images'


def predict(images, output, *more):
    return main(['predict', '--workdir=none', f'--input={images}', f'--output={output}', *more])


def test_files_from_disk_have_the_mask_of_the_image_in_memory(run, images, tmp_path, capsys,
                                                              monkeypatch):
    assert predict(images, tmp_path / 'memory') == 0
    capsys.readouterr()
    monkeypatch.setattr('jaxseg.commands.large.MAX_PIXELS', 75 * 90 - 1)
    monkeypatch.setattr('jaxseg.commands.large.OVERLAY_SIDE', 30)
    assert predict(images, tmp_path / 'disk') == 0
    shown = capsys.readouterr().out
    assert '3 of 3 images' in shown and shown.count('peak memory') == 2
    assert 'tiles.tif: 75x90 in ' in shown and ' megapixels/s' in shown
    expected = runs.read_image(tmp_path / 'memory/png.png')
    np.testing.assert_array_equal(expected, runs.read_image(images / 'png.png').argmax(-1))
    np.testing.assert_array_equal(np.load(tmp_path / 'disk/array.npy'), expected)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / 'disk/tiles.tif'), expected)
    np.testing.assert_array_equal(runs.read_image(tmp_path / 'disk/png.png'), expected)
    assert runs.read_image(tmp_path / 'disk/tiles_overlay.png').shape == (25, 30, 3)
    assert sorted(path.name for path in (tmp_path / 'disk').iterdir()) == [
        'array.npy', 'array_overlay.png', 'png.png', 'png_overlay.png',
        'predict.jsonl', 'tiles.tif', 'tiles_overlay.png']


def test_overlapping_masks_from_disk_that_are_there_are_not_predicted_again(run, images, tmp_path,
                                                                            capsys):
    run.spec = dataclasses.replace(run.spec, overlapping=True)
    (images / 'png.png').unlink()
    for expected in ('2 of 2 images: indices, overlays', '2 of them were there'):
        assert predict(images, tmp_path / 'disk', '--from_disk', '--resume') == 0
        assert expected in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / 'disk').iterdir()) == [
        'array.npy', 'array_overlay.png', 'predict.jsonl', 'tiles.tif', 'tiles_overlay.png']


def test_what_cannot_be_done_from_disk_is_listed_and_the_rest_is_done(run, images, tmp_path,
                                                                      capfd):
    assert predict(images, tmp_path / 'disk', '--from_disk') == 2
    shown = capfd.readouterr()
    assert 'png.png: PNG cannot be read piece by piece' in shown.err
    assert shown.err.count('\n') == 1 and '2 of 3 images' in shown.out
    assert not (tmp_path / 'disk/png.png').exists()
    # The mask would have the name of the image.
    runs.refused(['predict', '--workdir=none', f'--input={images}/array.npy',
                  f'--output={images}', '--from_disk'], ['would overwrite'], capfd)


def test_an_image_from_disk_that_goes_through_windows_instead_of_in_one_piece_is_named(
        run, images, tmp_path, capsys):
    run.parts.inference = Whole(run.parts.inference.forward, run.parts.inference.task, 4)
    (images / 'png.png').unlink()
    assert predict(images, tmp_path / 'disk', '--from_disk') == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if 'through' in line]
    assert len(lines) == 2 and 'array.npy: 75x90' in lines[0] and 'exact.Exact' in lines[0]
    assert 'tiles.tif: 75x90' in lines[1]
    # In memory they go through in one piece, and nothing is said.
    assert predict(images, tmp_path / 'memory') == 0
    assert 'through' not in capsys.readouterr().out
    run.parts.inference = SlidingWindow(run.parts.inference.forward, run.parts.inference.task, 4)
    assert predict(images, tmp_path / 'windows', '--from_disk') == 0
    assert 'through' not in capsys.readouterr().out


@pytest.mark.parametrize('wrap, configured, remedies', [
    (postprocessed, 'sliding.SlidingWindow', ['leave out --postprocess']),
    (postprocessed, 'postprocess.Postprocess', [REMEDY]),
    (augmented, 'augmented.TestTimeAugmentation', [REMEDY]),
    (lambda method: postprocessed(augmented(method)), 'augmented.TestTimeAugmentation',
     ['leave out --postprocess', REMEDY]),
    (lambda method: Ensemble(augmented(method), None), 'augmented.TestTimeAugmentation',
     [REMEDY])])
def test_a_method_that_takes_images_in_memory_is_refused_before_the_first(
        run, images, tmp_path, capfd, wrap, configured, remedies):
    run.parts.inference = wrap(run.parts.inference)
    run.config.inference['type'] = configured
    runs.refused(['predict', '--workdir=none', f'--input={images}', f'--output={tmp_path}/disk',
                  '--from_disk'], ['array.npy', 'takes images in memory', *remedies], capfd)
    assert not (tmp_path / 'disk').exists()


def test_an_ensemble_gives_from_disk_the_masks_that_it_gives_in_memory(run, images, tmp_path):
    # The class is that of the brightest channel, and each model sees one.
    method = SlidingWindow(lambda seen, images: {'logits': images * seen[None, None, None]}, TASK,
                           4, window=(32, 32))
    run.parts.inference = Ensemble(method, TASK.decide)
    run.variables = lambda which: ((0, 0, 0), tuple(np.eye(3, dtype=np.float32) / 100))
    assert predict(images, tmp_path / 'memory') == 0
    assert predict(images, tmp_path / 'disk', '--from_disk') == 2  # PNG cannot be
    expected = runs.read_image(tmp_path / 'memory/array.png')
    assert len(np.unique(expected)) == 3
    np.testing.assert_array_equal(np.load(tmp_path / 'disk/array.npy'), expected)
