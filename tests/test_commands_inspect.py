"""`jaxseg inspect`: its arguments, its output, and the problems that it finds."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxseg.commands import main
from tests import runs


def inspect(tmp_path, *arguments):
    return main(['inspect', f'--config={runs.write_config(tmp_path)}', f'--output={tmp_path}/out',
                 *arguments])


def of_folder(root, **fields):
    return f'--config.data={dict(type="folder.Folder", root=str(root), **fields)!r}'


def test_a_config_without_data_is_refused_in_one_line(tmp_path, capsys):
    without = ('whole = get_config\n\n\ndef get_config():\n    config = whole()\n'
               '    del config.data\n    return config\n')
    (tmp_path / 'bare.py').write_text(f'{runs.CONFIG}\n\n{without}')
    assert main(['inspect', f'--config={tmp_path}/bare.py', f'--output={tmp_path}']) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'data' in error


def test_a_data_set_needs_train_and_all_of_its_splits_are_inspected(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    (tmp_path / 'data' / 'val').rename(tmp_path / 'data' / 'dev')
    (tmp_path / 'data' / 'dev' / 'images' / 'notes.txt').write_text('x')
    assert inspect(tmp_path, of_folder(tmp_path / 'data')) == 0
    out = capsys.readouterr().out
    assert 'train: 4 samples\n' in out and 'dev: 4 samples (1 left out: 1 .txt)\n' in out
    (tmp_path / 'data' / 'train').rename(tmp_path / 'data' / 'val')
    assert inspect(tmp_path, of_folder(tmp_path / 'data')) == 2
    captured = capsys.readouterr()
    assert 'dev: 4 samples' in captured.out and 'no problems' not in captured.out
    assert "no split 'train'; known: val, dev; add " in captured.err


def test_overlapping_masks_are_counted_and_shown(tmp_path, capsys):
    assert inspect(tmp_path, '--config.data.overlapping=True') == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for name in ('circle', 'square', 'triangle', 'star'):
        assert sum(row[0] == name for row in rows if row) == 3
    assert (tmp_path / 'out' / 'contact_sheet.png').is_file()


def test_what_cannot_be_learned_from_is_a_problem(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    for path in (tmp_path / 'data/val/masks').iterdir():
        Image.fromarray(np.full((32, 40), 255, np.uint8)).save(path)
    for part, end in (('images', 'jpg'), ('masks', 'png')):
        shutil.copy(tmp_path / f'data/train/{part}/0.{end}', tmp_path / f'data/val/{part}/0.{end}')
        shutil.copy(tmp_path / f'data/train/{part}/0.{end}', tmp_path / f'data/val/{part}/9.{end}')
    Image.fromarray(np.full((32, 40), 255, np.uint8)).save(tmp_path / 'data/val/masks/0.png')
    Image.fromarray(np.full((32, 40), 255, np.uint8)).save(tmp_path / 'data/val/masks/9.png')
    assert inspect(tmp_path, of_folder(tmp_path / 'data')) == 2
    error = capsys.readouterr().err
    assert '3 problems' in error and 'no pixel of 5 masks is labelled' in error
    assert "1 images of 'train' are also in 'val'" in error
    assert "1 images of 'val' are also in 'train'" in error


def test_sizes_that_make_no_batch_and_splits_without_samples_are_problems(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    for part, end in (('images', 'jpg'), ('masks', 'png')):
        path = tmp_path / f'data/train/{part}/2.{end}'
        Image.open(path).crop((0, 0, 30, 20)).save(path)
    assert inspect(tmp_path, of_folder(tmp_path / 'data')) == 2
    error = capsys.readouterr().err
    assert '1 problems' in error and '20x30' in error and '32x40' in error
    crop = "--config.transforms=[{'type': 'transforms.RandomCrop', 'size': [16, 16]}]"
    assert inspect(tmp_path, of_folder(tmp_path / 'data'), crop) == 0
    assert inspect(tmp_path, "--config.data.samples={'train': 4, 'val': 0}") == 2
    assert 'val: no samples' in capsys.readouterr().err


def test_problems_of_listings_options_and_files_are_all_listed(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    (tmp_path / 'data/train/masks/0.png').unlink()
    Image.fromarray(np.full((32, 40), 1, np.uint8)).save(tmp_path / 'data/train/masks/1.png',
                                                         format='JPEG')
    Image.fromarray(np.full((32, 40), 9, np.uint8)).save(tmp_path / 'data/val/masks/2.png')
    assert inspect(tmp_path, of_folder(tmp_path / 'data')) == 2
    error = capsys.readouterr().err
    assert '3 problems' in error
    assert '1 images have no mask' in error and '1.png: a mask must not be lossy' in error
    assert '2.png: label 9' in error
    assert not (tmp_path / 'out' / 'contact_sheet.png').exists()
    # An option that cannot be used hides the files of a split, but not what its listing has.
    labels = {'label_map': {0: 1}, 'reduce_zero_label': True}
    assert inspect(tmp_path, of_folder(tmp_path / 'data', labels=labels)) == 2
    error = capsys.readouterr().err
    assert '1 images have no mask' in error and error.count('contradict each other') == 2


def test_a_fold_of_a_broken_folder_lists_its_problems_and_those_of_its_files(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    (tmp_path / 'data/train/masks/0.png').unlink()
    Image.fromarray(np.full((32, 40), 9, np.uint8)).save(tmp_path / 'data/val/masks/2.png')
    folder = dict(type='folder.Folder', root=str(tmp_path / 'data'))
    assert inspect(tmp_path, f'--config.data={dict(type="folds.Fold", data=folder)!r}') == 2
    error = capsys.readouterr().err
    assert '2 problems' in error and '1 images have no mask' in error and '2.png: label 9' in error


def test_what_masks_do_not_show_is_told(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    two = {'classes': ['background', 'cell'], 'ignore_index': 255}
    (tmp_path / 'data/dataset.json').write_text(json.dumps(two))
    for split, high in (('train', 255), ('val', 1)):
        for path in (tmp_path / f'data/{split}/masks').iterdir():
            half = (np.arange(32 * 40).reshape(32, 40) % 2 * high).astype(np.uint8)
            Image.fromarray(half).save(path)
    assert inspect(tmp_path, of_folder(tmp_path / 'data')) == 2
    error = capsys.readouterr().err
    assert '1 problems' in error and "if 255 is 'cell', set data.labels.binary=true" in error
    assert inspect(tmp_path, of_folder(tmp_path / 'data', labels={'binary': True})) == 0
    assert 'note' not in capsys.readouterr().out
    three = {'classes': ['background', 'cell', 'wall'], 'labels': {'label_map': {255: 1}}}
    assert inspect(tmp_path, of_folder(tmp_path / 'data', ignore_index=254, **three)) == 0
    assert capsys.readouterr().out.count("no mask of the split 'train' shows wall") == 1


def test_the_contact_sheet_says_which_augmentation_it_lacks(tmp_path, capsys):
    parts = [{'type': 'device_geometry.Flip'}, {'type': 'device_mixing.ClassMix'}]
    augment = {'type': 'device_transforms.Augment', 'augmentations': parts}
    assert inspect(tmp_path, f'--config.preprocess={augment!r}') == 0
    assert 'samples (without Flip, ClassMix on the device): ' in capsys.readouterr().out


def test_notes_beside_the_lists_of_a_flat_folder_are_no_splits(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    for part in ('images', 'masks'):
        (tmp_path / 'data/train' / part).rename(tmp_path / 'data' / part)
    for name, text in (('train', '0\n1\n'), ('val', '2\n3\n'), ('README', 'Cells of 2024.\n')):
        (tmp_path / 'data' / f'{name}.txt').write_text(text)
    for path in sorted((tmp_path / 'data/val').rglob('*'), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / 'data/val').rmdir()
    assert inspect(tmp_path, of_folder(tmp_path / 'data')) == 0
    out = capsys.readouterr().out
    assert 'train: 2 samples' in out and 'val: 2 samples' in out and 'README' not in out
    assert out.count('pixel values 0 to 255, data.value_range 0 to 255') == 2
    assert (tmp_path / 'out' / 'contact_sheet.png').is_file()


def test_a_dataset_json_that_cannot_be_used_is_one_line(tmp_path, capsys):
    runs.write_folder(tmp_path / 'data')
    (tmp_path / 'data/dataset.json').write_text(json.dumps(['a', 'b']))
    assert inspect(tmp_path, of_folder(tmp_path / 'data')) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'dataset.json: holds a list' in error


@pytest.mark.parametrize('below', ['', '/deeper'])
def test_an_output_that_is_a_file_is_refused_in_one_line(tmp_path, capsys, below):
    (tmp_path / 'file').write_text('mine')
    assert inspect(tmp_path, f'--output={tmp_path}/file{below}') == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and f'--output={tmp_path}/file{below}: ' in error
    assert (tmp_path / 'file').read_text() == 'mine'
