"""Which files are images, and their splits: hidden files, patterns, encodings of names."""

import os
import pathlib
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.folder import Folder
from jaxseg.data.listing import describe_skipped, list_images, resolve_entry
from jaxseg.errors import InputError

PIXELS = np.zeros((4, 5), np.uint8)


def write(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS + np.uint8(value)).save(path, format='PNG')


def pair(root, stem, split='', layout='flat', value=0):
    """A grey image and a mask of class 0, in one of the three layouts."""
    for part, shade in (('images', value), ('masks', 0)):
        folder = {'flat': root / part, 'inner': root / part / split,
                  'outer': root / split / part}[layout]
        write(folder / f'{stem}.png', shade)


def data(root, **fields):
    return Folder(str(root), **{'classes': ('a', 'b'), 'channels': 1, **fields})


def names(root, split, **fields):
    return list(data(root, **fields).source(split).names)


def test_files_that_are_no_images_are_left_out_and_counted(tmp_path):
    for name in ('a.PNG', 'b.jPg', '.hidden.png', '._a.png'):
        write(tmp_path / name)
    for name in ('notes.txt', 'more.txt', 'Thumbs.db', 'bare'):
        (tmp_path / name).write_text('x')
    for name in ('@eaDir', '__MACOSX', '.ipynb_checkpoints', 'sub'):
        write(tmp_path / name / 'c.png')
    (tmp_path / 'link.png').symlink_to(tmp_path / 'a.PNG')
    (tmp_path / 'lost.png').symlink_to(tmp_path / 'nowhere.png')
    files, skipped = list_images(tmp_path)
    assert [path.name for path in files] == ['a.PNG', 'b.jPg', 'link.png']
    assert skipped == {'hidden or system': 6, '.txt': 2, 'without suffix': 1, 'folder': 1,
                       'broken link': 1}
    assert describe_skipped(skipped) == (
        '11 left out: 6 hidden or system, 2 .txt, 1 broken link, 1 folder, 1 without suffix')
    assert describe_skipped({}) == ''


def test_subfolders_are_listed_where_asked_for_and_links_in_circles_end(tmp_path):
    for name in ('b/c.png', 'a.png', 'b/@eaDir/x.png', '__MACOSX/y.png', 'd/e/f.png'):
        write(tmp_path / name)
    (tmp_path / 'd' / 'above').symlink_to(tmp_path, target_is_directory=True)
    files, skipped = list_images(tmp_path, recursive=True)
    assert [str(path.relative_to(tmp_path)) for path in files] == ['a.png', 'b/c.png', 'd/e/f.png']
    assert skipped == {'hidden or system': 2}
    with pytest.raises(InputError, match='nowhere: cannot be listed'):
        list_images(tmp_path / 'nowhere')


@pytest.mark.parametrize('name', ['[2024] set', 'what?*', '{a,b}', 'ünï', "it's", 'a b', '~',
                                  '$HOME', '%s'])
@pytest.mark.parametrize('layout', ['flat', 'inner', 'outer'])
def test_names_mean_themselves(tmp_path, name, layout):
    root = tmp_path / name
    pair(root, name, name, layout, value=1)
    pair(root, 'other', name, layout, value=2)
    if layout == 'flat':
        (root / f'{name}.txt').write_text(f'{name}\n', encoding='utf-8')
    assert data(root).spec.splits == (name,)
    assert names(root, name) == ([name] if layout == 'flat' else sorted([name, 'other']))
    source = data(root).source(name)
    assert source[source.names.index(name)]['image'].max() == 1


@pytest.mark.parametrize('layout', ['inner', 'outer'])
def test_folders_of_a_system_are_no_splits(tmp_path, layout):
    for split in ('train', '@eaDir', '__MACOSX', '.ipynb_checkpoints', '$RECYCLE.BIN'):
        pair(tmp_path, 'a', split, layout)
    assert data(tmp_path).spec.splits == ('train',)


@pytest.mark.parametrize('layout', ['inner', 'outer'])
def test_a_split_with_masks_alone_misses_its_images(tmp_path, layout):
    for split in ('train', 'val'):
        pair(tmp_path, 'a', split, layout)
    images = tmp_path / ('images/val' if layout == 'inner' else 'val/images')
    shutil.rmtree(images)
    assert data(tmp_path).spec.splits == ('train', 'val')
    with pytest.raises(InputError) as error:
        data(tmp_path).source('val')
    assert str(images) in str(error.value)


@pytest.mark.parametrize('line', [
    'x.1', 'x.1.png', 'x.1.PNG', 'images/x.1.png', './images/x.1', 'images\\x.1.png',
    '/somewhere/else/x.1.png',
    'x.1_rgb', 'x.1_rgb.png', 'images/x.1_rgb.tif'])
@pytest.mark.parametrize('form', ['{}', '\ufeff{}\r\n\r\n', '\n  {}  \n', '{}\r'])
def test_a_list_may_be_written_in_any_way(tmp_path, line, form):
    for part, end in (('images', '_rgb'), ('masks', '')):
        write(tmp_path / part / f'x.1{end}.png')
        write(tmp_path / part / f'y{end}.png')
    (tmp_path / 'train.txt').write_bytes(form.format(line).encode())
    assert names(tmp_path, 'train', naming={'image_suffix': '_rgb'}) == ['x.1']


def test_a_stem_that_looks_like_a_file_name_is_found_as_it_is():
    assert resolve_entry('a.png', {'a', 'a.png'}, ()) == 'a.png'
    assert resolve_entry('v1.2', {'v1.2'}, ()) == resolve_entry('d/v1.2', {'v1.2'}, ()) == 'v1.2'


def problem(root, split, **fields):
    with pytest.raises(InputError) as error:
        data(root, **fields).source(split)
    assert '\n' not in str(error.value)
    assert str(error.value) in data(root, **fields).problems(split)
    return str(error.value)


@pytest.mark.parametrize('encoding', ['latin-1', 'utf-16'])
def test_a_list_in_another_encoding_is_refused(tmp_path, encoding):
    pair(tmp_path, 'a')
    (tmp_path / 'train.txt').write_text('a\nå\n', encoding=encoding)
    with pytest.raises(InputError, match='train.txt: cannot be read as UTF-8'):
        data(tmp_path).source('train')


def test_a_stem_twice_in_a_list_or_in_two_lists_is_a_problem(tmp_path):
    for stem in 'abc':
        pair(tmp_path, stem)
    (tmp_path / 'train.txt').write_text('a\nb\nimages/a.png\n')
    (tmp_path / 'val.txt').write_text('c\n')
    message = problem(tmp_path, 'train')
    assert '1 stems are named twice in ' in message and 'train.txt: a;' in message
    (tmp_path / 'train.txt').write_text('a\nc\n')
    for split, other in (('train', 'val'), ('val', 'train')):
        assert f"1 images of '{split}' are also in '{other}'" in problem(tmp_path, split)
    # A list of all, as PASCAL VOC has it, repeats the others by intention.
    (tmp_path / 'val.txt').write_text('b\n')
    (tmp_path / 'trainval.txt').write_text('a\nb\nc\n')
    assert [len(names(tmp_path, split)) for split in data(tmp_path).spec.splits] == [2, 1, 3]


@pytest.mark.parametrize('layout', ['inner', 'outer'])
def test_the_same_file_in_two_split_folders_is_a_problem_the_same_number_is_none(tmp_path, layout):
    pair(tmp_path, '1', 'train', layout, value=1)
    pair(tmp_path, '1', 'val', layout, value=2)
    assert names(tmp_path, 'train') == names(tmp_path, 'val') == ['1']
    # Neither the size nor the time of a file tells what it holds.
    images = [tmp_path / (f'images/{split}' if layout == 'inner' else f'{split}/images') / '1.npy'
              for split in ('train', 'val')]
    for value, path in enumerate(images):
        path.with_suffix('.png').unlink()
        np.save(path, PIXELS + np.uint8(value))
        os.utime(path, (1e9, 1e9))
    assert names(tmp_path, 'train') == names(tmp_path, 'val') == ['1']
    np.save(images[1], PIXELS)
    for split in ('train', 'val'):
        with pytest.raises(InputError, match=f"1 images of '{split}' are also in .*: 1;"):
            data(tmp_path).source(split)


def test_two_files_of_one_stem_are_a_problem(tmp_path):
    pair(tmp_path, 'a')
    write(tmp_path / 'images' / 'a.tif')
    (tmp_path / 'train.txt').write_text('a\n')
    assert 'a.tif: a.png has the same stem' in problem(tmp_path, 'train')


@pytest.mark.parametrize('image, mask, why', [
    (unicodedata.normalize('NFC', 'café'), unicodedata.normalize('NFD', 'café'), 'Unicode form'),
    ('IMG_1', 'img_1', 'upper and lower case')])
def test_names_that_only_look_equal_are_explained(tmp_path, image, mask, why):
    write(tmp_path / 'images' / f'{image}.png')
    write(tmp_path / 'masks' / f'{mask}.png')
    (tmp_path / 'train.txt').write_text(f'{image}\n{mask}\n', encoding='utf-8')
    for text in data(tmp_path).problems('train'):
        assert why in text and ascii(image) in text and ascii(mask) in text
    assert len(data(tmp_path).problems('train')) == 2
    (tmp_path / 'masks' / f'{mask}.png').rename(tmp_path / 'masks' / f'{image}.png')
    (tmp_path / 'train.txt').write_text(f'{mask}\n', encoding='utf-8')
    assert why in problem(tmp_path, 'train')


@pytest.mark.parametrize('key', ['images', 'masks'])
@pytest.mark.parametrize('name', ['', '/absolute', '../beside'])
def test_folders_outside_the_root_are_refused(tmp_path, key, name):
    pair(tmp_path, 'a')
    with pytest.raises(InputError, match=f'data.naming.{key}: {name!r}'):
        data(tmp_path, splits={'train': 1.0}, naming={key: name}).source('train')


def test_what_a_split_leaves_out_is_counted(tmp_path):
    pair(tmp_path, 'a')
    (tmp_path / 'images' / 'Thumbs.db').write_text('')
    (tmp_path / 'masks' / 'a.txt').write_text('')
    source = data(tmp_path, splits={'train': 1.0}).source('train')
    assert source.skipped == '2 left out: 1 .txt, 1 hidden or system'


def test_a_home_folder_and_a_root_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    pair(tmp_path / 'cells', 'a')
    assert data('~/cells', splits={'train': 1.0}).source('train').names == ('a',)
    for root in ('', str(tmp_path / 'none'), str(pathlib.Path(__file__))):
        with pytest.raises(InputError, match='data.root'):
            Folder(root, classes=('a', 'b')).source('train')


def test_images_and_masks_of_one_folder_are_told_apart_by_the_mask_suffix(tmp_path):
    naming = {'images': '.', 'masks': '.', 'mask_suffix': '_mask'}
    for name in ('train/a', 'train/a_mask', 'val/b', 'val/b_mask', 'c', 'c_mask', 'd', 'd_mask'):
        write(tmp_path / f'{name}.png')
    (tmp_path / 'notes').mkdir()
    assert data(tmp_path, naming=naming).spec.splits == ('train', 'val')
    assert names(tmp_path, 'val', naming=naming) == ['b']
    assert names(tmp_path, 'all', naming=naming, splits={'all': 1.0}) == ['c', 'd']
    (tmp_path / 'd_mask.png').unlink()
    source = data(tmp_path, naming=naming, splits={'all': 1.0})
    assert 'images have no mask' in source.problems('all')[0] and 'd;' in source.problems('all')[0]


def test_images_may_be_beside_the_folder_of_their_masks(tmp_path):
    for name in ('a', 'masks/a', 'b', 'masks/b'):
        write(tmp_path / f'{name}.png')
    assert names(tmp_path, 'all', naming={'images': '.'}, splits={'all': 1.0}) == ['a', 'b']


def test_lists_may_be_in_a_folder_of_their_own(tmp_path):
    for stem in 'abc':
        pair(tmp_path, stem)
    (tmp_path / 'sets' / 'all').mkdir(parents=True)
    (tmp_path / 'sets' / 'all' / 'train.txt').write_text('a\nc\n')
    (tmp_path / 'sets' / 'all' / 'val.txt').write_text('')
    naming = {'lists': 'sets/all'}
    assert names(tmp_path, 'train', naming=naming) == ['a', 'c']
    with pytest.raises(InputError, match=r"no split 'test'.*sets/all/test.txt"):
        data(tmp_path, naming=naming).source('test')
    with pytest.raises(InputError, match=r'none: no such folder; correct data.naming.lists'):
        data(tmp_path, naming={'lists': 'none'}).source('train')
    with pytest.raises(InputError, match=r'data.naming.lists.*no effect'):
        data(tmp_path, naming=naming, splits={'train': 1.0}).source('train')
    pair(tmp_path, 'd', 'val', 'outer')
    assert names(tmp_path, 'train', naming=naming) == ['a', 'c']


@pytest.mark.parametrize('layout', ['inner', 'outer', 'lists'])
def test_other_names_of_the_standard_splits_stand_for_them(tmp_path, layout):
    for index, split in enumerate(('training', 'validation', 'test', 'extra')):
        if layout == 'lists':
            (tmp_path / f'{split}.txt').write_text(f'{split}1')
        pair(tmp_path, f'{split}1', split, 'flat' if layout == 'lists' else layout, value=index)
    assert data(tmp_path).spec.splits == ('train', 'val', 'test', 'extra')
    assert names(tmp_path, 'val') == ['validation1']
    assert names(tmp_path, 'train') == ['training1']


def test_two_names_of_one_standard_split_are_two_splits(tmp_path):
    for split in ('train', 'valid', 'validation'):
        pair(tmp_path, split, split, 'outer')
    assert data(tmp_path).spec.splits == ('train', 'valid', 'validation')
