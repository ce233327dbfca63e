"""Paths on the command line: what is in the way, what must not be overwritten."""

import shlex
import types

import numpy as np
import pytest

import jaxseg
from jaxseg.commands import main, training
from jaxseg.commands.paths import command, path_argument
from jaxseg.commands.predict import find_images
from jaxseg.commands.training import run
from jaxseg.commands.workdir import open_workdir, read_config
from jaxseg.errors import InputError
from tests import runs
from tests.runs import refused, state_of, write_image


@pytest.mark.parametrize('files, given, output, words', [
    (['in/0.png'], 'in', 'in', ['is in --input']),
    (['in/0.png'], 'in', 'in/masks', ['is in --input', 'give a folder outside']),
    (['in/0.png'], 'in/0.png', 'in', ['0.png, a result of', 'would overwrite the image']),
    (['in/x.png', 'in/in/x.jpg'], 'in', '.', ['x.png, a result of', 'would overwrite the image']),
    (['in/x.png', 'in/x.jpg'], 'in', 'out',
     ['x.png, a result of', 'would overwrite the result of', 'x.jpg']),
    (['in/x.png', 'in/x_overlay.png'], 'in', 'out',
     ['x_overlay.png, a result of', 'would overwrite the result of']),
])
def test_a_prediction_overwrites_neither_images_nor_results(trained, tmp_path, capfd, files, given,
                                                            output, words):
    for file in files:
        write_image(tmp_path / file)
    before = state_of(tmp_path)
    refused(['predict', f'--workdir={trained}', f'--input={tmp_path / given}',
             f'--output={tmp_path / output}'], words, capfd)
    assert state_of(tmp_path) == before


def predict(trained, source, output, *more):
    return ['predict', f'--workdir={trained}', f'--input={source}', f'--output={output}', *more]


def test_a_file_that_predict_has_not_written_is_refused(trained, tmp_path, capfd):
    """A mask drawn by hand beside its image, which no result replaces."""
    for name in ('a.jpg', 'b.jpg', 'a.png', 'out/b_overlay.png'):
        write_image(tmp_path / name)
    before = state_of(tmp_path)
    refused(predict(trained, tmp_path / 'a.jpg', tmp_path),
                 ['--output', f'overwrite {tmp_path}/a.png', 'another folder'], capfd)
    refused(predict(trained, tmp_path / 'b.jpg', tmp_path / 'out', '--resume'),
                 ['out/b_overlay.png'], capfd)
    assert state_of(tmp_path) == before
    # One image after another, again and with other results, into one folder.
    for name, outputs in (('b', 'indices'), ('a', 'overlays'), ('b', 'indices'),
                          ('a', 'colors,polygons'), ('b', 'polygons')):
        assert main(predict(trained, tmp_path / f'{name}.jpg', tmp_path / 'out',
                            f'--outputs={outputs}')) == 0
    write_image(tmp_path / 'out/a.png')  # of a only the overlay was written
    refused(predict(trained, tmp_path / 'a.jpg', tmp_path / 'out'), ['out/a.png'], capfd)
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/coco.json').write_text('mine')
    refused(predict(trained, tmp_path / 'a.jpg', tmp_path / 'other', '--outputs=polygons'),
                 ['other/coco.json'], capfd)


def test_a_prediction_leaves_out_hidden_files(tmp_path):
    for file in ('.hidden/in/a.png', '.hidden/in/deep/b.JPG', '.hidden/in/._a.png',
                 '.hidden/in/.cache/c.png'):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b'')
    targets, skipped = find_images(tmp_path / '.hidden' / 'in')
    assert sum(skipped.values()) == 2
    assert [str(target) for target in targets.values()] == ['a', 'deep/b']


@pytest.mark.parametrize('argument, words', [
    ('--config.model.encoder.widths=[8,16]', ['does not fit', 'float32 (16,) in the config']),
    ('--config.model.dtype=float8', ['model.dtype', "'float8'", 'float32']),
    ('--config.batch_sise=3', ['config.batch_sise']),
    ('--config.eval_batch_size=x', ['config.eval_batch_size']),
])
def test_a_prediction_applies_overrides_of_the_config(trained, tmp_path, capfd, argument, words):
    write_image(tmp_path / 'a.png')
    refused(['predict', f'--workdir={trained}', f'--input={tmp_path}/a.png',
             f'--output={tmp_path}/out', argument], words, capfd)


@pytest.mark.parametrize('place', ['file', 'file/deeper/still'])
def test_a_file_in_the_place_of_a_folder_is_named(trained, tmp_path, capfd, place):
    (tmp_path / 'file').write_text('')
    write_image(tmp_path / 'in' / 'a.png')
    words = [f'={tmp_path}/{place}: {tmp_path}/file is a file; give a folder']
    refused(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/{place}'],
            words, capfd)
    refused(['predict', f'--workdir={trained}', f'--input={tmp_path}/in',
             f'--output={tmp_path}/{place}'], words, capfd)


def test_a_folder_that_takes_no_files_is_named(trained, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr('os.access', lambda *_: False)
    config = runs.write_config(tmp_path)
    refused(['train', f'--config={config}', f'--workdir={tmp_path}/new'],
            [f'--workdir={tmp_path}/new: {tmp_path} '], capfd)
    refused(['evaluate', f'--workdir={trained}'], [f'--workdir={trained}: {trained} '], capfd)


def test_a_run_names_the_command_that_scores_it_on_a_split_that_exists(trained, tmp_path, capfd):
    assert main(['train', f'--workdir={trained}']) == 0
    assert f'score it: jaxseg evaluate --workdir={trained} --split=test\n' in capfd.readouterr().out
    few = ['--config.data.samples={"train": 4, "val": 4}', '--config.steps=1',
           '--config.schedule.warmup=0']
    workdir = tmp_path / 'k 2'
    assert main(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={workdir}',
                 *few]) == 0
    out = capfd.readouterr().out
    assert f"score it: jaxseg evaluate --workdir='{workdir}' --split=val\n" in out


def test_a_run_is_not_scored_on_a_test_split_without_labels(trained, capfd, monkeypatch):
    void, labelled = ([{'mask': np.array([[label]])}] for label in (255, 0))
    dataset = types.SimpleNamespace(
        spec=types.SimpleNamespace(splits=('train', 'val', 'test'), ignore_index=255),
        source={'train': labelled, 'val': labelled, 'test': void}.get)
    monkeypatch.setattr(training, 'train_in', lambda *_: training.Trained(dataset, 1, True))
    assert run(**open_workdir(trained).config.to_dict(), workdir=trained)
    assert capfd.readouterr().out.endswith('--split=val\n')


def test_commands_can_be_pasted(tmp_path):
    line = command('train', config='a b.py', workdir="it's")
    assert shlex.split(line) == ['jaxseg', 'train', '--config=a b.py', "--workdir=it's"]
    remedy = "train first: jaxseg train --config=FILE --workdir='.*/a b'$"
    with pytest.raises(InputError, match=remedy):
        open_workdir(tmp_path / 'a b')


def test_the_home_folder_may_be_written_as_a_tilde(trained, monkeypatch):
    monkeypatch.setenv('HOME', str(trained.parent))
    home = f'~/{trained.name}'
    opened = open_workdir(home)
    assert path_argument(home, '--workdir') == opened.path == trained
    assert read_config(home) == read_config(trained)  # `train` and `inspect` begin with it
    assert jaxseg.load(home).classes == opened.spec.classes


def test_images_of_a_part_do_not_replace_those_of_the_split(copied):
    for more in ([], ['--match=test_000001']):
        assert main(['evaluate', f'--workdir={copied}', '--split=test', '--num_images=1',
                     *more]) == 0
    written = {path.name for path in (copied / 'predictions').iterdir()}
    assert {'test.png', 'test_test_000001.png'} <= written


def test_a_script_gets_the_errors_of_the_command_line(copied, tmp_path):
    config = open_workdir(copied).config.to_dict()
    with pytest.raises(InputError, match='^config.steps: '):
        run(**{**config, 'steps': 1e4}, workdir=tmp_path / 'new')
    with pytest.raises(InputError, match='^optimizer.max_grad_norm: 0'):
        run(**{**config, 'optimizer': {**config['optimizer'], 'max_grad_norm': 0}},
            workdir=tmp_path / 'new')
    with pytest.raises(InputError, match='^workdir: empty'):
        run(**config, workdir='')
    assert not (tmp_path / 'new').exists()


def test_a_file_that_cannot_be_read_or_written_ends_no_prediction(trained, tmp_path, capfd):
    for name in ('a', 'b', 'c'):
        write_image(tmp_path / 'in' / f'{name}.png')
    (tmp_path / 'in' / 'b.png').write_bytes(b'no image')
    (tmp_path / 'out' / 'a.png').mkdir(parents=True)  # a folder where a mask is to be
    refused(['predict', f'--workdir={trained}', f'--input={tmp_path}/in',
             f'--output={tmp_path}/out'],
            ['2 failed', 'b.png', str(tmp_path / 'out' / 'a')], capfd)
    written = {path.name for path in (tmp_path / 'out').iterdir()}
    assert written == {'a.png', 'c.png', 'c_overlay.png', 'predict.jsonl'}


def test_names_that_a_terminal_cannot_show_end_no_job(tmp_path):
    result = runs.finish('inspect', f'--config={runs.write_config(tmp_path)}',
                         f'--output={tmp_path}/\u00e9\u6f22', PYTHONIOENCODING='ascii')
    assert result.returncode == 0 and '\\xe9\\u6f22' in result.stdout, result.stderr


def test_scores_are_written_before_anything_is_printed(copied, monkeypatch):
    def broken(*_, **__):
        raise BrokenPipeError(32, 'Broken pipe')

    monkeypatch.setattr('builtins.print', broken)
    with pytest.raises(BrokenPipeError):
        main(['evaluate', f'--workdir={copied}', '--num_images=0'])
    assert (copied / 'evaluation_val.json').is_file()
