"""The files that a run is given and finds: what lies in the way, what is damaged, what must not be overwritten."""

import json
import pathlib
import shlex
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from jaxseg.commands import main
from jaxseg.commands.paths import command
from jaxseg.commands.predict import find_images
from jaxseg.commands.train import run
from jaxseg.commands.workdir import open_workdir
from jaxseg.errors import InputError
from jaxseg.training.checkpoint import Checkpoints
from tests import runs

STEPS = ['--config.steps=4', '--config.evaluate_every=2', '--config.report_every=4']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    assert main(['train', f'--config={runs.write_config(folder)}', f'--workdir={folder}/work', *STEPS]) == 0
    return folder / 'work'


@pytest.fixture
def copied(trained, tmp_path):
    return pathlib.Path(shutil.copytree(trained, tmp_path / 'work'))


def refused(arguments, words, capfd):
    """Runs a command that must end with status 2 and one line of error that holds all of the words."""
    capfd.readouterr()
    assert main(arguments) == 2
    error = capfd.readouterr().err.strip()
    assert error.count('\n') == 0 and error.startswith(f'jaxseg {arguments[0]}: '), error
    assert all(word in error for word in words), error


def write_image(path: pathlib.Path, size: int = 32):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), 90, np.uint8)).save(path)


def state_of(folder: pathlib.Path) -> dict[pathlib.Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*')}


def test_readers_leave_the_half_written_checkpoint_of_a_running_training_alone(copied, tmp_path):
    half = copied / 'checkpoints' / '6.orbax-checkpoint-tmp' / 'model'
    half.mkdir(parents=True)
    before = state_of(copied / 'checkpoints')
    write_image(tmp_path / 'in' / 'a.png')
    assert main(['predict', f'--workdir={copied}', f'--input={tmp_path}/in', f'--output={tmp_path}/out']) == 0
    time.sleep(0.2)  # Orbax clears away in a thread of its own.
    assert state_of(copied / 'checkpoints') == before
    # The run that writes clears away what a killed one left behind.
    Checkpoints(copied / 'checkpoints').close()
    until = time.monotonic() + 20
    while half.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize('find', ['99', 'best'])
def test_checkpoints_are_closed_after_an_error_too(copied, capfd, monkeypatch, find):
    closed, close = [], Checkpoints.close
    monkeypatch.setattr(Checkpoints, 'close', lambda self: closed.append(close(self)))
    if find == 'best':
        shutil.rmtree(copied / 'checkpoints')
    words = ["'99' is not in", 'one of 2, 4'] if find == '99' else ['no checkpoint yet']
    refused(['evaluate', f'--workdir={copied}', f'--checkpoint={find}'], words, capfd)
    assert len(closed) == 1


@pytest.mark.parametrize('files, given, output, words', [
    (['in/0.png'], 'in', 'in', ['is in --input']),
    (['in/0.png'], 'in', 'in/masks', ['is in --input', 'give a folder outside']),
    (['in/0.png'], 'in/0.png', 'in', ['0.png, a result of', 'would overwrite the image']),
    (['in/x.png', 'in/in/x.jpg'], 'in', '.', ['x.png, a result of', 'would overwrite the image']),
    (['in/x.png', 'in/x.jpg'], 'in', 'out', ['x.png, a result of', 'would overwrite the result of', 'x.jpg']),
    (['in/x.png', 'in/x_overlay.png'], 'in', 'out', ['x_overlay.png, a result of', 'would overwrite the result of']),
])
def test_a_prediction_overwrites_neither_images_nor_results(trained, tmp_path, capfd, files, given, output, words):
    for file in files:
        write_image(tmp_path / file)
    before = state_of(tmp_path)
    refused(['predict', f'--workdir={trained}', f'--input={tmp_path / given}', f'--output={tmp_path / output}'], words, capfd)
    assert state_of(tmp_path) == before


def test_a_prediction_leaves_out_hidden_files(tmp_path):
    for file in ('.hidden/in/a.png', '.hidden/in/deep/b.JPG', '.hidden/in/._a.png', '.hidden/in/.cache/c.png'):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b'')
    targets, skipped = find_images(tmp_path / '.hidden' / 'in')
    assert sum(skipped.values()) == 2
    assert [str(target) for target in targets.values()] == ['a', 'deep/b']


@pytest.mark.parametrize('argument, words', [
    ('--config.model.encoder.widths=[8,16]', ['does not fit', '(16,) in the config']),
    ('--config.model.dtype=float8', ['model.dtype', "'float8'", 'float32']),
    ('--config.batch_sise=3', ['config.batch_sise']),
    ('--config.eval_batch_size=x', ['config.eval_batch_size']),
])
def test_a_prediction_obeys_overrides_of_the_config(trained, tmp_path, capfd, argument, words):
    write_image(tmp_path / 'a.png')
    refused(['predict', f'--workdir={trained}', f'--input={tmp_path}/a.png', f'--output={tmp_path}/out', argument], words, capfd)


@pytest.mark.parametrize('place', ['file', 'file/deeper/still'])
def test_a_file_in_the_place_of_a_folder_is_named(trained, tmp_path, capfd, place):
    (tmp_path / 'file').write_text('')
    write_image(tmp_path / 'in' / 'a.png')
    words = [f'={tmp_path}/{place}: {tmp_path}/file is a file; give a folder']
    refused(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/{place}'], words, capfd)
    refused(['predict', f'--workdir={trained}', f'--input={tmp_path}/in', f'--output={tmp_path}/{place}'], words, capfd)


def test_a_folder_that_takes_no_files_is_named(trained, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr('os.access', lambda *_: False)
    config = runs.write_config(tmp_path)
    refused(['train', f'--config={config}', f'--workdir={tmp_path}/new'], [f'--workdir={tmp_path}/new: {tmp_path} '], capfd)
    refused(['evaluate', f'--workdir={trained}'], [f'--workdir={trained}: {trained} '], capfd)


@pytest.mark.parametrize('content, words', [
    ('{"seed": ', 'not JSON'),
    ('[]', 'holds a list'),
    ('{}', 'steps'),
    ('{"sead": 0}', 'config.sead'),
    ('{"seed": "x"}', 'steps'),
    ('\udcff', 'not JSON'),
])
def test_a_damaged_config_is_named_with_a_remedy(tmp_path, content, words):
    (tmp_path / 'config.json').write_bytes(content.encode(errors='surrogateescape'))
    with pytest.raises(InputError) as error:
        open_workdir(tmp_path)
    for word in (f'{tmp_path}/config.json', words, 'jaxseg train'):
        assert word in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('file', ['dataset.json', 'model.json'])
@pytest.mark.parametrize('content, words', [
    (None, 'cannot be read'), ('{"classes": ', 'not JSON'), ('[1]', 'holds a list'), ('{}', 'holds nothing')])
def test_a_damaged_description_is_named_with_a_remedy(trained, tmp_path, file, content, words):
    for name in ('config.json', 'dataset.json', 'model.json'):
        shutil.copy(trained / name, tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(InputError) as error:
        open_workdir(tmp_path)
    for word in (f'{tmp_path}/{file}: ', words, f'jaxseg train --workdir={tmp_path}'):
        assert word in str(error.value)
    assert '\n' not in str(error.value)


def test_the_remedies_for_damaged_descriptions_work(copied, capfd):
    again = [f'--config={runs.write_config(copied.parent)}', *STEPS]
    for file, arguments in (('config.json', again), ('dataset.json', []), ('model.json', []), ('splits.json', None)):
        (copied / file).write_text('{')
        if arguments is None:  # evaluation does not need it
            assert main(['evaluate', f'--workdir={copied}', '--num_images=0']) == 0
            capfd.readouterr()
        else:
            refused(['evaluate', f'--workdir={copied}'], [str(copied / file)], capfd)
        if file == 'config.json':  # its message says to remove it, the other one's to train alone
            (copied / file).unlink()
        assert main(['train', f'--workdir={copied}', *(arguments or ())]) == 0
        assert 'steps 4 to 4' in capfd.readouterr().out
        assert open_workdir(copied).config.steps == 4
        json.loads((copied / file).read_text())


@pytest.mark.parametrize('damage', [
    lambda path: truncate(*path.glob('model/manifest.ocdbt')),
    lambda path: truncate(*path.glob('model/d/*')),
    lambda path: truncate(*path.glob('model/ocdbt.process_0/d/*')),
    lambda path: [file.unlink() for file in path.glob('model/ocdbt.process_0/d/*')],
    lambda path: truncate(path / 'model/_METADATA'),
    lambda path: truncate(path / 'model/_sharding'),
    lambda path: truncate(*path.glob('model/array_metadatas/*')),
    lambda path: truncate(path / 'metrics/metrics'),
], ids=['manifest', 'tree', 'values', 'no values', 'shapes', 'places', 'layout', 'score'])
def test_damage_is_found_before_orbax_comes_to_it_in_threads_that_print_tracebacks(copied, monkeypatch, damage):
    def orbax(*_, **__):
        raise AssertionError

    path = copied / 'checkpoints' / '4'
    damage(path)
    monkeypatch.setattr('orbax.checkpoint.StandardCheckpointHandler.metadata', orbax)
    with pytest.raises(InputError) as error:
        open_workdir(copied).variables('latest')
    assert f'checkpoint {path} cannot be read' in str(error.value) and '\n' not in str(error.value)
    assert 'AssertionError' not in str(error.value)


def test_what_orbax_itself_finds_is_named(copied):
    path = copied / 'checkpoints' / '4'
    (path / 'model/_METADATA').unlink()
    with pytest.raises(InputError, match=f'checkpoint {path} cannot be read'):
        open_workdir(copied).variables('latest')


def test_the_remedy_for_a_damaged_checkpoint_works(copied, capfd):
    path = copied / 'checkpoints' / '4'
    # Evaluation reads the model only.
    truncate(path / 'training/manifest.ocdbt')
    assert open_workdir(copied).variables('latest')[0] == 4
    refused(['train', f'--workdir={copied}'],
            [f'checkpoint {path} cannot be read', 'remove this folder: the checkpoint before it is used then'], capfd)
    shutil.rmtree(path)
    assert main(['train', f'--workdir={copied}']) == 0
    assert 'steps 2 to 4' in capfd.readouterr().out


def truncate(*files: pathlib.Path):
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:file.stat().st_size // 10])


def test_an_error_of_the_program_is_not_taken_for_a_damaged_checkpoint(copied, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr('jaxseg.training.checkpoint._check_fit', broken)
    with pytest.raises(ZeroDivisionError):
        open_workdir(copied).variables('latest')


def test_a_run_names_the_command_that_scores_it_on_a_split_that_exists(trained, tmp_path, capfd):
    assert main(['train', f'--workdir={trained}']) == 0
    assert f'score it: jaxseg evaluate --workdir={trained} --split=test\n' in capfd.readouterr().out
    few = ['--config.data.samples={"train": 4, "val": 4}', '--config.steps=1', '--config.schedule.warmup=0']
    workdir = tmp_path / 'k 2'
    assert main(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={workdir}', *few]) == 0
    assert f"score it: jaxseg evaluate --workdir='{workdir}' --split=val\n" in capfd.readouterr().out


def test_commands_can_be_pasted(tmp_path):
    line = command('train', config='a b.py', workdir="it's")
    assert shlex.split(line) == ['jaxseg', 'train', '--config=a b.py', "--workdir=it's"]
    with pytest.raises(InputError, match="train first: jaxseg train --config=FILE --workdir='.*/a b'$"):
        open_workdir(tmp_path / 'a b')


def test_data_that_mean_something_else_are_neither_scored_nor_trained_on(copied, capfd):
    path = copied / 'dataset.json'
    path.write_text(path.read_text().replace('"background"', '"nothing"', 1))
    refused(['evaluate', f'--workdir={copied}', '--split=test'], ['dataset.json', "'nothing'", "'background'"], capfd)
    refused(['train', f'--workdir={copied}'], ["'nothing'", 'another --workdir'], capfd)


def test_images_of_a_part_do_not_replace_those_of_the_split(copied):
    for more in ([], ['--match=test_000001']):
        assert main(['evaluate', f'--workdir={copied}', '--split=test', '--num_images=1', *more]) == 0
    assert {'test.png', 'test_test_000001.png'} <= {path.name for path in (copied / 'predictions').iterdir()}


def test_a_script_gets_the_errors_of_the_command_line(copied, tmp_path):
    config = open_workdir(copied).config.to_dict()
    with pytest.raises(InputError, match='^config.steps: '):
        run(**{**config, 'steps': 1e4}, workdir=tmp_path / 'new')
    with pytest.raises(InputError, match='^optimizer.max_grad_norm: 0'):
        run(**{**config, 'optimizer': {**config['optimizer'], 'max_grad_norm': 0}}, workdir=tmp_path / 'new')
    with pytest.raises(InputError, match='^workdir: empty'):
        run(**config, workdir='')
    assert not (tmp_path / 'new').exists()


def test_a_run_resumes_only_with_the_samples_that_it_began_with(tmp_path, capfd):
    runs.write_folder(tmp_path / 'data')
    data = "--config.data={'type': 'folder.Folder', 'root': '%s'}" % (tmp_path / 'data')
    arguments = ['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work', data, *STEPS]
    assert main(arguments) == 0
    assert main(arguments) == 0
    moved = tmp_path / 'moved'
    shutil.copytree(tmp_path / 'data', moved)
    (moved / 'val/images/0.jpg').rename(moved / 'val/images/new.jpg')
    (moved / 'val/masks/0.png').rename(moved / 'val/masks/new.png')
    refused(['train', f'--workdir={tmp_path}/work', f'--config.data.root={moved}'],
            ['splits.json', "'val'", '1 new, 1 missing'], capfd)
    shutil.move(moved / 'val/images/new.jpg', moved / 'val/images/0.jpg')
    shutil.move(moved / 'val/masks/new.png', moved / 'val/masks/0.png')
    assert main(['train', f'--workdir={tmp_path}/work', f'--config.data.root={moved}', '--config.steps=6']) == 0


def test_an_evaluation_looks_again_when_training_has_replaced_its_checkpoint(copied, monkeypatch):
    found, find = [], Checkpoints.find

    def vanishing(self, which):
        found.append(find(self, which))
        if len(found) == 1:  # as the training does it, between the listing and the reading
            shutil.rmtree(copied / 'checkpoints' / str(found[0]))
        return found[-1]

    monkeypatch.setattr(Checkpoints, 'find', vanishing)
    step, _ = open_workdir(copied).variables('latest')
    assert (found, step) == ([4, 2], 2)


def test_a_file_that_cannot_be_read_or_written_ends_no_prediction(trained, tmp_path, capfd):
    for name in ('a', 'b', 'c'):
        write_image(tmp_path / 'in' / f'{name}.png')
    (tmp_path / 'in' / 'b.png').write_bytes(b'no image')
    (tmp_path / 'out' / 'a.png').mkdir(parents=True)  # a folder where a mask is to be
    refused(['predict', f'--workdir={trained}', f'--input={tmp_path}/in', f'--output={tmp_path}/out'],
            ['2 failed', 'b.png', str(tmp_path / 'out' / 'a')], capfd)
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'a.png', 'c.png', 'c_overlay.png'}


def test_names_that_a_terminal_cannot_show_end_no_job(tmp_path):
    result = runs.finish('inspect', f'--config={runs.write_config(tmp_path)}', f'--output={tmp_path}/\u00e9\u6f22',
                         PYTHONIOENCODING='ascii')
    assert result.returncode == 0 and '\\xe9\\u6f22' in result.stdout, result.stderr


def test_scores_are_written_before_anything_is_printed(copied, monkeypatch):
    def broken(*_, **__):
        raise BrokenPipeError(32, 'Broken pipe')

    monkeypatch.setattr('builtins.print', broken)
    with pytest.raises(BrokenPipeError):
        main(['evaluate', f'--workdir={copied}', '--num_images=0'])
    assert (copied / 'evaluation_val.json').is_file()
