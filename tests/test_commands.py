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
        'config.json', 'dataset.json', 'checkpoints', 'metrics.csv', 'events', 'curves.png'}
    with (trained / 'metrics.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row['step']) for row in rows if row['loss']] == [2, 4, 6, 8, 10, 12]
    assert [int(row['step']) for row in rows if row['val_miou']] == [4, 8, 12]
    losses = [float(row['loss']) for row in rows if row['loss']]
    assert losses[-1] < losses[0]
    assert json.loads((trained / 'config.json').read_text())['parallel'] == 'jit'


def test_evaluation_prints_a_table_and_writes_json_and_pictures(trained, capsys):
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--checkpoint=latest', '--pictures=2']) == 0
    out = capsys.readouterr().out
    assert 'background' in out and 'miou: 0.' in out
    result = json.loads((trained / 'evaluation_test.json').read_text())
    assert (result['split'], result['checkpoint'], result['images']) == ('test', 12, 3)
    assert np.sum(result['confusion_matrix']) == 3 * 32 * 32
    with Image.open(trained / 'predictions' / 'test_test_000000.png') as picture:
        assert picture.size == (3 * 32, 32)
    assert (trained / 'predictions' / 'test.png').is_file()


def test_a_part_of_a_split_is_scored_by_the_beginning_of_its_names(trained):
    assert main(['evaluate', f'--workdir={trained}', '--split=test', '--match=test_000001', '--pictures=0']) == 0
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


def test_prediction_compiles_few_times_for_many_sizes(trained):
    predict = jaxseg.load(trained)
    for i in range(12):
        predict(np.zeros((20 + i, 60 - 2 * i, 3), np.uint8))
    assert predict.probabilities_of._cache_size() <= 2


def test_a_finished_run_has_nothing_to_do_and_a_run_goes_on_from_its_directory(trained, capsys):
    before = (trained / 'metrics.csv').read_bytes()
    assert main(['train', f'--workdir={trained}']) == 0
    assert 'steps 12 to 12' in capsys.readouterr().out
    assert (trained / 'metrics.csv').read_bytes() == before


def test_run_is_the_same_from_python(tmp_path):
    config = ConfigDict(configs.from_file(runs.write_config(tmp_path)))
    config.steps = 4
    assert jaxseg.run(**config, workdir=str(tmp_path / 'work'))
    with pytest.raises(TypeError, match='optimiser'):
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
    ('--config.optimiser.learning_rate=1.0', ["config holds no group 'optimiser'; did you mean 'optimizer'? known: data, "]),
    ('--config.steps.many=1', ["config holds no group 'steps'; known: data, "]),
    ('--config.optimizer.adam.b1=1', ["config.optimizer holds no group 'adam'; it holds no group at all"]),
    ('--config.transforms.3.p=1', ["holds no group '3'"]),
    ('--config.steps', ['no value']),
])
def test_overrides_that_do_not_fit_are_named(tmp_path, argument, words):
    with pytest.raises(InputError) as error:
        configs.override(configs.from_file(runs.write_config(tmp_path)), [argument])
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize('arguments, words', [
    (['--config.stepz=3'], ["config.stepz: run has no field 'stepz'", "did you mean 'steps'"]),
    (['--config.model.encoder.dephth=3'], ['model.encoder.dephth', "did you mean 'depth'"]),
    (['--config.model.encoder.type=vgg_like.VGGLik'], ["did you mean 'vgg_like.VGGLike'", 'resnet.ResNet']),
    (['--config.model.encoder.depth=three'], ['--config.model.encoder.depth=three: expected int']),
    (['--config.model.encoder.norm=layer'], ["norm: 'layer' is unknown; known: batch, group"]),
    (['--config.model.decoder.widths=[8,8,8]'], ['3 widths (8, 8, 8) go beyond stride 1']),
    (['--config.losses.cross_entropy.class_weights=[1.0,2.0]'], ['class_weights: 2 weights for 5 classes']),
    (['--config.batch_size=0'], ['batch_size: 0 is not at least 1']),
    (['--config.eval_batch_size=3'], ['eval_batch_size: 3 does not divide by the 4 devices; give 4']),
    (['--config.eval_batch_size=x'], ["config.eval_batch_size: expected int | None, got 'x'"]),
    (['--config.save_every=x'], ["config.save_every: expected int | None, got 'x'"]),
    (['--config.workers=-1'], ['workers: -1 is not at least 0']),
    (['--config.seed=-1'], ['seed: -1 is not at least 0']),
    (['--config.seed=1099511627776'], ['seed: 1099511627776 does not fit into 32 bits; give 0 to 2147483647']),
    (['--config.optimizer.clip=abc'], ["optimizer.clip: expected float | None, got 'abc'"]),
    (['--config.losses.cross_entropy.class_weights=abc'], ["class_weights: expected Sequence[float] | None, got 'abc'"]),
    (['--config.model.encoder.widths=[8.5,8]'], ['model.encoder.widths: expected tuple[int, ...], got (8.5, 8)']),
    (['--config.model.dtype=int32'], ["model.dtype: 'int32' is unknown; known: float32, bfloat16, float16"]),
    (['--config.data.samples={"train": "x"}'], ["data.samples: expected Mapping[str, int], got {'train': 'x'}"]),
    (['--config.parallel=tensor'], ["parallel: 'tensor' is unknown; known: jit, pmap"]),
    (['--config.schedule.warmup=99'], ['schedule.warmup: 99 does not fit into 12 steps']),
    (['--config.transforms.0.horizontal=7.0'], ['transforms.RandomFlip']),
    (['--config.data.samples={"train": 0, "val": 2}'], ['training split is empty']),
    (['--confg.steps=3'], ["unknown argument '--confg.steps=3'", '--config.key=value']),
])
def test_bad_configs_are_refused_in_one_line_before_anything_is_compiled(tmp_path, capsys, monkeypatch, arguments, words):
    config = runs.write_config(tmp_path)
    refuse(['train', f'--config={config}', f'--workdir={tmp_path}/work', *arguments], words, capsys, monkeypatch)
    assert not (tmp_path / 'work' / 'config.json').exists()


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

    monkeypatch.setattr('jaxseg.training.parallel.put_state', compiled)
    monkeypatch.setattr('jax._src.compiler.compile_or_get_cached', compiled)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.count('\n') == 0 and error.startswith('jaxseg train: ')
    assert all(word in error for word in words), error


def test_the_work_directory_of_another_experiment_is_refused(trained, tmp_path, capsys):
    config = runs.write_config(tmp_path)
    assert main(['train', f'--config={config}', f'--workdir={trained}', '--config.steps=99', '--config.seed=1']) == 2
    error = capsys.readouterr().err
    assert 'holds a run with seed = 0, this config has 1' in error and '1 more keys differ' in error
    assert main(['train', f'--config={config}', f'--workdir={trained}', '--config.report_every=5']) == 0


def test_a_checkpoint_that_does_not_fit_the_model_is_refused_with_both_shapes(trained, capsys):
    assert main(['evaluate', f'--workdir={trained}', '--config.model.encoder.widths=[8,16]']) == 2
    error = capsys.readouterr().err
    assert 'does not fit the model' in error and 'is (8,) in the checkpoint and (16,) in the model' in error


def test_missing_things_are_named_by_every_verb(trained, tmp_path, capsys):
    for arguments, word in (
            (['train', '--config=none.py', f'--workdir={tmp_path}'], 'no such file'),
            (['evaluate', f'--workdir={tmp_path}/none'], 'does not exist; train first'),
            (['evaluate', f'--workdir={tmp_path}'], 'config.json is missing'),
            (['evaluate', f'--workdir={trained}', '--split=tset'], "no split 'tset'; known: train, val, test"),
            (['evaluate', f'--workdir={trained}', '--checkpoint=7'], "'7' is not in"),
            (['evaluate', f'--workdir={trained}', '--pictures=-1'], '--pictures=-1 is negative; give 0 or more'),
            (['evaluate', f'--workdir={trained}', '--config.eval_batch_size=3'], 'eval_batch_size: 3 does not divide'),
            (['evaluate', f'--workdir={trained}', '--match=zebra'], "no image of 'val' begins with 'zebra'"),
            (['predict', f'--workdir={trained}', f'--input={tmp_path}/none', '--output=x'], 'no such file or folder'),
            (['predict', f'--workdir={trained}', f'--input={tmp_path}', '--output=x'], 'no image in this folder'),
            (['inspect'], 'give --config=FILE')):
        assert main(arguments) == 2
        assert word in capsys.readouterr().err
