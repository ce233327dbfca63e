"""Folders that nobody has described: their layout, their masks, their splits."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import proposal
from jaxseg.data.class_names import find_names
from jaxseg.data.folder import Folder
from jaxseg.data.folds import Fold
from jaxseg.data.mask_survey import Finding, Survey, name_classes
from jaxseg.data.proposal import propose, propose_folder
from jaxseg.errors import InputError
from tests.test_data_labelme import square
from tests.test_data_labelme import write as labelme
from tests.test_data_split_choice import validated
from tests.trial_folders import palette_masks

COLORS = ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def write(root, images='images/{}.png', masks='masks/{}.png', values=(0, 1), stems='abcd'):
    """Images of noise, and masks of the values in stripes; a mask is shifted by its index."""
    for index, stem in enumerate(stems):
        save(root / images.format(stem), np.random.default_rng(index).integers(0, 256, (8, 6, 3)))
        rows = [values[(row + index) % len(values)] for row in range(8)]
        save(root / masks.format(stem), np.repeat(np.array(rows)[:, None], 6, 1))


def fields(root, **given):
    return {key: finding.value for key, finding in propose_folder(root, given).fields.items()}


def split_counts(root):
    dataset = Folder(**fields(root))
    return {split: len(dataset.source(split)) for split in dataset.spec.splits}


@pytest.mark.parametrize('images, masks, naming', [
    ('images/{}.png', 'masks/{}.png', None),
    ('imgs/{}.png', 'labels/{}.png', {'images': 'imgs', 'masks': 'labels'}),
    ('JPEGImages/{}.jpg', 'SegmentationClass/{}.png',
     {'images': 'JPEGImages', 'masks': 'SegmentationClass'}),
    ('images/{}.png', 'masks/{}_mask.png', {'mask_suffix': '_mask'}),
    ('image/{}_rgb.png', 'gt/{}-seg.png', {'images': 'image', 'masks': 'gt',
                                           'image_suffix': '_rgb', 'mask_suffix': '-seg'}),
    ('inner/only/images/{}.png', 'inner/only/annotations/{}.png', {'masks': 'annotations'}),
    ('{}.jpg', '{}_mask.png', {'images': '.', 'masks': '.', 'mask_suffix': '_mask'}),
    ('{}.png', '{}-GT.png', {'images': '.', 'masks': '.', 'mask_suffix': '-GT'}),
])
def test_names_of_folders_and_ends_of_stems_are_found(tmp_path, images, masks, naming):
    write(tmp_path, images, masks)
    assert fields(tmp_path).get('naming') == naming
    assert split_counts(tmp_path) == {'train': 3, 'val': 1}


def test_a_stated_naming_is_used_and_what_is_found_stands_beside_it(tmp_path):
    write(tmp_path / 'named', 'x/{}_in.png', 'y/{}.png')
    stated = {'images': 'x', 'masks': 'y'}
    found = propose(tmp_path / 'named', {'naming': stated}).fields
    assert found['naming'].value == {**stated, 'image_suffix': '_in'}
    # Eight videos of four frames: splits need the group, whatever is stated.
    stems = [f'seq{sequence}_{frame:04}' for sequence in range(8) for frame in range(4)]
    write(tmp_path / 'grouped', masks='masks/{}_gt.png', stems=stems)
    found = propose(tmp_path / 'grouped', {'naming': {'mask_suffix': '_gt'}}).fields
    assert found['naming'].value.keys() == {'mask_suffix', 'group'}
    own = propose(tmp_path / 'grouped', {'naming': {'mask_suffix': '_gt', 'group': 'seq(.)'}})
    assert own.fields['naming'].value == {'mask_suffix': '_gt', 'group': 'seq(.)'}
    with pytest.raises(InputError, match=r"folders of .* \(data.naming states \{'images': 'z'\}\)"):
        propose(tmp_path / 'named', {'naming': {'images': 'z'}})
    with pytest.raises(InputError, match="data.naming: expected .*, got 'abc'"):
        propose(tmp_path / 'named', {'naming': 'abc'})
    # The other folder is found where one is stated.
    write(tmp_path / 'half', 'x/{}.png', 'labels/{}.png')
    found = propose(tmp_path / 'half', {'naming': {'images': 'x'}}).fields
    assert found['naming'].value == {'images': 'x', 'masks': 'labels'}


def test_a_stated_group_is_that_of_a_tree_without_splits(tmp_path):
    for stem in ('a_1', 'a_2', 'b_1', 'b_2', 'c_1', 'd_1'):
        labelme(tmp_path, stem, square('x', 0, 0, 2, 2))
    found = propose(tmp_path, {'naming': {'group': '^.'}}).fields
    assert found['type'].value == 'labelme.LabelMe' and 'splits' in found
    assert found.get('naming', Finding({'group': '^.'}, '')).value == {'group': '^.'}


def test_splits_in_folders_or_lists_are_kept(tmp_path):
    for split, stems in (('train', 'abc'), ('val', 'de')):
        write(tmp_path / 'outer' / split, stems=stems)
        write(tmp_path / 'inner', f'images/{split}/{{}}.png', f'masks/{split}/{{}}.png',
              stems=stems)
        write(tmp_path / 'mixed' / f'{split}ing'.replace('val', 'test'), '{}.jpg', '{}_label.png',
              stems=stems)
        write(tmp_path / 'listed', stems=stems)
        (tmp_path / 'listed' / f'{split}.txt').write_text('\n'.join(stems))
    for name in ('outer', 'inner', 'listed'):
        assert 'splits' not in fields(tmp_path / name)
        assert split_counts(tmp_path / name) == {'train': 3, 'val': 2}
    assert split_counts(tmp_path / 'mixed') == {'train': 3, 'test': 2}


@pytest.mark.parametrize('layout', ['outer', 'inner', 'listed'])
@pytest.mark.parametrize('others', [(), ('test',)])
def test_where_no_val_is_given_a_part_of_train_validates(tmp_path, layout, others):
    for split, stems in (('train', 'abcdefg'), *((other, 'xyz') for other in others)):
        if layout == 'outer':
            write(tmp_path / split, stems=stems)
        elif layout == 'inner':
            write(tmp_path, f'images/{split}/{{}}.png', f'masks/{split}/{{}}.png', stems=stems)
        else:
            write(tmp_path, stems=stems)
            (tmp_path / f'{split}.txt').write_text('\n'.join(stems))
    found, fold = propose_folder(tmp_path, {})
    values = {key: finding.value for key, finding in fold.items()}
    assert values.pop('type') == 'folds.Fold' and 'no val given' in fold['type'].reason
    assert values['pooled'] == ['train'] and values['folds'] == 5 and 'splits' not in found
    data = Fold(Folder(**{key: finding.value for key, finding in found.items()}), **values)
    counts = {split: len(data.source(split)) for split in data.spec.splits}
    assert counts == {'train': 5, 'val': 2, **dict.fromkeys(others, 3)}
    assert not propose_folder(tmp_path, {'splits': {'train': 0.5, 'val': 0.5}}).fold


def test_a_tree_without_val_is_validated_on_a_part_of_train(tmp_path):
    palette_masks(tmp_path)
    assert propose(tmp_path, {}).fold == {}
    (tmp_path / 'ImageSets/Segmentation/val.txt').unlink()
    found, fold = propose(tmp_path, {})
    assert found['type'].value == 'voc.Voc' and 'splits' not in found
    assert fold['folds'].value == 5 and 'validated on 4 of 20' in fold['type'].reason
    assert propose(tmp_path, {'splits': {'train': 1.0}}).fold == {}
    # What the data set does not have is reported where it is built.
    assert propose(tmp_path, {'chanels': 1}).fold == fold


def test_the_part_that_validates_does_not_take_a_class_from_training(tmp_path):
    for rare in 'abcdefg':
        write(tmp_path / 'train', stems='abcdefg')
        for stem in 'abcdefg':
            save(tmp_path / f'train/masks/{stem}.png', np.full((8, 6), stem == rare))
        assert rare not in validated(propose_folder(tmp_path, {}).fold, 'abcdefg')
    write(tmp_path / 'single/train', stems='a')
    assert not propose_folder(tmp_path / 'single', {}).fold  # nothing is left to train on


@pytest.mark.parametrize('values, found', [
    ((0, 1), {'classes': ['background', 'foreground']}),
    ((0, 255), {'classes': ['background', 'foreground'], 'labels': {'binary': True}}),
    ((0, 7), {'classes': ['background', 'foreground'], 'labels': {'label_map': {'0': 0, '7': 1}}}),
    ((0, 1, 2), {'classes': ['background', 'class_1', 'class_2']}),
    ((0, 1, 2, 255), {'classes': ['background', 'class_1', 'class_2'], 'ignore_index': 255}),
    ((0, 1, 255), {'classes': ['background', 'foreground'], 'ignore_index': 255}),
    ((0, 2, 3), {'classes': ['background', 'class_1', 'class_2', 'class_3']}),
    ((0, 128, 255), {'classes': ['background', 'class_128', 'class_255'],
                     'labels': {'label_map': {'0': 0, '128': 1, '255': 2}}}),
    ((1, 2, 3), {'classes': ['class_1', 'class_2', 'class_3'],
                 'labels': {'label_map': {'1': 0, '2': 1, '3': 2}}}),
])
def test_indices_become_classes_and_the_data_set_reads_them(tmp_path, values, found):
    write(tmp_path, values=values)
    described = fields(tmp_path)
    assert {key: described[key] for key in ('classes', 'labels', 'ignore_index')
            if key in described} == found
    source = Folder(**described).source('train')
    source.check_files()
    seen = set(np.unique([source[index]['mask'] for index in range(len(source))]).tolist())
    assert len(seen) == len(values) and seen - {255} <= set(range(len(found['classes'])))


def test_colors_of_masks_become_classes_black_first(tmp_path):
    white = (224, 224, 192)
    for index in range(4):
        save(tmp_path / f'images/{index}.png', np.zeros((8, 6, 3)))
        save(tmp_path / f'masks/{index}.png',
             np.array([*COLORS, white])[np.arange(48).reshape(8, 6) % 4])
    described = fields(tmp_path)
    assert described['classes'] == ['background', 'class_1', 'class_2']
    assert described['colors'] == [[0, 0, 0], [0, 128, 0], [128, 0, 0]]
    assert described['labels'] == {'ignore_color': list(white)}
    assert described['channels'] == 1  # black images
    mask = Folder(**described).source('train')[0]['mask']
    assert mask[0].tolist() == [0, 2, 1, 255, 0, 2]


def test_names_of_classes_are_read_from_a_file(tmp_path):
    write(tmp_path, values=(0, 1, 2))
    for text, expected in (('sky\nroad\ncar\n', ['sky', 'road', 'car']),
                           ('0 sky\n1 road\n2: small car', ['sky', 'road', 'small car']),
                           ('road\ncar', ['background', 'road', 'car']),
                           ('sky\nroad\ncar\nvoid', ['sky', 'road', 'car']),
                           ('a\na', ['background', 'class_1', 'class_2']),
                           ('a', ['background', 'class_1', 'class_2'])):
        (tmp_path / 'classes.txt').write_text(text)
        assert fields(tmp_path)['classes'] == expected, text
    (tmp_path / 'classes.txt').write_text('void\nroad\ncar')
    assert fields(tmp_path)['labels'] == {'reduce_zero_label': True}


def test_colors_of_classes_are_read_from_a_file(tmp_path):
    (tmp_path / 'class_dict.csv').write_text('name,r,g,b\nroad,128,0,0\ncar,0,128,0\nVoid,0,0,0\n')
    names = find_names(tmp_path)
    assert names.classes == ('road', 'car', 'Void') and names.colors[1] == (0, 128, 0)
    survey = Survey(dict.fromkeys(COLORS, 5), {}, True)
    found = name_classes(survey, names)
    assert found['classes'].value == ['road', 'car']
    assert found['labels'].value == {'ignore_color': [0, 0, 0]}
    (tmp_path / 'labelmap.txt').write_text('#label:color\nroad:128,0,0::\n')
    (tmp_path / 'class_dict.csv').unlink()
    assert find_names(tmp_path).colors == ((128, 0, 0),)
    (tmp_path / 'labelmap.txt').write_text('road:1,2,3::\ncar:1,2,3::\n')
    assert find_names(tmp_path).colors is None


def test_a_mask_that_is_no_list_of_classes_is_refused():
    with pytest.raises(InputError, match='nothing to learn'):
        name_classes(Survey({3: 9}, {}, False), None)
    many = {(red, 1, 2): 1 for red in range(65)}
    with pytest.raises(InputError, match='65 colors'):
        name_classes(Survey(many, {}, True), None)


def test_channels_and_range_of_deep_images(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for index in range(3):
        pixels = rng.integers(200, 4000, (16, 16, 5)).astype(np.uint16)
        np.save(tmp_path / 'images' / f'{index}.npy', pixels)
        save(tmp_path / f'masks/{index}.png', np.arange(256).reshape(16, 16) % 2)
    described = fields(tmp_path)
    assert described['channels'] == 5
    low, high = described['value_range']
    assert 0 <= low <= 230 and 3970 <= high <= 4200
    assert Folder(**described).source('train')[0]['image'].dtype == np.uint16


def test_folders_of_classes_are_overlapping_masks(tmp_path):
    for name, stems in (('nucleus', 'abcd'), ('cell', 'abc')):
        write(tmp_path, masks=f'masks/{name}/{{}}.png', values=(0, 255), stems=stems)
    write(tmp_path, masks='masks/nucleus/{}.png', values=(0, 255))
    described = fields(tmp_path)
    assert described['overlapping'] and described['classes'] == ['cell', 'nucleus']
    assert described['missing_masks'] == 'absent'
    assert sum(split_counts(tmp_path).values()) == 4


def test_a_folder_that_is_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match='no folders of images and of masks'):
        propose_folder(tmp_path, {})
    (tmp_path / 'images').mkdir()
    (tmp_path / 'masks').mkdir()
    with pytest.raises(InputError, match='holds no image files'):
        propose_folder(tmp_path, {})
    write(tmp_path, stems='a')
    with pytest.raises(InputError, match='too few'):
        propose_folder(tmp_path, {})
    for path in (tmp_path / 'masks').iterdir():
        pathlib.Path(path).write_bytes(b'x')
    with pytest.raises(InputError, match='a.png: cannot be decoded'):
        propose_folder(tmp_path, {})


def test_what_is_stated_is_not_looked_for(tmp_path, monkeypatch):
    write(tmp_path, values=(0, 255))
    assert 'classes' not in fields(tmp_path, classes=['a', 'b'])
    # Masks that hold nothing else show that 255 cannot be void.
    assert fields(tmp_path, classes=['a', 'b'], ignore_index=255)['labels'] == {'binary': True}
    assert fields(tmp_path, classes=['a', 'b'], labels={}).keys() == {
        'root', 'splits', 'split_seed'}
    write(tmp_path, values=(0, 1, 255))
    assert 'labels' not in fields(tmp_path, classes=['a', 'b'], ignore_index=255)
    monkeypatch.setattr(proposal, 'SURVEYED', 2)
    for stem in 'ac':  # the masks that are read
        save(tmp_path / f'masks/{stem}.png', np.arange(48).reshape(8, 6) % 2 * 255)
    assert 'labels' not in fields(tmp_path, classes=['a', 'b'], ignore_index=255)
    assert 'splits' not in fields(tmp_path, splits={'train': 0.5, 'val': 0.5})
