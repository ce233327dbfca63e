"""The command line from train to predict, in process: what it writes and prints."""

import csv
import json
import types
from unittest import mock

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import jaxseg
from jaxseg.commands import config as configs
from jaxseg.commands import main
from jaxseg.commands.scoring import METRICS, metric_names
from jaxseg.commands.workdir import open_workdir
from jaxseg.errors import InputError
from jaxseg.metrics.images import ImageCounts
from jaxseg.records import read_record
from jaxseg.training.layout import JitLayout
from jaxseg.training.report import draw_curves
from jaxseg.training.supervised import Supervised
from tests import runs


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    config = runs.write_config(folder)
    patches = (mock.patch.object(Supervised, name, autospec=True,
                                 side_effect=getattr(Supervised, name))
               for name in ('init', 'step'))
    with (mock.patch('jaxseg.training.report.draw_curves', draw_curves),
          next(patches) as init, next(patches) as step):
        assert main(['train', f'--config={config}', f'--workdir={folder}/work']) == 0
    # What is checked before anything is compiled is not traced again for its compilation.
    assert (init.call_count, step.call_count) == (1, 1)
    return folder / 'work'


def test_training_leaves_a_whole_work_directory(trained):
    assert {path.name for path in trained.iterdir()} >= {
        'config.json', 'dataset.json', 'model.json', 'splits.json', 'provenance.json',
        'checkpoints', 'metrics.csv', 'events', 'curves.png'}
    with (trained / 'metrics.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row['step']) for row in rows if row['loss']] == [2, 4, 6, 8, 10, 12]
    assert [int(row['step']) for row in rows if row['val_miou']] == [4, 8, 12]
    assert runs.read_image(trained / 'curves.png').size
    losses = [float(row['loss']) for row in rows if row['loss']]
    assert losses[-1] < losses[0]
    config, model, splits = (read_record(trained / f'{name}.json')
                             for name in ('config', 'model', 'splits'))
    assert config['parallel'] == {'strategy': 'jit', 'data': -1, 'fsdp': 1, 'space': 1}
    assert config['task'] == {'type': 'semantic.Semantic'}
    assert config['inference'] == {'type': 'whole.Whole'}
    assert model == {'mean': 3 * [0.5], 'std': 3 * [0.25], 'value_range': [0, 255],
                     'input_shape': [32, 32, 3], 'dtype': 'uint8', 'pretrained': None}
    assert splits['train']['count'] == 16
    assert splits['val']['names'] == ['val_000000', 'val_000001', 'val_000002']


def test_evaluation_prints_a_table_and_writes_json_and_pictures(trained, capsys):
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--checkpoint=latest',
                 '--num_images=2']) == 0
    out = capsys.readouterr().out
    assert 'background' in out and 'miou: 0.' in out and 'checkpoint 12 (the latest), 3' in out
    result = json.loads((trained / 'evaluation_test_checkpoint=latest.json').read_text())
    assert (result['split'], result['checkpoint'], result['images']) == ('test', 12, 3)
    assert np.sum(result['confusion_matrix']) == 3 * 32 * 32
    folder = trained / 'predictions'
    assert runs.read_image(folder / 'test_checkpoint=latest_test_000000.png').shape == (32, 96, 3)
    assert (folder / 'test_checkpoint=latest.png').is_file()


def evaluate(trained, *arguments: str) -> dict:
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--num_images=1',
                 *arguments]) == 0
    return json.loads((trained / 'evaluation_test.json').read_text())


def test_evaluation_writes_the_counts_of_every_image(trained, capsys):
    found = evaluate(trained)
    counts, matrix = ImageCounts.read(trained / 'evaluation_test_images.csv'), np.array(
        found['confusion_matrix'])
    assert found['per_image']['image_miou'] == pytest.approx(counts.image_miou().mean())
    assert f'({counts.lowest()}); all: {trained}/evaluation_test_ima' in capsys.readouterr().out
    assert counts.names == ('test_000000', 'test_000001', 'test_000002')
    np.testing.assert_array_equal(counts.tp.sum(0), np.diagonal(matrix))
    np.testing.assert_array_equal((counts.tp + counts.fn).sum(0), matrix.sum(1))
    np.testing.assert_array_equal((counts.tp + counts.fp).sum(0), matrix.sum(0))


def test_all_metrics_are_sections_of_the_json_and_tables_in_the_terminal(trained, capsys):
    plain = evaluate(trained)
    assert not METRICS.keys() & plain.keys()
    capsys.readouterr()
    found = evaluate(trained, '--metrics=all')
    out = capsys.readouterr().out
    assert found['confusion_matrix'] == plain['confusion_matrix']
    assert 0 < found['calibration']['ece'] < 1
    assert found['calibration']['accuracy'] == pytest.approx(found['pixel_accuracy'])
    assert all(f'\n{name}\n' in out for name in ('boundary', 'calibration', 'objects'))
    assert 0 <= found['boundary']['mean_boundary_f'] <= 1 and 0 <= found['objects']['mean_pq'] <= 1
    assert found['objects']['mean_ap50'] is not None and 'thresholds' not in found
    # Those of `boundary` come from the predictions of batches, which are the same.
    assert evaluate(trained, '--metrics=boundary')['boundary'] == found['boundary']


@pytest.mark.parametrize('overlapping, classes, thresholds', [
    (False, 3, False), (False, 2, True), (True, 1, True), (True, 3, True)])
def test_thresholds_are_for_two_classes_or_overlapping_ones(overlapping, classes, thresholds):
    spec = types.SimpleNamespace(overlapping=overlapping, classes=('a', 'b', 'c')[:classes])
    assert metric_names('all', spec) == tuple(METRICS)[:None if thresholds else -1]
    assert metric_names('', spec) == () and metric_names('objects,boundary,objects', spec) == (
        'objects', 'boundary')


def test_metrics_that_do_not_exist_are_refused(trained, capfd):
    for text, words in (('calibraton', "did you mean 'calibration'? "), ('all,all', "'all'"),
                        ('calibration,', "''"), (' ', "' '"), ('Calibration', "'calibration'"),
                        ('boundary,thresholds', 'two classes')):
        runs.refused(['evaluate', f'--workdir={trained}', f'--metrics={text}'],
                [f'--metrics={text}: ', words], capfd)


def test_match_scores_the_images_of_a_split_whose_names_begin_so(trained):
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--match=test_000001',
                 '--num_images=0']) == 0
    assert json.loads((trained / 'evaluation_test_test_000001.json').read_text())['images'] == 1


def test_prediction_writes_masks_and_overlays_of_any_size(trained, tmp_path, capsys):
    runs.write_image(tmp_path / 'in' / 'one.jpg', 33, 47, 3)
    runs.write_image(tmp_path / 'in' / 'deep' / 'grey.png', 20, 90)
    (tmp_path / 'in' / 'broken.jpg').write_bytes(b'x')
    assert main(['predict', f'--workdir={trained}', f'--input={tmp_path}/in',
                 f'--output={tmp_path}/out']) == 2
    captured = capsys.readouterr()
    assert '2 of 3 images' in captured.out and 'broken.jpg: cannot be decoded' in captured.err
    with Image.open(tmp_path / 'out' / 'one.png') as mask:
        assert (mask.mode, mask.size) == ('P', (47, 33))
    assert runs.read_image(tmp_path / 'out' / 'one_overlay.png').shape == (33, 47, 3)
    image, predict = runs.read_image(tmp_path / 'in' / 'one.jpg'), jaxseg.load(trained)
    np.testing.assert_array_equal(predict(image), runs.read_image(tmp_path / 'out' / 'one.png'))
    probabilities = predict.probabilities(image)
    assert probabilities.shape == (33, 47, 5)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    assert (tmp_path / 'out' / 'deep' / 'grey.png').is_file()


def test_one_inference_path_serves_evaluate_predict_and_load(trained, tmp_path):
    window = ['--config.inference.type=sliding.SlidingWindow', '--config.inference.window=[16,24]']
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--num_images=0',
                 *window]) == 0
    path, = trained.glob('evaluation_test_inference*SlidingWindow*.json')
    result = json.loads(path.read_text())
    assert result['overrides'] == window and np.sum(result['confusion_matrix']) == 3 * 32 * 32
    for i in range(6):
        runs.write_image(tmp_path / 'in' / f'{i}.png', 20 + i, 60 - 2 * i, 3)
    assert main(['predict', f'--workdir={trained}', f'--input={tmp_path}/in',
                 f'--output={tmp_path}/out', *window]) == 0
    run = open_workdir(trained, window)
    _, variables = run.variables('best')
    predict = run.predictor(variables)
    for i in range(6):
        image, mask = (runs.read_image(tmp_path / part / f'{i}.png') for part in ('in', 'out'))
        np.testing.assert_array_equal(predict(image), mask)
    assert run.parts.inference.compilations == 1


def test_an_override_without_an_effect_is_refused_by_its_key(trained, tmp_path, capsys):
    paths = {'evaluate': [], 'predict': [f'--input={tmp_path}', f'--output={tmp_path}/out']}
    for subcommand, override in (
            ('evaluate', 'steps=99'), ('evaluate', 'optimizer.learning_rate=0.1'),
            ('evaluate', 'transforms=[]'), ('predict', 'data.root=x'), ('predict', 'seed=1')):
        assert main([subcommand, f'--workdir={trained}', f'--config.{override}',
                     *paths[subcommand]]) == 2
        assert f'--config.{override.split("=")[0]}: ' in capsys.readouterr().err


def test_overlapping_classes_are_trained_evaluated_and_predicted_as_one_mask_each(tmp_path):
    config = runs.write_config(tmp_path)
    changes = ['--config.data.overlapping=true',
               '--config.task={"type": "multilabel.Multilabel", "threshold": 0.4}',
               '--config.losses={"bce": {"type": "binary_cross_entropy.binary_cross_entropy"}}']
    assert main(['train', f'--config={config}', f'--workdir={tmp_path}/work', *changes,
                 *runs.STEPS]) == 0
    assert main(['evaluate', f'--workdir={tmp_path}/work', '--split=test', '--num_images=1',
                 '--metrics=all']) == 0
    result = json.loads((tmp_path / 'work' / 'evaluation_test.json').read_text())
    for name, scores in result['classes'].items():  # 0.40, that of the task, is one of them
        curve = result['thresholds']['curves'][name]['recall']
        assert len(curve) == 99 and curve[39] == scores['recall']
    assert set(result['classes']) == {'circle', 'square', 'triangle', 'star'}
    assert 0 <= result['miou'] <= 1
    runs.write_image(tmp_path / 'one.png', 33, 47, 3)
    assert main(['predict', f'--workdir={tmp_path}/work', f'--input={tmp_path}/one.png',
                 f'--output={tmp_path}/out']) == 0
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'one_circle.png', 'one_square.png', 'one_triangle.png', 'one_star.png', 'one_overlay.png',
        'predict.jsonl'}
    predict = jaxseg.load(tmp_path / 'work')
    mask = predict(runs.read_image(tmp_path / 'one.png'))
    assert mask.shape == (33, 47, 4)
    square = runs.read_image(tmp_path / 'out' / 'one_square.png')
    np.testing.assert_array_equal(square, 255 * mask[..., 1])


def test_a_run_without_a_validation_split_trains_and_is_scored_on_another(tmp_path):
    config = runs.write_config(tmp_path)
    assert main(['train', f'--config={config}', f'--workdir={tmp_path}/work', '--config.steps=4',
                 '--config.data.samples={"train": 8, "test": 2}']) == 0
    assert 'val_miou' not in (tmp_path / 'work' / 'metrics.csv').read_text()
    assert main(['evaluate', f'--workdir={tmp_path}/work', '--split=test', '--num_images=0']) == 0


def test_a_finished_run_compiles_nothing_and_needs_its_directory_alone(
        trained, capsys, monkeypatch):
    monkeypatch.setattr(JitLayout, 'compile_step', None)
    before = (trained / 'metrics.csv').read_bytes()
    assert main(['train', f'--workdir={trained}']) == 0
    assert 'steps 12 to 12' in capsys.readouterr().out
    assert (trained / 'metrics.csv').read_bytes() == before


def test_run_is_the_same_from_python(tmp_path):
    config = ConfigDict(configs.from_file(runs.write_config(tmp_path)))
    config.steps = 4
    assert jaxseg.run(**config, workdir=str(tmp_path / 'work'))
    with pytest.raises(InputError, match="config.optimiser: .*'optimizer'"):
        jaxseg.run(**config, optimiser={}, workdir=str(tmp_path / 'other'))


def test_inspection_shows_frequencies_and_a_contact_sheet(tmp_path, capsys):
    config = runs.write_config(tmp_path)
    assert main(['inspect', f'--config={config}', f'--output={tmp_path}']) == 0
    out = capsys.readouterr().out
    assert 'train: 16 samples' in out and 'circle' in out and 'no problems' in out
    with Image.open(tmp_path / 'contact_sheet.png') as sheet:
        assert sheet.size[0] == 4 * 32


def test_inspection_lists_all_problems_of_all_splits(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    (tmp_path / 'data/train/masks/0.png').unlink()
    (tmp_path / 'data/val/images/1.jpg').write_bytes(b'')
    (tmp_path / 'data/train/images/2.jpg').write_bytes(b'')
    data = "--config.data={'type': 'folder.Folder', 'root': '%s'}" % (tmp_path / 'data')
    assert main(['inspect', f'--config={runs.write_config(tmp_path)}', data,
                 f'--output={tmp_path}']) == 2
    error = capsys.readouterr().err
    assert '3 problems' in error
    for text in ('1 images have no mask', 'val/images/1.jpg', 'train/images/2.jpg'):
        assert text in error


def test_the_work_directory_of_another_experiment_is_refused(trained, tmp_path, capsys):
    config = runs.write_config(tmp_path)
    assert main(['train', f'--config={config}', f'--workdir={trained}', '--config.steps=99',
                 '--config.seed=1']) == 2
    error = capsys.readouterr().err
    assert 'seed = 0' in error and '1' in error
    assert main(['train', f'--config={config}', f'--workdir={trained}', '--config.steps=4']) == 2
    assert 'steps = 12' in capsys.readouterr().err
    assert main(['train', f'--config={config}', f'--workdir={trained}', '--config.report_every=5',
                 '--config.eval_batch_size=8',
                 '--config.inference.type=sliding.SlidingWindow']) == 0


def test_a_checkpoint_that_does_not_fit_the_model_is_refused_with_both_shapes(trained, capsys):
    assert main(['evaluate', f'--workdir={trained}', '--config.model.encoder.widths=[8,16]']) == 2
    error = capsys.readouterr().err
    assert 'does not fit' in error
    assert 'is float32 (8,) in the checkpoint and float32 (16,) in the config' in error


def test_missing_things_are_named_by_every_subcommand(trained, tmp_path, capsys):
    for arguments, word in (
            (['train', '--config=none.py', f'--workdir={tmp_path}'], 'no such file'),
            (['evaluate', f'--workdir={tmp_path}/none'], 'does not exist; train first'),
            (['evaluate', f'--workdir={tmp_path}'], 'config.json is missing'),
            (['evaluate', f'--workdir={trained}', '--split=tset'],
             "no split 'tset'; known: train, val, test"),
            (['evaluate', f'--workdir={trained}', '--checkpoint=7'], "'7' is not in"),
            (['evaluate', f'--workdir={trained}', '--num_images=-1'], '--num_images=-1 '),
            (['evaluate', f'--workdir={trained}', '--match=zebra'],
             "no image of 'val' begins with 'zebra'"),
            (['predict', f'--workdir={trained}', f'--input={tmp_path}/none', '--output=x'],
             'no such file or folder'),
            (['predict', f'--workdir={trained}', f'--input={tmp_path}', '--output=x'],
             'no image in this folder'),
            (['inspect'], 'give --config=FILE')):
        assert main(arguments) == 2
        assert word in capsys.readouterr().err
