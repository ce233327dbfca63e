"""`jaxseg crossvalidate`: every image scored once, its spread, and the folds as one model."""

import contextlib
import json
import shutil

import numpy as np
import pytest

import jaxseg
from jaxseg.commands import main
from jaxseg.metrics.images import ImageCounts
from jaxseg.metrics.spread import spread
from jaxseg.records import read_record
from tests import runs

TINY = ['--config.steps=2', '--config.evaluate_every=2', '--config.schedule.warmup=1',
        '--config.data.samples.train=5', '--config.data.samples.val=4',
        '--config.data.samples.test=1', '--config.model.encoder.widths=[4]',
        '--config.model.decoder={"type": "fcn.FCN", "widths": [4]}']


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp('folds')
    config = runs.write_config(folder)
    assert main(['crossvalidate', f'--config={config}', f'--workdir={folder}/cv', '--folds=2',
                 '--seed=1', *TINY]) == 0
    return folder / 'cv'


def test_every_image_is_scored_once_by_the_model_that_has_not_seen_it(done):
    record, total, names = read_record(done / 'crossvalidation.json'), 0, []
    for fold in range(2):
        assert main(['evaluate', f'--workdir={done}/fold{fold}', '--checkpoint=latest',
                     '--num_images=0']) == 0
        folder = done / f'fold{fold}'
        scored = json.loads((folder / 'evaluation_val_checkpoint=latest.json').read_text())
        assert record['by_fold'][fold]['miou'] == scored['miou']
        total = total + np.array(scored['confusion_matrix'])
        splits = read_record(folder / 'splits.json')
        names += splits['val']['names']
        assert not set(splits['val']['names']) & set(splits['train']['names'])
    np.testing.assert_array_equal(record['confusion_matrix'], total)
    assert total.sum() == 9 * 32 * 32 and len(set(names)) == len(names) == 9
    images = ImageCounts.read(done / 'evaluation_val_images.csv')
    assert set(images.names) == set(names)
    np.testing.assert_array_equal(images.tp.sum(0), np.diag(total))
    np.testing.assert_array_equal(images.fn.sum(0) + images.tp.sum(0), total.sum(1))
    mious = [fold['miou'] for fold in record['by_fold']]
    assert record['over_folds']['miou']['mean'] == pytest.approx(np.mean(mious))
    assert record['over_folds']['miou']['deviation'] == pytest.approx(np.std(mious, ddof=1))


def test_the_folds_are_loaded_as_the_mean_of_their_probabilities(done, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (33, 40, 3)).astype(np.uint8)
    both = jaxseg.load(done, 'latest')
    found = both.probabilities(image)
    members = [jaxseg.load(done / f'fold{fold}', 'latest').probabilities(image)
               for fold in range(2)]
    assert np.abs(members[0] - members[1]).max() > 1e-4
    np.testing.assert_allclose(found, np.mean(members, 0), rtol=1e-6)
    np.testing.assert_array_equal(both(image), found.argmax(-1))
    # Of two values the variance is the square of half their difference.
    np.testing.assert_allclose(both.inference.variance(both.variables, image),
                               ((members[0] - members[1]) ** 2).sum(-1) / 4, atol=1e-7)
    runs.write_image(tmp_path / 'in' / 'a.png', 33, 40, 3)
    assert main(['predict', f'--workdir={done}', f'--input={tmp_path}/in',
                 f'--output={tmp_path}/out', '--checkpoint=latest']) == 0
    np.testing.assert_array_equal(runs.read_image(tmp_path / 'out' / 'a.png'),
                                  both(runs.read_image(tmp_path / 'in' / 'a.png')))
    assert main(['evaluate', f'--workdir={done}', '--split=test', '--num_images=0']) == 0
    assert json.loads((done / 'evaluation_test.json').read_text())['checkpoint'] == [2, 2]
    runs.refused(['evaluate', f'--workdir={done}'], ["no split 'val'", 'training data'], capsys)


def test_the_masks_of_the_folds_are_post_processed_whatever_else_is_written(done, tmp_path, capfd):
    runs.write_image(tmp_path / 'in' / 'a.png', 33, 40, 3)
    predict = ['predict', f'--workdir={done}', f'--input={tmp_path}/in', '--checkpoint=latest']
    classes = read_record(done / 'fold0' / 'dataset.json')['classes']
    cleaning = ['--config.inference.type=postprocess.Postprocess',
                f'--config.inference.smallest={json.dumps(dict.fromkeys(classes, 30))}']
    masks = {}
    for name, more in (('plain', []), ('cleaned', cleaning),
                       ('both', [*cleaning, '--outputs=indices,probabilities'])):
        assert main([*predict, f'--output={tmp_path}/{name}', *more]) == 0
        masks[name] = runs.read_image(tmp_path / name / 'a.png')
    assert (masks['plain'] != masks['cleaned']).any()
    np.testing.assert_array_equal(masks['both'], masks['cleaned'])
    # Two times is refused, and so are areas that no split of the whole can have chosen.
    output = f'--output={tmp_path}/refused'
    runs.refused([*predict, output, '--postprocess', *cleaning], ['has its own areas'], capfd)
    runs.refused([*predict, output, '--postprocess'],
                 ['--postprocess', "'val'", f'--workdir={done}/fold0', 'inference.smallest'], capfd)


def test_what_was_stopped_continues_and_what_is_done_is_not_trained_again(
        done, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(done, tmp_path / 'cv')
    (folder / 'crossvalidation.json').unlink()

    @contextlib.contextmanager
    def stopped():
        yield lambda: True

    def trained_one_step(workdir, config, stopping):
        with stopping() as stop_requested:
            assert (workdir.name, config.data['fold'], stop_requested()) == ('fold1', 1, False)
        return None, 1, False

    before = runs.state_of(folder)
    shutil.move(folder / 'fold1', tmp_path / 'kept')
    for place, replacement in (('train_in', trained_one_step), ('stop_deferred', stopped)):
        with monkeypatch.context() as patched:
            patched.setattr(f'jaxseg.commands.crossvalidate.{place}', replacement)
            assert main(['crossvalidate', f'--workdir={folder}']) == 130
        assert f'jaxseg crossvalidate --workdir={folder}' in capsys.readouterr().out
        assert not (folder / 'crossvalidation.json').exists()
        if not (folder / 'fold1').exists():
            shutil.move(tmp_path / 'kept', folder / 'fold1')
    assert main(['crossvalidate', f'--workdir={folder}']) == 0
    after = runs.state_of(folder)
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed == {'crossvalidation.json', 'evaluation_val_images.csv'}
    assert read_record(folder / 'crossvalidation.json') == read_record(
        done / 'crossvalidation.json')


def test_spread_is_over_the_runs_that_have_a_score():
    scores = [{'miou': 1.0, 'classes': {'a': {'iou': None}, 'b': {'iou': 0.5}}},
              {'miou': 3.0, 'classes': {'a': {'iou': 0.2}, 'b': {'iou': 0.5}}},
              {'miou': 5.0, 'classes': {'a': {'iou': None}, 'b': {'iou': 0.5}}}]
    assert spread(scores) == {
        'miou': {'mean': 3.0, 'deviation': 2.0},
        'classes': {'a': {'iou': {'mean': 0.2, 'deviation': None}},
                    'b': {'iou': {'mean': 0.5, 'deviation': 0.0}}}}
    assert spread([{'miou': None}]) == {'miou': {'mean': None, 'deviation': None}}


@pytest.mark.parametrize('arguments, words', [
    (['--workdir={new}'], ['holds no cross-validation']),
    (['--workdir={done}', '--folds=2'], ['--folds', 'folds.Fold already']),
    (['--workdir={done}', '--config={config}'], ['holds a run with', 'data.']),
    (['--workdir={done}/fold0', '--config={config}'], ['holds a run']),
    (['--workdir={new}', '--config={config}', '--blocks', '--stratify'], ['exclude each other']),
    (['--workdir={new}', '--config={config}', '--blocks', '--seed=1'], ['data.seed: 1']),
    (['--workdir={new}', '--config={config}', '--folds=1'], ['data.folds: 1']),
    (['--workdir={new}', '--config={config}', '--folds=99'], ['99 folds of 19 samples']),
    (['--workdir={new}', '--config={config}', '--group=x'], ["data.group: 'x' finds nothing"]),
    (['--workdir={new}', '--config={config}', '--checkpoint=4'], ['--checkpoint']),
    (['--workdir={new}', '--config={config}', '--config.data.sise=3'], ['data.data.sise']),
    (['--workdir={new}', '--config={config}', '--config.stepps=3'], ['config.stepps'])])
def test_bad_options_are_refused_before_anything_is_written(done, tmp_path, arguments, words,
                                                            capfd):
    config = runs.write_config(tmp_path)
    filled = [each.format(new=tmp_path / 'new', done=done, config=config) for each in arguments]
    runs.refused(['crossvalidate', *filled], words, capfd)
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('arguments, words', [
    (['train'], ['holds a cross-validation', 'fold0']),
    (['export-weights', '--output=x.npz'], ['holds a cross-validation', 'fold0']),
    (['train', '--config={config}'], ['holds a cross-validation'])])
def test_what_needs_one_run_says_so(done, tmp_path, arguments, words, capfd):
    config = runs.write_config(tmp_path)
    filled = [each.format(config=config) for each in arguments]
    runs.refused([filled[0], f'--workdir={done}', *filled[1:]], words, capfd)


@pytest.mark.parametrize('damage, words', [
    (lambda folder: (folder / 'crossvalidation.json').write_text('{}'), ['crossvalidation.json']),
    (lambda folder: shutil.rmtree(folder / 'fold1'), ['fold1', 'does not exist']),
    (lambda folder: runs.rewrite(folder / 'fold1' / 'config.json', seed=7), ['fold1', 'seed = 7'])])
def test_a_damaged_cross_validation_is_no_model(done, tmp_path, damage, words, capfd):
    folder = shutil.copytree(done, tmp_path / 'cv')
    damage(folder)
    runs.refused(['evaluate', f'--workdir={folder}', '--split=test'], words, capfd)
