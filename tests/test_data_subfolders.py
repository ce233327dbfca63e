"""Images in subfolders: stems that several of these repeat, and lists of them."""

import pathlib

from jaxseg.data.listing import list_images
from tests.test_data_listing import data, names, problem, write


def test_folders_without_images_of_their_own_are_searched_in_depth(tmp_path):
    for name in ('a', 'b/c'):
        write(tmp_path / 'images' / 'train' / 'x' / f'{name}.png')
        write(tmp_path / 'masks' / 'train' / 'y' / f'{name}.png')
    assert names(tmp_path, 'train') == ['a', 'c']


def test_frames_in_a_folder_for_each_video_begin_with_its_name(tmp_path):
    for index, name in enumerate(('x/1', 'x/2', 'y/1', 'z/w/1')):
        for part in ('images', 'masks'):
            write(tmp_path / part / 'train' / f'{name}.png', index % 2)
    source = data(tmp_path).source('train')
    assert source.names == ('x_1', 'x_2', 'y_1', 'z_w_1')
    assert [sample['mask'].max() for sample in source] == [0, 1, 0, 1]
    # Masks of other folders, and a name that two frames would have.
    (tmp_path / 'masks/train/y').rename(tmp_path / 'masks/train/v')
    found = data(tmp_path).problems('train')
    assert len(found) == 2 and all('need the same subfolders' in each for each in found)
    write(tmp_path / 'images' / 'train' / 'z_w' / '1.png')
    assert 'z/w/1.png has the same stem; rename one of them' in problem(tmp_path, 'train')


def test_few_masks_are_paired_although_they_repeat_no_stem(tmp_path):
    for name in ('x/1', 'x/2', 'y/1'):
        write(tmp_path / 'images' / 'train' / f'{name}.png')
    write(tmp_path / 'masks' / 'train' / 'x' / '2.png')
    assert names(tmp_path, 'train', missing_masks='skip') == ['x_2']


def test_lists_name_frames_of_videos_by_their_folders(tmp_path):
    for name in ('x/1', 'x/2', 'y/1'):
        for part in ('images', 'masks'):
            write(tmp_path / part / f'{name}.png')
    (tmp_path / 'lists').mkdir()
    (tmp_path / 'lists/train.txt').write_text('images/all/y/1.png\nx/2\n')
    (tmp_path / 'lists/val.txt').write_text('x_1\n')
    naming = {'lists': 'lists'}
    assert names(tmp_path, 'train', naming=naming) == ['y_1', 'x_2']
    assert names(tmp_path, 'val', naming=naming) == ['x_1']
    group = {'group': '^[^_]+'}
    shares = [names(tmp_path, split, naming=group, splits={'train': 0.5, 'val': 0.5}, split_seed=1)
              for split in ('train', 'val')]
    assert sorted(map(sorted, shares)) == [['x_1', 'x_2'], ['y_1']]


def test_a_folder_is_resolved_once_however_many_there_are(tmp_path, monkeypatch):
    for index in range(20):
        (tmp_path / f'{index}').mkdir()
    resolve, resolved = pathlib.Path.resolve, []
    monkeypatch.setattr(pathlib.Path, 'resolve',
                        lambda path: resolved.append(path) or resolve(path))
    assert list_images(tmp_path, recursive=True)[0] == []
    assert len(resolved) == 21
