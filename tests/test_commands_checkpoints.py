"""Checkpoints and descriptions in a work directory: damaged, deleted, or of other data."""

import json
import pathlib
import shutil
import time

import jax
import numpy as np
import pytest

from jaxseg.commands import main, resume
from jaxseg.commands.workdir import open_workdir
from jaxseg.data import faults
from jaxseg.data.synthetic import Shapes
from jaxseg.errors import InputError
from jaxseg.records import read_record, sealed, write_record
from jaxseg.training import restore
from jaxseg.training.checkpoint import Checkpoints
from tests import runs
from tests.runs import STEPS, refused, state_of, write_image
from tests.selection import default_cases
from tests.workdirs import SMALL, write_workdir


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


@pytest.mark.parametrize('which', ['99', 'best'])
def test_a_checkpoint_that_does_not_exist_is_refused_with_those_that_do(copied, capfd, which):
    if which == 'best':
        shutil.rmtree(copied / 'checkpoints')
    words = ["'99' is not in", 'one of 2, 4'] if which == '99' else ['no checkpoint yet']
    refused(['evaluate', f'--workdir={copied}', f'--checkpoint={which}'], words, capfd)


@pytest.mark.parametrize('content, words', [
    ('{"seed": ', 'not JSON'),
    ('[]', 'holds a list'),
    ('{"seed": 0}', 'sha256 is missing'),
    ('{"seed": 0, "sha256": "00"}', 'sha256 does not match'),
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
    ('{}', 'sha256 is missing'),
    (json.dumps(sealed({'classes': ['a']})), 'holds classes')])
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
    (copied / 'splits.json').write_text('{')  # evaluation does not need it
    assert main(['evaluate', f'--workdir={copied}', '--num_images=0']) == 0
    capfd.readouterr()
    for files, arguments in ((['config.json'], again), (['model.json', 'dataset.json'], [])):
        for file in files:
            (copied / file).write_text('{')
            refused(['evaluate', f'--workdir={copied}'], [str(copied / file)], capfd)
        if file == 'config.json':  # its remedy is to remove it, that of the others to train
            (copied / file).unlink()
        assert main(['train', f'--workdir={copied}', *arguments]) == 0
        assert 'steps 4 to 4' in capfd.readouterr().out
        assert open_workdir(copied).config.steps == 4
    for file in ('config.json', 'model.json', 'dataset.json', 'splits.json'):
        json.loads((copied / file).read_text())


def flip(path: pathlib.Path, *places: float):
    """Changes one bit of a file at each place, a share of its length; by default at many."""
    content = bytearray(path.read_bytes())
    for place in places or np.linspace(0, 1, 20):  # some of the file is free space
        content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


DAMAGE = {
    'manifest': lambda path: truncate(*path.glob('model/manifest.ocdbt')),
    'no manifest': lambda path: (path / 'model/manifest.ocdbt').unlink(),
    'tree': lambda path: truncate(*path.glob('model/d/*')),
    'values': lambda path: truncate(*path.glob('model/ocdbt.process_0/d/*')),
    'no values': lambda path: [file.unlink() for file in path.glob('model/ocdbt.process_0/d/*')],
    'shapes': lambda path: truncate(path / 'model/_METADATA'),
    'no shapes': lambda path: (path / 'model/_METADATA').unlink(),
    'a name': lambda path: rename_array(path / 'model/_METADATA'),
    'places': lambda path: truncate(path / 'model/_sharding'),
    'layout': lambda path: truncate(*path.glob('model/array_metadatas/*')),
    'record': lambda path: truncate(path / 'metrics/metrics'),
    'no record': lambda path: (path / 'metrics/metrics').unlink(),
    'a value': lambda path: flip(largest(path / 'model')),
    'the score': lambda path: change_score(path / 'metrics/metrics'),
}


def largest(folder: pathlib.Path) -> pathlib.Path:
    files = [path for path in folder.rglob('*') if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def rename_array(path: pathlib.Path):
    path.write_text(path.read_text().replace('"key": "kernel"', '"key": "kdrnel"', 1))


def change_score(path: pathlib.Path):
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, 'score': 0.99}))


@pytest.mark.parametrize('damage', default_cases(DAMAGE, (
    'manifest', 'values', 'no shapes', 'a name', 'record', 'a value', 'the score')))
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(copied, capfd, damage):
    path = copied / 'checkpoints' / '4'
    intact = jax.tree.leaves(open_workdir(copied).variables('2')[1])
    DAMAGE[damage](path)
    step, variables = open_workdir(copied).variables('latest')
    assert step == 2
    assert all(map(np.array_equal, intact, jax.tree.leaves(variables)))
    error = capfd.readouterr().err
    assert f'checkpoint {path} is damaged' in error and error.count('\n') == 1, error
    with pytest.raises(InputError) as refusal:  # asked for by its number there is no other
        open_workdir(copied).variables('4')
    assert f'checkpoint {path} is damaged' in str(refusal.value)
    DAMAGE[damage](copied / 'checkpoints' / '2')
    with pytest.raises(InputError, match='no intact checkpoint'):
        open_workdir(copied).variables('best')


def test_a_changed_byte_of_the_arrays_never_changes_what_is_restored(copied):
    path = largest(copied / 'checkpoints' / '4' / 'model')
    content, noticed = path.read_bytes(), 0
    intact = jax.tree.leaves(open_workdir(copied).variables('4')[1])
    for place in np.linspace(0, 1, 6):
        flip(path, place)
        step, variables = open_workdir(copied).variables('latest')
        noticed += step == 2
        assert step == 2 or all(map(np.array_equal, intact, jax.tree.leaves(variables))), place
        path.write_bytes(content)
    assert noticed >= 1
    assert open_workdir(copied).variables('latest')[0] == 4


@pytest.mark.parametrize('item', default_cases(('model', 'training'), ('training',)))
def test_training_continues_from_the_newest_intact_checkpoint(copied, capfd, item):
    path, intact = copied / 'checkpoints' / '4', open_workdir(copied).variables('4')[1]
    truncate(largest(path / item))  # of a changed byte nothing may depend
    damaged = largest(path / item).read_bytes()
    assert main(['train', f'--workdir={copied}']) == 0
    out, error = capfd.readouterr()
    aside = copied / 'damaged_checkpoints' / '4_0'
    assert 'steps 2 to 4' in out
    assert str(aside) in error and error.count('\n') == 1, error
    assert largest(aside / item).read_bytes() == damaged
    again = open_workdir(copied).variables('4')[1]
    assert all(map(np.array_equal, jax.tree.leaves(intact), jax.tree.leaves(again)))


def test_training_does_not_begin_again_where_every_checkpoint_is_damaged(copied, capfd):
    for step in ('2', '4'):
        truncate(copied / 'checkpoints' / step / 'training/manifest.ocdbt')
    before = state_of(copied / 'checkpoints')
    refused(['train', f'--workdir={copied}'], ['no intact checkpoint', 'another --workdir'], capfd)
    assert state_of(copied / 'checkpoints') == before
    assert main(['evaluate', f'--workdir={copied}', '--num_images=0']) == 0  # reads the model only


def truncate(*files: pathlib.Path):
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:file.stat().st_size // 10])


def test_an_error_of_the_program_is_not_taken_for_a_damaged_checkpoint(copied, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr('jaxseg.training.restore._values_digest', broken)
    with pytest.raises(ZeroDivisionError):
        open_workdir(copied).variables('latest')


def test_data_that_mean_something_else_are_neither_scored_nor_trained_on(copied, capfd):
    path = copied / 'dataset.json'
    record = read_record(path)
    write_record(path, {**record, 'classes': ['nothing', *record['classes'][1:]]})
    refused(['evaluate', f'--workdir={copied}', '--split=test'],
            ['dataset.json', "'nothing'", "'background'"], capfd)
    refused(['train', f'--workdir={copied}'], ["'nothing'", 'another --workdir'], capfd)


def test_a_run_resumes_only_with_the_samples_that_it_began_with_but_for_a_few_to_be_skipped(
        tmp_path, capfd, monkeypatch):
    runs.write_folder(tmp_path / 'data')
    data = "--config.data={'type': 'folder.Folder', 'root': '%s'}" % (tmp_path / 'data')
    arguments = ['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work',
                 data, "--config.sampling={'type': 'sampling.ClassBalanced'}", *STEPS]
    assert main(arguments) == 0
    moved = tmp_path / 'moved'
    shutil.copytree(tmp_path / 'data', moved)
    (moved / 'val/images/0.jpg').rename(moved / 'val/images/new.jpg')
    (moved / 'val/masks/0.png').rename(moved / 'val/masks/new.png')
    refused(['train', f'--workdir={tmp_path}/work', f'--config.data.root={moved}'],
            ['splits.json', "'val'", '1 new, 1 missing'], capfd)
    shutil.move(moved / 'val/images/new.jpg', moved / 'val/images/0.jpg')
    shutil.move(moved / 'val/masks/new.png', moved / 'val/masks/0.png')
    mask = (moved / 'val/masks/1.png').read_bytes()
    shutil.copy(moved / 'val/masks/0.png', moved / 'val/masks/1.png')
    refused(['train', f'--workdir={tmp_path}/work', f'--config.data.root={moved}'],
            ['splits.json', "'val'", '1 samples', "'1'"], capfd)
    (moved / 'val/masks/1.png').write_bytes(mask)
    mask = moved / 'train/masks/2.png'
    mask.write_bytes(mask.read_bytes()[:200])
    arguments = ['train', f'--workdir={tmp_path}/work', f'--config.data.root={moved}',
                 '--config.steps=6']
    refused(arguments, ['train/masks/2.png'], capfd)
    arguments.append('--config.damaged_samples=skip')
    refused(arguments, ['1 of 4', 'more than 1%', 'train/masks/2.png'], capfd)
    monkeypatch.setattr(faults, 'SHARE', 0.25)
    assert main(arguments) == 2
    assert "split 'train' has 1 samples whose files were replaced" in capfd.readouterr().err
    monkeypatch.setattr(resume, 'SHARE', 0.25)
    began = read_record(tmp_path / 'work' / 'splits.json')
    assert main(arguments) == 0
    assert 'skipped (1 of 4 samples so far)' in capfd.readouterr().err
    assert read_record(tmp_path / 'work' / 'splits.json') == began  # for those that continue again


def test_a_checkpoint_that_training_has_replaced_is_found_again(copied, capfd, monkeypatch):
    found, find = [], restore.find

    def vanishing(directory, checkpoints, which):
        found.append(find(directory, checkpoints, which))
        if len(found) == 1:  # as training does, between the listing and the reading
            shutil.rmtree(copied / 'checkpoints' / str(found[0]))
        return found[-1]

    monkeypatch.setattr(restore, 'find', vanishing)
    step, _ = open_workdir(copied).variables('latest')
    assert (found, step) == ([4, 2], 2)
    assert not capfd.readouterr().err


def test_a_model_with_parameters_of_the_size_of_its_input_is_restored_by_its_record(tmp_path):
    data = {'type': 'synthetic.Shapes', 'size': [32, 32], 'samples': {'test': 2}}
    table = {'type': 'tests.extension.position:PositionTable'}
    work = write_workdir(tmp_path / 'work', Shapes(size=(32, 32), samples={'test': 2}).spec,
                         {**SMALL, 'context': table})
    _, variables = open_workdir(work, trust=['tests']).variables('latest')
    # Images of 32x32 at stride 4; neither the 64x64 of a guess nor the size of the images below.
    assert variables['params']['context']['layers_0']['table'].shape == (1, 8, 8, 8)
    write_image(tmp_path / 'in' / 'a.png', 50)
    assert main(['evaluate', f'--workdir={work}', '--split=test', '--num_images=0',
                 '--trust=tests', f'--config.data={data!r}']) == 0
    assert main(['predict', f'--workdir={work}', '--trust=tests', f'--input={tmp_path}/in',
                 f'--output={tmp_path}/out']) == 0
