"""What `jaxseg predict` writes, and how it goes on after an interruption."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg.commands import main, progress
from jaxseg.commands.predict_record import PredictRecord
from jaxseg.commands.prediction import groups
from jaxseg.commands.results import Results, colors
from jaxseg.commands.workdir import open_workdir
from jaxseg.data.outlines import fill
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from jaxseg.inference.uncertainty import Found, entropy
from tests import runs

ALL = '--outputs=indices,colors,overlays,probabilities,uncertainty,polygons'
AUGMENTED = ['--config.inference={"type": "augmented.TestTimeAugmentation", "flips": "both"}']
NAMES = ['a', 'b', 'c', 'deep/d', 'deep/e', 'f', 'g']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Seven images of two sizes: more than a batch of one of them."""
    place = tmp_path_factory.mktemp('images') / 'in'
    for index, name in enumerate(NAMES):
        pixels = np.random.default_rng(index).integers(0, 256, (20 + 4 * (index == 1), 32, 3))
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f'{name}.png')
    return place


def predict(trained, source, output, *more):
    return ['predict', f'--workdir={trained}', f'--input={source}', f'--output={output}', *more]


def contents(place):
    return {path.relative_to(place): path.read_bytes() for path in sorted(place.rglob('*'))
            if path.is_file()}


@pytest.fixture(scope='module')
def written(trained, folder, tmp_path_factory):
    """The output folder of all kinds of results."""
    place = tmp_path_factory.mktemp('results') / 'out'
    assert main(predict(trained, folder, place, ALL)) == 0
    return place


def test_all_results_of_an_image_agree(trained, folder, written):
    function = jaxseg.load(trained)
    for name in ('a', 'b', 'deep/d'):
        image = runs.read_image(folder / f'{name}.png')
        probabilities = np.load(written / f'{name}_probabilities.npy')
        np.testing.assert_array_equal(probabilities, function.probabilities(image))
        mask = runs.read_image(written / f'{name}.png')
        np.testing.assert_array_equal(mask, probabilities.argmax(-1))
        painted = runs.read_image(written / f'{name}_colors.png')
        with Image.open(written / f'{name}.png') as palette:
            np.testing.assert_array_equal(painted, palette.convert('RGB'))
        uncertainty = runs.read_image(written / f'{name}_uncertainty.png')
        assert uncertainty.dtype == np.uint16
        np.testing.assert_allclose(uncertainty / 65535, function.uncertainty(image), atol=1e-5)
        shapes = json.loads((written / f'{name}.geojson').read_text())
        assert shapes['image'] == f'{name}.png'
        assert sum(one['properties']['area'] for one in shapes['features']) == mask.size


def test_coco_holds_the_polygons_of_all_images(written):
    coco = json.loads((written / 'coco.json').read_text())
    assert [(one['id'], one['file_name']) for one in coco['images']] == [
        (number, f'{name}.png') for number, name in enumerate(NAMES, 1)]
    assert [one['id'] for one in coco['annotations']] == list(
        range(1, len(coco['annotations']) + 1))
    kinds = set()
    for image, name in zip(coco['images'], NAMES, strict=True):
        back = np.full((image['height'], image['width']), 255)
        for one in (one for one in coco['annotations'] if one['image_id'] == image['id']):
            shape = one['segmentation']
            if isinstance(shape, dict):
                inside = np.repeat(np.arange(len(shape['counts'])) % 2 == 1, shape['counts'])
                found = inside.reshape(shape['size'][::-1]).T
            else:
                found = fill([[np.reshape(ring, (-1, 2))] for ring in shape], back.shape)
            assert one['area'] == found.sum() and (back[found] == 255).all()
            rows, columns = np.nonzero(found)
            assert one['bbox'] == [columns.min(), rows.min(), np.ptp(columns) + 1,
                                   np.ptp(rows) + 1]
            back[found] = one['category_id'] - 1
            kinds.add(type(shape))
        np.testing.assert_array_equal(back, runs.read_image(written / f'{name}.png'))
    assert kinds == {dict, list}
    assert coco['categories'][1] == {'id': 2, 'name': 'circle'}


def test_the_variance_of_augmented_copies_is_the_uncertainty(trained, folder, tmp_path):
    assert main(predict(trained, folder / 'a.png', tmp_path / 'out',
                        '--outputs=uncertainty,probabilities', '--probabilities=png16',
                        *AUGMENTED)) == 0
    run = open_workdir(trained, AUGMENTED)
    function = run.predictor(run.variables('best')[1])
    image = runs.read_image(folder / 'a.png')
    found = runs.read_image(tmp_path / 'out' / 'a_uncertainty.png')
    variance = function.uncertainty(image)
    assert variance.max() > 0
    np.testing.assert_allclose(found / 65535, variance, atol=1e-5)
    for index, name in enumerate(run.spec.classes):
        found = runs.read_image(tmp_path / 'out' / f'a_probability_{name}.png')
        np.testing.assert_allclose(found / 65535, function.probabilities(image)[..., index],
                                   atol=1e-5)
    record = json.loads((tmp_path / 'out' / 'predict.jsonl').read_text().splitlines()[0])
    assert record['uncertainty'] == {'kind': 'variance', 'white': 1.0}


def test_a_resumed_prediction_is_the_same_to_the_byte(trained, folder, written, tmp_path,
                                                      monkeypatch):
    """The process ends while an image is written: some of its files are there, one in part."""
    calls, write, stopped_after = [], Results.write, 5

    def killed(self, place, *more):
        if len(calls) == stopped_after:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.with_name(f'{place.name}.png').write_bytes(b'of another process')
            place.with_name(f'{place.name}_overlay.partial.png').write_bytes(b'half')
            raise KeyboardInterrupt
        calls.append(place)
        write(self, place, *more)

    place = tmp_path / 'out'
    with monkeypatch.context() as patch:
        patch.setattr(Results, 'write', killed)
        assert main(predict(trained, folder, place, ALL)) == 130
    with (place / 'predict.jsonl').open('a') as file:
        file.write('["deep/')  # the line that was being written
    before = {path: path.stat().st_mtime_ns for path in place.rglob('*.npy')}
    assert len(before) == stopped_after
    assert main(predict(trained, folder, place, ALL, '--resume')) == 0
    assert contents(place) == contents(written)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_what_is_lost_or_changed_is_done_again(trained, folder, written, tmp_path, capsys):
    source, place = (shutil.copytree(part, tmp_path / part.name) for part in (folder, written))
    (place / 'c_overlay.png').unlink()
    runs.write_image(source / 'g.png', 20, 32, 3)
    before = contents(place)
    assert main(predict(trained, source, place, ALL, '--resume')) == 0
    assert '7 of 7 images' in (out := capsys.readouterr().out) and '5 of them were there' in out
    after = contents(place)
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert {'g_overlay.png', 'c_overlay.png', 'predict.jsonl'} <= changed
    assert {name.partition('.')[0].partition('_')[0] for name in changed} == {
        'c', 'g', 'predict', 'coco'}
    assert (place / 'c_overlay.png').read_bytes() == (written / 'c_overlay.png').read_bytes()
    assert main(predict(trained, source, place, ALL, '--resume')) == 0  # all is done
    assert 'images/s' not in capsys.readouterr().out
    assert contents(place) == after


@pytest.mark.parametrize('more, words', [
    (['--checkpoint=2', ALL], ['checkpoint 4, and now it is 2']),
    (['--outputs=indices'], ['outputs', 'another --output']),
    (['--config.inference.type=sliding.SlidingWindow', ALL], ['inference.type', 'whole.Whole']),
    (['--config.eval_batch_size=8', ALL], ['config.eval_batch_size 4, and now it is 8']),
    (['--probabilities=png16', ALL], ["probabilities 'npy'"])])
def test_results_of_other_settings_are_not_continued(trained, folder, written, capfd, more, words):
    before = runs.state_of(written)
    checkpoint = [] if '--checkpoint=2' in more else ['--checkpoint=4']
    runs.refused(predict(trained, folder, written, '--resume', *checkpoint, *more),
                 ['--resume', 'leave out --resume', *words], capfd)
    assert runs.state_of(written) == before


def test_without_resume_nothing_of_before_counts_as_done(trained, folder, written, tmp_path,
                                                         monkeypatch):
    """The results of other settings must not be taken for those of the prediction that stops."""
    def killed(self, place, *more):
        raise KeyboardInterrupt

    place = shutil.copytree(written, tmp_path / 'out')
    monkeypatch.setattr(Results, 'write', killed)
    assert main(predict(trained, folder, place, ALL)) == 130
    assert (place / 'predict.jsonl').read_text().count('\n') == 2
    monkeypatch.undo()  # and all that was written before may be written again
    assert main(predict(trained, folder, place, ALL)) == 0
    assert contents(place) == contents(written)


@pytest.mark.parametrize('damage', [b'', b'{}\n', b'[3]\n', b'\xff\n', b'x', b'null\nnull\n'])
def test_a_damaged_record_is_refused(tmp_path, damage):
    (tmp_path / 'predict.jsonl').write_bytes(damage)
    with pytest.raises(InputError, match='--resume: .*predict.jsonl cannot be read') as error:
        PredictRecord(tmp_path, {'a': 1}, resume=True)
    assert '\n' not in str(error.value)
    PredictRecord(tmp_path, {'a': 1}, resume=False)


def test_a_line_that_is_not_written_whole_does_not_end_the_record(tmp_path, monkeypatch):
    """A full disk: the images are told, and what is added later can be read."""
    record = PredictRecord(tmp_path, {'a': 1}, resume=False)
    image = tmp_path / 'x.png'
    image.write_bytes(b'1')

    def full(values):
        with (tmp_path / 'predict.jsonl').open('a') as file:
            file.write('["hal')
        raise OSError(28, 'No space left on device')

    record.start([])
    with monkeypatch.context() as patch:
        patch.setattr('jaxseg.commands.predict_record._line', full)
        with pytest.raises(OSError):
            record.add('x', image)
    record.start(['x'])
    record.add('y', image)
    found = PredictRecord(tmp_path, {'a': 1}, resume=True)
    assert found.done('y', image) and not found.done('x', image)


@pytest.mark.parametrize('arguments, words', [
    (['--outputs='], ["''", 'known: colors, indices']), (['--outputs=tints'], ["'tints'"]),
    (['--outputs=indices,'], ["''"]), (['--probabilities=png8'], ['png16']),
    (['--probabilities=png16'], ['no effect without --outputs=probabilities'])])
def test_a_result_that_does_not_exist_is_refused(trained, folder, tmp_path, capfd, arguments,
                                                 words):
    runs.refused(predict(trained, folder, tmp_path / 'out', *arguments), words, capfd)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('count, expected', [
    (1, ['a', 'c', 'd', 'e', 'f', 'g', 'b']), (2, ['ac', 'de', 'fg', 'b']),
    (4, ['acdefg', 'b']), (5, ['acdefg', 'b']), (9, ['acdefg', 'b'])])
def test_images_of_one_size_go_in_groups_and_those_left_over_with_the_last(folder, count, expected):
    paths = [folder / f'{name}.png' for name in NAMES]
    assert [''.join(path.stem for path in group) for group in groups(paths, count)] == expected


def test_uncertainty_by_hand():
    exclusive = np.array([[[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]]], np.float32)
    np.testing.assert_allclose(entropy(exclusive, overlapping=False), [[0, 1, 0.5]], atol=1e-7)
    apart = np.array([[[0, 1], [0.5, 0.5], [0.5, 1], [0.25, 0.25]]], np.float32)
    quarter = 2 - 0.75 * np.log2(3)
    np.testing.assert_allclose(entropy(apart, overlapping=True), [[0, 1, 0.5, quarter]], rtol=1e-6)
    assert entropy(apart, overlapping=True).dtype == np.float32


@pytest.mark.parametrize('value_range, dtype, channels', [
    ((0, 65535), np.uint16, 1), ((0, 4095), np.uint16, 6), ((-1.0, 1.0), np.float32, 3)])
def test_overlapping_masks_of_images_of_every_kind(tmp_path, value_range, dtype, channels):
    spec = DatasetSpec('x', ('cell', 'a b'), mean=(0.5,) * channels, std=(0.5,) * channels,
                       value_range=value_range, overlapping=True)
    mask = np.zeros((3, 4, 2), np.uint8)
    mask[1, 1:3, 0], mask[:, 2, 1] = 1, 1
    share = np.linspace(0, 1, 24, dtype=np.float32).reshape(3, 4, 2)
    results = Results(spec, ('indices', 'colors', 'overlays', 'probabilities', 'uncertainty',
                             'polygons'), 'png16', variance=True)
    assert results.largest_uncertainty == 0.5
    results.write(tmp_path / 'in' / 'x', 'x.tif', np.full((3, 4, channels), 1, dtype),
                  Found(mask, share, share[..., 0] / 2))
    names = {path.name for path in (tmp_path / 'in').iterdir()}
    assert names == {path.name for path in results.files(tmp_path / 'in' / 'x')} and len(names) == 8
    np.testing.assert_array_equal(runs.read_image(tmp_path / 'in' / 'x_cell.png'),
                                  255 * mask[..., 0])
    for name, values in (('x_probability_cell', share[..., 0]), ('x_uncertainty', share[..., 0])):
        np.testing.assert_array_equal(runs.read_image(tmp_path / 'in' / f'{name}.png'),
                                      np.rint(65535 * values))
    painted = colors(mask, spec)
    assert painted[0, 0].tolist() == [0, 0, 0] and painted[1, 1].tolist() == list(spec.colors[0])
    assert painted[1, 2].tolist() == list(spec.colors[1])


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 1.1, 2.0])
    monkeypatch.setattr(progress.time, 'perf_counter', lambda: next(clock))
    monkeypatch.setattr('sys.stdout.isatty', lambda: True, raising=False)
    shown = progress.Progress(4)
    shown.add()
    assert capsys.readouterr().out == '\r\x1b[K1/4 images  1 images/s  0:00:03 left'
    shown.add()  # too soon
    shown.add()
    assert capsys.readouterr().out == '\r\x1b[K3/4 images  1.5 images/s  0:00:01 left'
    monkeypatch.undo()
    quiet = progress.Progress(1)
    quiet.add()
    quiet.clear()
    assert capsys.readouterr().out == ''
