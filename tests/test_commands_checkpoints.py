"""Checkpoints and descriptions in a work directory: damaged, deleted, or of other data."""

import json
import pathlib
import shutil
import time

import pytest

from jaxseg.commands import main
from jaxseg.commands.workdir import open_workdir
from jaxseg.errors import InputError
from jaxseg.training.checkpoint import Checkpoints
from tests import runs
from tests.runs import STEPS, refused, state_of, write_image


def test_readers_leave_the_half_written_checkpoint_of_a_running_training_alone(copied, tmp_path):
    half = copied / 'checkpoints' / '6.orbax-checkpoint-tmp' / 'model'
    half.mkdir(parents=True)
    before = state_of(copied / 'checkpoints')
    write_image(tmp_path / 'in' / 'a.png')
    assert main(['predict', f'--workdir={copied}', f'--input={tmp_path}/in',
                 f'--output={tmp_path}/out']) == 0
    time.sleep(0.2)  # Orbax deletes in a thread of its own.
    assert state_of(copied / 'checkpoints') == before
    # The run that writes deletes what a killed one left behind.
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
    (None, 'cannot be read'), ('{"classes": ', 'not JSON'), ('[1]', 'holds a list'),
    ('{}', 'holds nothing')])
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
    for file, arguments in (('config.json', again), ('dataset.json', []), ('model.json', []),
                            ('splits.json', None)):
        (copied / file).write_text('{')
        if arguments is None:  # evaluation does not need it
            assert main(['evaluate', f'--workdir={copied}', '--num_images=0']) == 0
            capfd.readouterr()
        else:
            refused(['evaluate', f'--workdir={copied}'], [str(copied / file)], capfd)
        if file == 'config.json':  # its remedy is to remove it, that of the others to train
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
def test_damage_is_found_before_threads_of_orbax_print_tracebacks(copied, monkeypatch, damage):
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
            [f'checkpoint {path} cannot be read',
             'remove this folder: the checkpoint before it is used then'], capfd)
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


def test_data_that_mean_something_else_are_neither_scored_nor_trained_on(copied, capfd):
    path = copied / 'dataset.json'
    path.write_text(path.read_text().replace('"background"', '"nothing"', 1))
    refused(['evaluate', f'--workdir={copied}', '--split=test'],
            ['dataset.json', "'nothing'", "'background'"], capfd)
    refused(['train', f'--workdir={copied}'], ["'nothing'", 'another --workdir'], capfd)


def test_a_run_resumes_only_with_the_samples_that_it_began_with(tmp_path, capfd):
    runs.write_folder(tmp_path / 'data')
    data = "--config.data={'type': 'folder.Folder', 'root': '%s'}" % (tmp_path / 'data')
    arguments = ['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work',
                 data, *STEPS]
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
    assert main(['train', f'--workdir={tmp_path}/work', f'--config.data.root={moved}',
                 '--config.steps=6']) == 0


def test_a_checkpoint_that_training_has_replaced_is_found_again(copied, monkeypatch):
    found, find = [], Checkpoints.find

    def vanishing(self, which):
        found.append(find(self, which))
        if len(found) == 1:  # as training does, between the listing and the reading
            shutil.rmtree(copied / 'checkpoints' / str(found[0]))
        return found[-1]

    monkeypatch.setattr(Checkpoints, 'find', vanishing)
    step, _ = open_workdir(copied).variables('latest')
    assert (found, step) == ([4, 2], 2)


def test_a_model_with_parameters_of_the_size_of_its_input_is_restored_by_its_record(tmp_path):
    config, work = runs.write_config(tmp_path), tmp_path / 'work'
    assert main(['train', f'--config={config}', f'--workdir={work}', *STEPS,
                 '--config.model.context.type=tests.extension.position:PositionTable']) == 0
    _, variables = open_workdir(work).variables('latest')
    # Images of 32x32 at stride 4; neither the 64x64 of a guess nor the size of the images below.
    assert variables['params']['context']['layers_0']['table'].shape == (1, 8, 8, 8)
    write_image(tmp_path / 'in' / 'a.png', 50)
    assert main(['evaluate', f'--workdir={work}', '--split=test', '--num_images=0']) == 0
    assert main(['predict', f'--workdir={work}', f'--input={tmp_path}/in',
                 f'--output={tmp_path}/out']) == 0
