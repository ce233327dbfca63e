"""The command line from train to predict, in process: what it writes, what it says, and what it refuses."""

import csv
import json

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import jaxseg
from jaxseg.commands import config as configs
from jaxseg.commands import main
from jaxseg.commands.workdir import open_workdir
from jaxseg.errors import InputError
from tests import runs


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    config = runs.write_config(folder)
    assert main(['train', f'--config={config}', f'--workdir={folder}/work']) == 0
    return folder / 'work'


def test_training_leaves_a_whole_work_directory(trained):
    assert {path.name for path in trained.iterdir()} >= {
        'config.json', 'dataset.json', 'model.json', 'splits.json', 'checkpoints', 'metrics.csv', 'events', 'curves.png'}
    with (trained / 'metrics.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row['step']) for row in rows if row['loss']] == [2, 4, 6, 8, 10, 12]
    assert [int(row['step']) for row in rows if row['val_miou']] == [4, 8, 12]
    losses = [float(row['loss']) for row in rows if row['loss']]
    assert losses[-1] < losses[0]
    config, model, splits = (json.loads((trained / f'{name}.json').read_text()) for name in ('config', 'model', 'splits'))
    assert (config['parallel'], config['task'], config['inference']) == (
        'jit', {'type': 'semantic.Semantic'}, {'type': 'whole.Whole'})
    assert model == {'mean': 3 * [0.5], 'std': 3 * [0.25], 'value_range': [0, 255], 'input_shape': [32, 32, 3]}
    assert (splits['train']['count'], splits['val']['names']) == (16, [f'val_00000{i}' for i in range(3)])


def test_evaluation_prints_a_table_and_writes_json_and_pictures(trained, capsys):
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--checkpoint=latest', '--num_images=2']) == 0
    out = capsys.readouterr().out
    assert 'background' in out and 'miou: 0.' in out
    result = json.loads((trained / 'evaluation_test.json').read_text())
    assert (result['split'], result['checkpoint'], result['images']) == ('test', 12, 3)
    assert np.sum(result['confusion_matrix']) == 3 * 32 * 32
    with Image.open(trained / 'predictions' / 'test_test_000000.png') as picture:
        assert picture.size == (3 * 32, 32)
    assert (trained / 'predictions' / 'test.png').is_file()


def test_a_part_of_a_split_is_scored_by_the_beginning_of_its_names(trained):
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--match=test_000001', '--num_images=0']) == 0
    assert json.loads((trained / 'evaluation_test_test_000001.json').read_text())['images'] == 1


def test_prediction_writes_masks_and_overlays_of_any_size(trained, tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / 'in' / 'deep').mkdir(parents=True)
    Image.fromarray(rng.integers(0, 255, (33, 47, 3)).astype(np.uint8)).save(tmp_path / 'in' / 'one.jpg')
    Image.fromarray(rng.integers(0, 255, (20, 90)).astype(np.uint8)).save(tmp_path / 'in' / 'deep' / 'grey.png')
    (tmp_path / 'in' / 'broken.jpg').write_bytes(b'x')
    assert main(['predict', f'--workdir={trained}', f'--input={tmp_path}/in', f'--output={tmp_path}/out']) == 2
    captured = capsys.readouterr()
    assert '2 of 3 images' in captured.out and 'broken.jpg: cannot be decoded' in captured.err
    with Image.open(tmp_path / 'out' / 'one.png') as mask, Image.open(tmp_path / 'out' / 'one_overlay.png') as shown:
        assert (mask.mode, mask.size, shown.size) == ('P', (47, 33), (47, 33))
    with Image.open(tmp_path / 'in' / 'one.jpg') as image, Image.open(tmp_path / 'out' / 'one.png') as mask:
        predict = jaxseg.load(trained)
        np.testing.assert_array_equal(predict(np.array(image)), np.array(mask))
        probabilities = predict.probabilities(np.array(image))
    assert probabilities.shape == (33, 47, 5)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    assert (tmp_path / 'out' / 'deep' / 'grey.png').is_file()


def test_one_inference_path_serves_evaluate_predict_and_load(trained, tmp_path):
    window = ['--config.inference.type=sliding.SlidingWindow', '--config.inference.window=[16,24]']
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--num_images=0', *window]) == 0
    path, = trained.glob('evaluation_test_inference*SlidingWindow*.json')
    result = json.loads(path.read_text())
    assert result['overrides'] == window and np.sum(result['confusion_matrix']) == 3 * 32 * 32
    rng = np.random.default_rng(0)
    (tmp_path / 'in').mkdir()
    for i in range(6):
        Image.fromarray(rng.integers(0, 255, (20 + i, 60 - 2 * i, 3)).astype(np.uint8)).save(tmp_path / 'in' / f'{i}.png')
    assert main(['predict', f'--workdir={trained}', f'--input={tmp_path}/in', f'--output={tmp_path}/out', *window]) == 0
    run = open_workdir(trained, window)
    _, variables = run.variables('best')
    predict = run.predictor(variables)
    for i in range(6):
        with Image.open(tmp_path / 'in' / f'{i}.png') as image, Image.open(tmp_path / 'out' / f'{i}.png') as mask:
            np.testing.assert_array_equal(predict(np.array(image)), np.array(mask))
    assert run.parts.inference.compilations == 1


def test_an_override_without_an_effect_is_refused_by_its_key(trained, tmp_path, capsys):
    for subcommand, override in (('evaluate', 'steps=99'), ('evaluate', 'optimizer.learning_rate=0.1'),
                                 ('evaluate', 'transforms=[]'), ('predict', 'data.root=x'), ('predict', 'seed=1')):
        more = [f'--input={tmp_path}', f'--output={tmp_path}/out'] if subcommand == 'predict' else []
        assert main([subcommand, f'--workdir={trained}', f'--config.{override}', *more]) == 2
        assert f'--config.{override.split("=")[0]}: ' in capsys.readouterr().err


def test_overlapping_classes_are_trained_evaluated_and_predicted_as_one_mask_each(tmp_path):
    config = runs.write_config(tmp_path)
    changes = ['--config.data.overlapping=true', '--config.task={"type": "multilabel.Multilabel", "threshold": 0.4}',
               '--config.losses={"bce": {"type": "binary_cross_entropy.binary_cross_entropy"}}']
    assert main(['train', f'--config={config}', f'--workdir={tmp_path}/work', *changes]) == 0
    assert main(['evaluate', f'--workdir={tmp_path}/work', '--split=test', '--num_images=1']) == 0
    result = json.loads((tmp_path / 'work' / 'evaluation_test.json').read_text())
    assert set(result['classes']) == {'circle', 'square', 'triangle', 'star'} and 0 <= result['miou'] <= 1
    Image.fromarray(np.zeros((33, 47, 3), np.uint8)).save(tmp_path / 'one.png')
    assert main(['predict', f'--workdir={tmp_path}/work', f'--input={tmp_path}/one.png', f'--output={tmp_path}/out']) == 0
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'one_circle.png', 'one_square.png', 'one_triangle.png', 'one_star.png', 'one_overlay.png'}
    predict = jaxseg.load(tmp_path / 'work')
    mask = predict(np.zeros((33, 47, 3), np.uint8))
    assert mask.shape == (33, 47, 4)
    with Image.open(tmp_path / 'out' / 'one_square.png') as square:
        np.testing.assert_array_equal(np.array(square), 255 * mask[..., 1])


def test_a_task_that_does_not_fit_the_data_or_the_losses_is_refused_before_compiling(tmp_path, capsys, monkeypatch):
    config = runs.write_config(tmp_path)
    for change, key in ((['--config.data.overlapping=true'], 'task: '), (['--config.task.type=multilabel.Multilabel'], 'task: '),
                        (['--config.losses={"bce": {"type": "binary_cross_entropy.binary_cross_entropy"}}'],
                         'binary_cross_entropy')):
        refuse(['train', f'--config={config}', f'--workdir={tmp_path}/work', *change], [key], capsys, monkeypatch)


def test_a_run_without_a_validation_split_trains_and_is_scored_on_another(tmp_path):
    config = runs.write_config(tmp_path)
    assert main(['train', f'--config={config}', f'--workdir={tmp_path}/work', '--config.steps=4',
                 '--config.data.samples={"train": 8, "test": 2}']) == 0
    assert 'val_miou' not in (tmp_path / 'work' / 'metrics.csv').read_text()
    assert main(['evaluate', f'--workdir={tmp_path}/work', '--split=test', '--num_images=0']) == 0


def test_a_finished_run_has_nothing_to_do_and_a_run_goes_on_from_its_directory(trained, capsys):
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
    arguments = ['inspect', f'--config={runs.write_config(tmp_path)}', '--config.data=folder', f'--output={tmp_path}']
    arguments[2] = "--config.data={'type': 'folder.Folder', 'root': '%s'}" % (tmp_path / 'data')
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert '3 problems' in captured.err
    assert all(text in captured.err for text in ('1 images have no mask', 'val/images/1.jpg', 'train/images/2.jpg'))


def test_overrides_keep_types_and_reach_into_lists(tmp_path):
    config = configs.from_file(runs.write_config(tmp_path))
    changed = configs.override(config, [
        '--config.steps=7', '--config.optimizer.learning_rate=1', '--config.model.encoder.widths=[4,4]',
        '--config.transforms.0.vertical=0.5', '--config.model.encoder.norm=group', '--config.data.size=(40,48)'])
    assert (changed['steps'], changed['optimizer']['learning_rate'], changed['model']['encoder']) == (
        7, 1.0, {**config['model']['encoder'], 'widths': [4, 4], 'norm': 'group'})
    assert changed['transforms'] == [{'type': 'transforms.RandomFlip', 'vertical': 0.5}]
    assert changed['data']['size'] == [40, 48]
    assert isinstance(changed['optimizer']['learning_rate'], float) and config['steps'] == 12


@pytest.mark.parametrize('argument, words', [
    ('--config.steps=many', ['--config.steps=many: expected int, such as 12']),
    ('--config.optimizer.learning_rate=fast', ['expected float, such as 0.003']),
    ('--config.optimiser.learning_rate=1.0', ["config has no group 'optimiser'; did you mean 'optimizer'? known: data, "]),
    ('--config.steps.many=1', ["config has no group 'steps'; known: data, "]),
    ('--config.optimizer.adam.b1=1', ["config.optimizer has no group 'adam'; it has no groups"]),
    ('--config.transforms.3.p=1', ["has no group '3'"]),
    ('--config.steps', ['no value']),
])
def test_overrides_that_do_not_fit_are_named(tmp_path, argument, words):
    with pytest.raises(InputError) as error:
        configs.override(configs.from_file(runs.write_config(tmp_path)), [argument])
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize('argument, words', [
    ('stepz=3', ['config.stepz', "'steps'"]),
    ('model.encoder.dephth=3', ['model.encoder.dephth', "'depth'"]),
    ('model.encoder.type=vgg_like.VGLike', ['model.encoder', "'vgg_like.VGGLike'", 'resnet.ResNet']),
    ('model.encoder.depth=three', ['--config.model.encoder.depth=three']),
    ('model.encoder.norm=layer', ['norm', "'layer'", 'batch, group']),
    ('model.encoder=none', ['model.encoder']),
    ('model.auxiliary=3', ['model.auxiliary']),
    ('model.context={}', ['model.context']),
    ('model.decoder.widths=[8,8,8]', ['decoder.widths', '(8, 8, 8)']),
    ('model.head={"type": "head.Head", "dropout": 2}', ['model.head.dropout', '2']),
    ('losses.cross_entropy.class_weights=[1.0,2.0]', ['class_weights', '2 ']),
    ('losses.cross_entropy.weight=-1.0', ['losses.cross_entropy.weight', '-1.0']),
    ('losses.cross_entropy.weight=0.0', ['losses']),
    ('losses.loss={"type": "dice.dice"}', ['losses.loss', 'reserved']),
    ('batch_size=0', ['config.batch_size', '0']),
    ('batch_size=3', ['batch_size', '4 devices; give 4']),
    ('eval_batch_size=3', ['eval_batch_size', '4 devices; give 4']),
    ('eval_batch_size=x', ['config.eval_batch_size', "'x'"]),
    ('save_every=x', ['config.save_every', "'x'"]),
    ('workers=-1', ['config.workers', '-1']),
    ('seed=-1', ['config.seed', '-1']),
    ('seed=1099511627776', ['config.seed', '1099511627776']),
    ('steps=1000000000000000000000', ['config.steps']),
    ('optimizer.max_grad_norm=abc', ['optimizer.max_grad_norm', "'abc'"]),
    ('optimizer.b1=2.0', ['optimizer.b1', '2.0']),
    ('optimizer.weight_decay=-1.0', ['optimizer.weight_decay', '-1.0']),
    ('optimizer.learning_rate=1e999', ['optimizer.learning_rate', 'inf']),
    ('losses.cross_entropy.class_weights=abc', ['class_weights', "'abc'"]),
    ('losses.cross_entropy.class_weights=[0,0,0,0,0]', ['class_weights']),
    ('model.encoder.widths=[8.5,8]', ['model.encoder.widths', '(8.5, 8)']),
    ('model.dtype=int32', ['model.dtype', "'int32'", 'float32, bfloat16, float16']),
    ('data.samples={"train": "x"}', ['data.samples']),
    ('parallel=tensor', ['config.parallel', "'tensor'", 'jit, pmap']),
    ('schedule.warmup=99', ['schedule.warmup', '99', '12 steps']),
    ('transforms.0.horizontal=7.0', ['transforms.0.horizontal', '7.0']),
    ('transforms.²=7', ['--config.transforms.²']),
    ('data.samples={"train": 0, "val": 2}', ['train', 'empty']),
    ('inference.type=whole.whole', ['inference', "'whole.Whole'"]),
    ('task.type=os:system', ['task', 'os:system']),
    ('model.encoder.type=os:system', ['model.encoder', 'os:system']),
])
def test_a_bad_config_is_refused_in_one_line_before_anything_is_compiled(tmp_path, capsys, monkeypatch, argument, words):
    config = runs.write_config(tmp_path)
    refuse(['train', f'--config={config}', f'--workdir={tmp_path}/work', f'--config.{argument}'], words, capsys, monkeypatch)
    assert not (tmp_path / 'work' / 'config.json').exists()


def test_an_unknown_argument_is_refused(tmp_path, capsys, monkeypatch):
    refuse(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work', '--confg.steps=3'],
           ["'--confg.steps=3'", '--config.key=value'], capsys, monkeypatch)


def test_an_empty_path_is_refused_and_not_taken_for_the_current_folder(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, name in ((['train', f'--config={runs.write_config(tmp_path)}', '--workdir='], '--workdir'),
                            (['evaluate', '--workdir='], '--workdir'),
                            (['predict', f'--workdir={trained}', '--input=', '--output=x'], '--input'),
                            (['predict', f'--workdir={trained}', f'--input={tmp_path}', '--output='], '--output'),
                            (['inspect', f'--config={runs.write_config(tmp_path)}', '--output='], '--output')):
        assert main(arguments) == 2
        assert f'{name}: empty' in capsys.readouterr().err
    assert not (tmp_path / 'config.json').exists() and not (tmp_path / 'contact_sheet.png').exists()


@pytest.mark.parametrize('workdir', ['{tmp}/' + 300 * 'x', '/proc/run', '{tmp}/a[b', '{tmp}/a*'])
def test_a_workdir_that_cannot_hold_a_run_is_refused_in_one_line(tmp_path, capsys, monkeypatch, workdir):
    refuse(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={workdir.format(tmp=tmp_path)}'], ['--workdir='],
           capsys, monkeypatch)


def test_a_config_that_contains_itself_is_refused_in_one_line(tmp_path, capsys, monkeypatch):
    for line in ("    config['data'] = config\n", "    config['transforms'] = [config]\n", "    config.data = config\n"):
        path = tmp_path / 'circle.py'
        kind = 'ConfigDict({})' if '.data' in line else '{}'
        path.write_text(f'"""Circle."""\nfrom ml_collections import ConfigDict\n\n\ndef get_config():\n    config = {kind}\n'
                        f'{line}    return config\n')
        refuse(['train', f'--config={path}', f'--workdir={tmp_path}/work'], ['config: '], capsys, monkeypatch)


@pytest.mark.parametrize('damage, words', [
    (lambda root: (root / 'train/masks/1.png').unlink(), ['1 images have no mask', ': 1;']),
    (lambda root: (root / 'val/images/1.jpg').unlink(), ['1 masks have no image']),
    (lambda root: (root / 'val/images/1.jpg').write_bytes((root / 'val/images/1.jpg').read_bytes()[:700]),
     ['val/images/1.jpg: cannot be decoded']),
    (lambda root: Image.fromarray(np.full((32, 40), 3, np.uint8)).save(root / 'val/masks/1.png'), ['1.png: label 3 (1280 px)']),
    (lambda root: Image.fromarray(np.zeros((30, 40), np.uint8)).save(root / 'train/masks/1.png'),
     ['mask of 40x30', 'image of 40x32']),
    (lambda root: Image.fromarray(np.full((32, 40, 3), 9, np.uint8)).save(root / 'train/masks/1.png'), ['label 9 (1280 px)']),
    (lambda root: [path.unlink() for path in (root / 'val').rglob('*.*')], ["split 'val' is empty"]),
    (lambda root: root.rename(root.with_name('moved')), ['data.root', 'is no folder']),
])
def test_bad_data_is_refused_in_one_line_before_anything_is_compiled(tmp_path, capsys, monkeypatch, damage, words):
    runs.write_folder(tmp_path / 'data')
    damage(tmp_path / 'data')
    data = "--config.data={'type': 'folder.Folder', 'root': '%s'}" % (tmp_path / 'data')
    refuse(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work', data], words, capsys, monkeypatch)


def refuse(arguments, words, capsys, monkeypatch):
    """Runs a command that must end with status 2, one line of error, and no program compiled."""
    def compiled(*_, **__):
        raise AssertionError('something was compiled before the input was refused')

    monkeypatch.setattr('jax._src.compiler.compile_or_get_cached', compiled)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.count('\n') == 0 and error.startswith('jaxseg train: ')
    assert all(word in error for word in words), error


def test_the_work_directory_of_another_experiment_is_refused(trained, tmp_path, capsys):
    config = runs.write_config(tmp_path)
    assert main(['train', f'--config={config}', f'--workdir={trained}', '--config.steps=99', '--config.seed=1']) == 2
    error = capsys.readouterr().err
    assert 'seed = 0' in error and '1' in error
    assert main(['train', f'--config={config}', f'--workdir={trained}', '--config.steps=4']) == 2
    assert 'steps = 12' in capsys.readouterr().err
    assert main(['train', f'--config={config}', f'--workdir={trained}', '--config.report_every=5',
                 '--config.eval_batch_size=8', '--config.inference.type=sliding.SlidingWindow']) == 0


def test_a_checkpoint_that_does_not_fit_the_model_is_refused_with_both_shapes(trained, capsys):
    assert main(['evaluate', f'--workdir={trained}', '--config.model.encoder.widths=[8,16]']) == 2
    error = capsys.readouterr().err
    assert 'does not fit' in error and 'is (8,) in the checkpoint and (16,) in the config' in error


def test_missing_things_are_named_by_every_subcommand(trained, tmp_path, capsys):
    for arguments, word in (
            (['train', '--config=none.py', f'--workdir={tmp_path}'], 'no such file'),
            (['evaluate', f'--workdir={tmp_path}/none'], 'does not exist; train first'),
            (['evaluate', f'--workdir={tmp_path}'], 'config.json is missing'),
            (['evaluate', f'--workdir={trained}', '--split=tset'], "no split 'tset'; known: train, val, test"),
            (['evaluate', f'--workdir={trained}', '--checkpoint=7'], "'7' is not in"),
            (['evaluate', f'--workdir={trained}', '--num_images=-1'], '--num_images=-1 '),
            (['evaluate', f'--workdir={trained}', '--config.eval_batch_size=3'], 'eval_batch_size: 3 '),
            (['evaluate', f'--workdir={trained}', '--match=zebra'], "no image of 'val' begins with 'zebra'"),
            (['predict', f'--workdir={trained}', f'--input={tmp_path}/none', '--output=x'], 'no such file or folder'),
            (['predict', f'--workdir={trained}', f'--input={tmp_path}', '--output=x'], 'no image in this folder'),
            (['inspect'], 'give --config=FILE')):
        assert main(arguments) == 2
        assert word in capsys.readouterr().err
