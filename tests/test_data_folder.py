"""A folder of images and masks: every kind of file and layout, and every fault."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.folder import Folder
from jaxseg.errors import InputError

CAMVID = pathlib.Path(__file__).parents[2] / 'shared' / 'data' / 'camvid'
MASK = np.array([[0, 1, 2], [2, 255, 0]], np.uint8).repeat(4, 0).repeat(4, 1)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def picture(seed=0, shape=(8, 12, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def write(root, split='train', image=None, mask=None, stem='a', image_type='png', mask_type='png',
          **save):
    for folder, value, suffix in (('images', image, image_type), ('masks', mask, mask_type)):
        if value is not None:
            path = root / split / folder / f'{stem}.{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            (Image.fromarray(value) if isinstance(value, np.ndarray) else value).save(path, **save)


def folder(root, **fields):
    return Folder(str(root), **{'classes': ('a', 'b', 'c'), 'colors': (RED, GREEN, BLUE), **fields})


@pytest.mark.parametrize('suffix', ['png', 'tif', 'bmp', 'webp'])
def test_rgb_images_of_lossless_types_come_as_they_are(tmp_path, suffix):
    write(tmp_path, image=picture(), mask=MASK, image_type=suffix,
          **({'lossless': True} if suffix == 'webp' else {}))
    sample = folder(tmp_path).source('train')[0]
    np.testing.assert_array_equal(sample['image'], picture())
    np.testing.assert_array_equal(sample['mask'], MASK)
    assert sample['name'] == 'a' and sample['image'].dtype == sample['mask'].dtype == np.uint8


def test_grey_rgba_palette_and_one_bit_images_become_three_channels(tmp_path):
    grey = picture(shape=(8, 12))
    colors = Image.fromarray(picture()).quantize(16)
    cases = {
        'grey': (Image.fromarray(grey), grey[..., None].repeat(3, -1)),
        'rgba': (Image.fromarray(picture(shape=(8, 12, 4))), picture(shape=(8, 12, 4))[..., :3]),
        'palette': (colors, np.array(colors.convert('RGB'))),
        'bits': (Image.fromarray(grey > 99), (grey > 99)[..., None].repeat(3, -1) * np.uint8(255)),
    }
    for name, (image, _) in cases.items():
        write(tmp_path, image=image, mask=MASK, stem=name)
    for sample in folder(tmp_path).source('train'):
        np.testing.assert_array_equal(sample['image'], cases[sample['name']][1], sample['name'])
    one = folder(tmp_path, channels=1)
    assert one.spec.channels == 1 and one.source('train')[2]['image'].shape == (8, 12, 1)
    assert folder(tmp_path, channels=4).source('train')[3]['image'].shape == (8, 12, 4)


def test_images_are_turned_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path, image=Image.fromarray(picture(shape=(12, 8, 3))), stem='a', exif=exif)
    write(tmp_path, mask=MASK)
    np.testing.assert_array_equal(folder(tmp_path).source('train')[0]['image'],
                                  np.rot90(picture(shape=(12, 8, 3)), -1))


def test_masks_may_be_palette_files_colors_or_16_bit(tmp_path):
    known = np.where(MASK == 255, 0, MASK)
    palette = Image.fromarray(known)
    palette.putpalette([9, 9, 9, 8, 8, 8, 7, 7, 7])
    colors = np.array([RED, GREEN, BLUE], np.uint8)[known]
    alpha = np.dstack([colors, np.full(known.shape, 255, np.uint8)])
    ways = {'indices': {'palette': palette, 'deep': known.astype(np.uint16),
                        'grey_as_rgb': known[..., None].repeat(3, -1)},
            'colors': {'rgb': colors, 'rgba': alpha,
                       'same_palette': Image.fromarray(colors).quantize(3)}}
    for encoding, masks in ways.items():
        for stem, mask in masks.items():
            write(tmp_path / encoding, image=picture(), mask=mask, stem=stem)
        for sample in folder(tmp_path / encoding).source('train'):
            np.testing.assert_array_equal(sample['mask'], known, sample['name'])


def test_dataset_json_says_what_the_config_does_not(tmp_path):
    write(tmp_path, image=picture(), mask=np.where(MASK == 255, 11, MASK).astype(np.uint8))
    (tmp_path / 'dataset.json').write_text(json.dumps({
        'name': 'toys', 'classes': ['x', 'y', 'z'], 'colors': [RED, GREEN, BLUE],
        'ignore_index': 11, 'mean': [.1, .2, .3],
        'std': [1, 1, 1]}))
    spec = Folder(str(tmp_path)).spec
    assert (spec.name, spec.classes, spec.ignore_index, spec.mean, spec.splits) == (
        'toys', ('x', 'y', 'z'), 11, (.1, .2, .3), ('train',))
    assert set(np.unique(Folder(str(tmp_path)).source('train')[0]['mask'])) == {0, 1, 2, 11}


def test_splits_by_inner_folders_and_lists(tmp_path):
    for layout in ('inner', 'flat'):
        for i in range(10):
            split = ('train' if i < 7 else 'val') if layout == 'inner' else ''
            for part, value in (('images', picture()), ('masks', MASK)):
                path = tmp_path / layout / part / split / f's{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(value).save(path)
    (tmp_path / 'flat' / 'train.txt').write_text('s3\ns1.png\n\n')
    assert [len(folder(tmp_path / 'inner').source(split)) for split in ('train', 'val')] == [7, 3]
    assert [sample['name'] for sample in folder(tmp_path / 'flat').source('train')] == ['s3', 's1']
    for before, after in (('', '/'), ('./', '')):  # as the shell completes it
        names = {part: f'{before}{part}{after}' for part in ('images', 'masks')}
        spelled = folder(tmp_path / 'flat', naming=names)
        assert [sample['name'] for sample in spelled.source('train')] == ['s3', 's1']


def test_only_text_files_that_name_images_and_the_usual_names_are_lists(tmp_path):
    for part, value in (('images', picture()), ('masks', MASK)):
        (tmp_path / part / '.ipynb_checkpoints').mkdir(parents=True)
        for stem in 'ab':
            end = '_rgb' if part == 'images' else ''
            Image.fromarray(value).save(tmp_path / part / f'{stem}{end}.png')
    for name, text in (('train', b'a\n'), ('val', b'c\n'), ('holdout', b'b\n'),
                       ('README', b'images of a\n'),
                       ('latin', b'caf\xe9\n')):
        (tmp_path / f'{name}.txt').write_bytes(text)
    data = folder(tmp_path, naming={'image_suffix': '_rgb'})
    assert data.spec.splits == ('train', 'val', 'holdout')
    assert [sample['name'] for sample in data.source('holdout')] == ['b']
    # A list of the usual names is one, or what is wrong with it would stay hidden.
    message = problem(tmp_path, 'val', naming={'image_suffix': '_rgb'})
    assert 'stems of val.txt have neither image nor mask' in message


def test_suffixes_of_stems_pair(tmp_path):
    write(tmp_path, image=picture(), stem='a_rgb')
    write(tmp_path, mask=MASK, stem='a_labels')
    (tmp_path / 'train' / 'masks').rename(tmp_path / 'train' / 'gt')
    naming = {'image_suffix': '_rgb', 'mask_suffix': '_labels', 'masks': 'gt'}
    source = folder(tmp_path, naming=naming).source('train')
    assert [sample['name'] for sample in source] == ['a']


def problem(tmp_path, split='train', **fields) -> str:
    """The error of making, verifying and checking a source; check and verify must agree."""
    with pytest.raises(InputError) as error:
        folder(tmp_path, **fields).source(split).check_files()
    assert '\n' not in str(error.value)
    return str(error.value)


def test_a_missing_folder_is_named(tmp_path):
    assert str(tmp_path / 'nowhere') in problem(tmp_path / 'nowhere')
    write(tmp_path, image=picture())
    message = problem(tmp_path)
    assert 'train/masks: no such folder' in message and 'data.naming.masks' in message


def test_images_without_masks_and_masks_without_images_are_named(tmp_path):
    write(tmp_path, image=picture(), mask=MASK)
    write(tmp_path, image=picture(), stem='alone')
    assert '1 images have no mask' in problem(tmp_path) and 'alone' in problem(tmp_path)
    write(tmp_path, mask=MASK, stem='lost')
    both = folder(tmp_path).problems('train')
    assert len(both) == 2 and 'lost' in both[1] and 'masks have no image' in both[1]


def test_images_without_mask_may_be_left_out_and_are_counted(tmp_path):
    for stem in 'abc':
        write(tmp_path, image=picture(), stem=stem)
    write(tmp_path, 'val', image=picture(1))
    write(tmp_path, mask=MASK, stem='b')
    (tmp_path / 'val' / 'masks').mkdir()
    source = folder(tmp_path, missing_masks='skip').source('train')
    assert source.names == ('b',) and source.skipped == '2 left out: 2 images without mask'
    assert "split 'val' is empty, none of its images has a mask" in problem(
        tmp_path, 'val', missing_masks='skip')
    write(tmp_path, mask=MASK, stem='lost')
    assert '1 masks have no image' in problem(tmp_path, missing_masks='skip')
    with pytest.raises(InputError, match="data.missing_masks: 'skip' is not known of overlapping"):
        folder(tmp_path, missing_masks='skip', overlapping=True)


def test_an_empty_and_an_unknown_split_are_named(tmp_path):
    write(tmp_path, image=picture(), mask=MASK)
    for part in ('images', 'masks'):
        (tmp_path / 'val' / part).mkdir(parents=True)
    assert "split 'val' is empty" in problem(tmp_path, 'val')
    message = problem(tmp_path, 'tset')
    assert "no split 'tset'; known: train, val; add " in message
    assert all(words in message
               for words in ('tset/images', 'images/tset', 'tset.txt', 'data.splits'))


def test_a_split_that_is_empty_though_there_are_images_says_why(tmp_path):
    for part, value in (('images', picture()), ('masks', MASK)):
        (tmp_path / part).mkdir()
        for stem in 'abc':
            Image.fromarray(value).save(tmp_path / part / f'{stem}.png')
    (tmp_path / 'val.txt').write_text('\n')
    assert "split 'val' is empty, val.txt names no image" in problem(tmp_path, 'val')


def test_sizes_that_differ_are_both_named(tmp_path):
    write(tmp_path, image=picture(shape=(8, 10, 3)), mask=MASK)
    message = problem(tmp_path)
    assert 'mask of 12x8' in message and 'image of 10x8' in message and 'a.png' in message


def test_a_truncated_file_is_named(tmp_path):
    write(tmp_path, image=picture(shape=(64, 64, 3)), mask=np.zeros((64, 64), np.uint8),
          image_type='jpg')
    path = tmp_path / 'train' / 'images' / 'a.jpg'
    path.write_bytes(path.read_bytes()[:900])
    assert 'a.jpg: cannot be decoded' in problem(tmp_path) and 'truncated' in problem(tmp_path)
    path.write_bytes(b'no image')
    assert 'a.jpg: cannot be decoded' in problem(tmp_path)


def test_all_problems_of_a_pair_are_listed_and_the_first_of_many_counts_the_rest(tmp_path):
    write(tmp_path, image=picture(), mask=np.full((8, 12), 77, np.uint8))
    (tmp_path / 'train' / 'images' / 'a.png').write_bytes(b'')
    write(tmp_path, image=picture(), mask=np.full((8, 12), 78, np.uint8), stem='b')
    assert [len(folder(tmp_path).source('train').check(i)) for i in (0, 1)] == [2, 1]
    assert 'and 2 more problems: jaxseg inspect' in problem(tmp_path)


def test_options_that_do_not_exist_are_named(tmp_path):
    write(tmp_path, image=picture(), mask=MASK)
    with pytest.raises(InputError, match='data.naming: suffix unknown'):
        folder(tmp_path, naming={'suffix': 'x'}).source('train')
    with pytest.raises(InputError, match='data.labels: label_mop unknown'):
        folder(tmp_path, labels={'label_mop': {}}).source('train')
    with pytest.raises(InputError, match='data.classes: not given'):
        folder(tmp_path, classes=None).source('train')


@pytest.mark.parametrize('text, key, value', [
    ('[1, 2]', 'dataset.json: holds a list', ''), ('{"classes": ', 'dataset.json: not JSON', ''),
    ({'name': 5}, '.name', '5'), ({'classes': 'cell'}, '.classes', "'cell'"),
    ({'classes': [1, 2]}, '.classes', '[1, 2]'),
    ({'classes': ['x', 'y', 'x']}, 'classes', "'x' occurs twice"),
    ({'ignore_index': '255'}, '.ignore_index', "'255'"),
    ({'ignore_index': -1}, '.ignore_index', '-1'),
    ({'ignore_index': 65536}, '.ignore_index', '65536'),
    ({'ignore_index': 1}, 'ignore_index', "the class 'y'"),
    ({'colors': 'red'}, '.colors', "'red'"), ({'colors': [1, 2, 3]}, '.colors', '1 is no color'),
    ({'colors': ['red', 'green', 'blue']}, '.colors', "'red' is no color"),
    ({'colors': [RED, GREEN, [0, 0, 256]]}, '.colors', '[0, 0, 256] is no color'),
    ({'colors': [RED, GREEN]}, '2 colors', '3 classes'),
    ({'colors': [RED, GREEN, RED]}, 'colors', '(255, 0, 0) occurs twice'),
    ({'mean': [123.7, 116.3, 103.5]}, '.mean', '[123.7, 116.3, 103.5]'),
    ({'mean': 0.5}, '.mean', '0.5'),
    ({'mean': ['a', 'b', 'c']}, '.mean', "['a', 'b', 'c']"),
    ({'std': [0, 0, 0]}, '.std', '[0, 0, 0]'),
    ({'mean': [0.5, 0.5]}, '2 means', '3 standard deviations'),
    ({'mean': [0.5], 'std': [0.5]}, 'data.channels is 3', '1 values'),
    ({'ignore_color': 'black'}, 'ignore_color', "'black' is no color"),
])
def test_a_dataset_json_that_cannot_be_used_is_refused(tmp_path, text, key, value):
    write(tmp_path, image=picture(), mask=MASK)
    given = text if isinstance(text, str) else json.dumps({'classes': ['x', 'y', 'z'], **text})
    (tmp_path / 'dataset.json').write_text(given)
    with pytest.raises(InputError) as error:
        Folder(str(tmp_path)).source('train')
    message = str(error.value)
    assert '\n' not in message and key in message and value in message


def test_a_name_for_the_classes_on_the_command_line_is_not_taken_apart(tmp_path):
    write(tmp_path, image=picture(), mask=MASK)
    with pytest.raises(InputError, match="classes: .*'cell'"):
        folder(tmp_path, classes='cell', colors=None).source('train')


@pytest.mark.skipif(not CAMVID.is_dir(), reason='CamVid is not there')
def test_camvid_is_read_whole():
    data = Folder(str(CAMVID))
    assert (len(data.spec.classes), data.spec.ignore_index,
            data.spec.splits) == (11, 11, ('train', 'val', 'test'))
    assert [len(data.source(split)) for split in data.spec.splits] == [367, 101, 233]
    sample = data.source('test')[100]
    assert sample['image'].shape == (360, 480,
                                     3) and set(np.unique(sample['mask'])) <= set(range(12))
